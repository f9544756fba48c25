"""Default values of every key that the engine reads.

Upstream Dassl 0.6.3's tree with upstream's values, so that any old yaml merges and an old run does
not change; keys marked "ours" are new. A trainer's own section is added by its ``extend_cfg(cfg)``.
"""

from __future__ import annotations

from typing import Any

from yacs.config import CfgNode

from dassl.config.trainer_sections import TRAINER

GENERAL: dict[str, Any] = {
    "VERSION": 1,
    "OUTPUT_DIR": "./output",
    "RESUME": "",  # folder of an earlier run to go on from
    "SEED": -1,  # negative: not seeded
    "USE_CUDA": True,
    "VERBOSE": True,
}

INPUT: dict[str, Any] = {
    "SIZE": (224, 224),  # (height, width), px
    "INTERPOLATION": "bilinear",
    "TRANSFORMS": (),  # names in dassl.data.transforms
    "NO_TRANSFORM": False,  # True: the loaders return images as they are
    "PIXEL_MEAN": [0.485, 0.456, 0.406],  # ImageNet
    "PIXEL_STD": [0.229, 0.224, 0.225],
    "CROP_PADDING": 4,  # px, random_crop
    "RRCROP_SCALE": (0.08, 1.0),  # share of the area, random_resized_crop
    "CUTOUT_N": 1,
    "CUTOUT_LEN": 16,  # px
    "GN_MEAN": 0.0,  # gaussian_noise
    "GN_STD": 0.15,
    "RANDAUGMENT_N": 2,
    "RANDAUGMENT_M": 10,
    "RESIZE_FIRST": 0,  # ours: px of the smaller edge before the first random step; 0: as it is
    "STYLE": (0.3, 0.3, 0.2, 0.5),  # gain, gamma, speckle, attenuation (transforms/style.py)
    "ROTATION": 15.0,  # ours: random_rotation's largest angle to either side, degrees
    "COLORJITTER_B": 0.4,
    "COLORJITTER_C": 0.4,
    "COLORJITTER_S": 0.4,
    "COLORJITTER_H": 0.1,
    "RGS_P": 0.2,  # random_grayscale's probability
    "GB_P": 0.5,  # gaussian_blur's probability
    "GB_K": 21,  # gaussian_blur's kernel, px, odd
    "FEATURE_VIEWS": 0,  # ours: augmented views per image kept in the feature store; 0: none
    "BITS": 0,  # ours: bits in use of deeper images (12 of 16); 0: seen by the data set's values
    "WINDOW": (),  # ours: (lowest, highest) of deeper images that become 0-255; (): as BITS says
    "STORE_DTYPE": "",  # ours: set from $CERVICLIP_STORE_DTYPE; "": float16
}

DATASET: dict[str, Any] = {
    "ROOT": "",
    "NAME": "",
    "SOURCE_DOMAINS": (),
    "TARGET_DOMAINS": (),
    "NUM_LABELED": -1,  # labelled images in all, semi-supervised data sets
    "NUM_SHOTS": -1,  # images per class; -1: all
    "VAL_PERCENT": 0.1,  # share of val, semi-supervised data sets
    "STL10_FOLD": -1,
    "CIFAR_C_TYPE": "",
    "CIFAR_C_LEVEL": 1,
    "ALL_AS_UNLABELED": False,
    # Ours from here.
    "TITLE": "",  # what people are told of these data (tables, figures); "": the data set's name
    "NUM_SHOTS_VAL": 16,  # a few-shot run's val set has at most this many images per class
    "SHOTS_BY": "class",  # or "patient": from distinct patients while there are enough
    "SHOTS_SCENARIO": "balanced",  # or natural, natural_missing: classes as often as they come
    "PACKED": "",  # folder of decoded images (cerviclip pack); "": files are decoded
    "SPLIT_FILE": "",  # JSON with train, val and test; "": split by ratio
    "SPLIT_RATIO": (0.45, 0.15, 0.40),  # train, val, test
    "SPLIT_BY": "patient",  # or "image", which leaks patients and warns
    "SPLIT_SEED": 1,
    "FOLD": "",  # "3/10": the third of ten folds is the test set, "3/10@2" of ten others; "": none
    "DRAW_FILE": "",  # split.json of a run: its very split and draw (--split)
    "SUBSAMPLE_CLASSES": "all",  # base or new: half of the classes; base_to_new: base, new scored
    "CENTERS": (),  # of a data set made of centres, those that count; (): all
    "PATIENT_PATTERN": "",  # regex with one group, searched in the file name; "": the data set's
    "POSITIVE": (),  # class names that count as disease; (): the data set's
    "PATIENT_PER_CLASS": False,  # patient numbers start anew in each class
    "LEAVE_OUT": (),  # patterns of files below the image folder, such as "*_mask.png"
    "TEST_VARIANTS": False,  # keep the variants of cerviclip augment that lie in val and test
    "CLASS_MAP": {},  # an external centre's class name: ours
    "CLASS_MAP_FILE": "",  # of configs/class_maps, or a path; fills CLASS_MAP and CLASSES
    "BINARY_MAP": {},  # a coarser centre's class name: positive, negative, or "" to leave it out
    "DESCRIPTIONS": "",  # YAML or JSON with prompt sets; "": the data set's
    "PROMPT_SET": "",  # one of the prompt sets; "": the data set's or the trainer's choice
    "TEMPLATES": (),  # such as "an OCT image of {}."; (): the data set's
    "FOLDER": "",  # image folder under ROOT; "": the data set's
    "FILE": "",  # CSV or JSON list of images, FolderDataset
    "CLASSES": (),  # folder names in label order; (): sorted names found
    "EXTERNAL_FOLDERS": {},  # centre name: image folder, scored after training
}

# Sections that users fill with names of their own: name: name, read as they are typed.
NAME_MAPS = ("DATASET.CLASS_MAP", "DATASET.BINARY_MAP", "DATASET.EXTERNAL_FOLDERS")
# Lists of names, read as they are typed: 07 is a class and not a number. A list whose default holds
# text needs no mention here.
NAME_LISTS = (
    "INPUT.TRANSFORMS",
    "DATASET.SOURCE_DOMAINS",
    "DATASET.TARGET_DOMAINS",
    "DATASET.POSITIVE",
    "DATASET.TEMPLATES",
    "DATASET.CLASSES",
    "DATASET.LEAVE_OUT",
    "DATASET.CENTERS",
    "OPTIM.NEW_LAYERS",
    "TEST.EXTERNAL",
)

DATALOADER: dict[str, Any] = {
    "NUM_WORKERS": 4,
    "K_TRANSFORMS": 1,  # augmented copies of each training image
    "RETURN_IMG0": False,  # also the image without augmentation
    # Ours: "image" draws an image's augmentation from the epoch's seed and its place alone, so that
    # it does not depend on NUM_WORKERS; "batch", as upstream, from the loader process's generator.
    "DRAW_BY": "batch",
    "TRAIN_X": {
        "SAMPLER": "RandomSampler",
        "BATCH_SIZE": 32,
        "N_DOMAIN": 0,  # domains per batch; 0 or -1: all
        "N_INS": 16,  # images per class, RandomClassSampler
    },
    "TRAIN_U": {
        "SAME_AS_X": True,  # False: the four keys below count
        "SAMPLER": "RandomSampler",
        "BATCH_SIZE": 32,
        "N_DOMAIN": 0,
        "N_INS": 16,
    },
    "TEST": {"SAMPLER": "SequentialSampler", "BATCH_SIZE": 32},
}

MODEL: dict[str, Any] = {
    "INIT_WEIGHTS": "",
    "BACKBONE": {"NAME": "", "PRETRAINED": True},
    "HEAD": {
        "NAME": "",  # "": the backbone's output goes straight to the classifier
        "HIDDEN_LAYERS": (),
        "ACTIVATION": "relu",
        "BN": True,
        "DROPOUT": 0.0,
    },
}

OPTIM: dict[str, Any] = {
    "NAME": "adam",
    "LR": 0.0003,
    "WEIGHT_DECAY": 5e-4,
    "MOMENTUM": 0.9,
    "SGD_DAMPNING": 0,  # upstream's spelling
    "SGD_NESTEROV": False,
    "RMSPROP_ALPHA": 0.99,
    "ADAM_BETA1": 0.9,  # of all the Adam kinds
    "ADAM_BETA2": 0.999,
    "ADAM_EPS": 1e-8,  # ours; 1e-4 or so keeps pure fp16 training from NaN
    "STAGED_LR": False,  # True: all but NEW_LAYERS learn at LR * BASE_LR_MULT
    "NEW_LAYERS": (),
    "BASE_LR_MULT": 0.1,
    "LR_SCHEDULER": "single_step",
    "STEPSIZE": (-1,),  # epochs, or iterations where training goes by these; 0 or less: never
    "GAMMA": 0.1,
    "MAX_EPOCH": 10,  # without effect where training goes by iterations
    "ETA_MIN": 0.0,  # ours: the learning rate that cosine ends at
    "WARMUP_EPOCH": -1,  # above 0 switches warm-up on; epochs or iterations, as STEPSIZE
    "WARMUP_TYPE": "linear",  # or "constant"
    "WARMUP_CONS_LR": 1e-5,
    "WARMUP_MIN_LR": 1e-5,
    "WARMUP_RECOUNT": True,  # False: the schedule counts the warm-up's epochs too
}

TRAIN: dict[str, Any] = {
    "CHECKPOINT_FREQ": 0,  # epochs; 0: only the last
    "PRINT_FREQ": 10,  # batches
    "COUNT_ITER": "train_x",  # what an epoch is: train_x, train_u or smaller_one
    "MAX_ITERS": 0,  # ours: above 0, trainers that train by iterations use this many
    "FEDERATED_ROUNDS": 0,  # ours: weights are averaged with other centres so many times
    "FEDERATED_MU": 0.0,  # ours: FedProx's weight of the distance to the common weights
}

TEST: dict[str, Any] = {
    "EVALUATOR": "Classification",
    "PER_CLASS_RESULT": False,
    "COMPUTE_CMAT": False,  # writes OUTPUT_DIR/cmat.pt
    "NO_TEST": False,
    "INTERVALS": "few_patients",  # ours: or "bootstrap"; "" in older runs means bootstrap
    "PATIENT_RULE": "mean",  # ours: how a patient's images become one prediction; or max, share
    "MISS_COST": 0.0,  # ours: false alarms that one missed positive is worth; 0: not stated
    "PREVALENCES": (0.01, 0.05, 0.2),  # ours: shares of positives for which PPV and NPV are given
    "COVERAGE": 0.9,  # ours: share of prediction sets that are to hold the true class
    "SUBGROUPS": (),  # ours: "FILE.csv:column" of patients or images, scored apart as well
    "SPLIT": "test",  # or "val"
    "FINAL_MODEL": "last_step",  # or "best_val"
    "EXTERNAL": (),  # ours: registered data sets scored after training
}


def default_tree() -> CfgNode:
    """The whole tree as a new CfgNode."""
    cfg = CfgNode(dict(GENERAL))
    sections = {"INPUT": INPUT, "DATASET": DATASET, "DATALOADER": DATALOADER, "MODEL": MODEL}
    sections |= {"OPTIM": OPTIM, "TRAIN": TRAIN, "TEST": TEST, "TRAINER": TRAINER}
    for name, section in sections.items():
        cfg[name] = CfgNode(section)  # CfgNode copies
    for full_key in NAME_MAPS:
        section_name, key = full_key.split(".")
        cfg[section_name][key] = CfgNode(new_allowed=True)
    return cfg
