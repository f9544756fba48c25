"""A data set in CoOp's manner: images, a split file, few-shot pickles, base and new classes."""

import math
import os
import pickle
import random

from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.utils import listdir_nohidden, mkdir_if_missing, read_json, write_json


@DATASET_REGISTRY.register()
class ToyCells(DatasetBase):
    dataset_dir = "toy"

    def __init__(self, cfg):
        root = os.path.abspath(os.path.expanduser(cfg.DATASET.ROOT))
        self.dataset_dir = os.path.join(root, self.dataset_dir)
        self.image_dir = os.path.join(self.dataset_dir, "images")
        self.split_path = os.path.join(self.dataset_dir, "split_toy.json")
        self.split_fewshot_dir = os.path.join(self.dataset_dir, "split_fewshot")
        mkdir_if_missing(self.split_fewshot_dir)

        if os.path.exists(self.split_path):
            train, val, test = self.read_split(self.split_path, self.image_dir)
        else:
            train, val, test = self.read_and_split_data(self.image_dir)
            self.save_split(train, val, test, self.split_path, self.image_dir)

        num_shots = cfg.DATASET.NUM_SHOTS
        if num_shots >= 1:
            seed = cfg.SEED
            preprocessed = os.path.join(self.split_fewshot_dir, f"shot_{num_shots}-seed_{seed}.pkl")
            if os.path.exists(preprocessed):
                print(f"Loading preprocessed few-shot data from {preprocessed}")
                with open(preprocessed, "rb") as file:
                    data = pickle.load(file)
                    train, val = data["train"], data["val"]
            else:
                train = self.generate_fewshot_dataset(train, num_shots=num_shots)
                val = self.generate_fewshot_dataset(val, num_shots=min(num_shots, 4))
                print(f"Saving preprocessed few-shot data to {preprocessed}")
                with open(preprocessed, "wb") as file:
                    pickle.dump({"train": train, "val": val}, file, protocol=4)

        train, val, test = self.subsample(train, val, test, sub=cfg.DATASET.SUBSAMPLE_CLASSES)
        super().__init__(train_x=train, val=val, test=test)

    @staticmethod
    def read_and_split_data(image_dir, p_trn=0.5, p_val=0.25):
        train, val, test = [], [], []
        categories = [c for c in listdir_nohidden(image_dir)]
        categories.sort()
        for label, category in enumerate(categories):
            folder = os.path.join(image_dir, category)
            images = [os.path.join(folder, name) for name in listdir_nohidden(folder)]
            random.shuffle(images)
            n_train, n_val = round(len(images) * p_trn), round(len(images) * p_val)
            items = [Datum(impath=i, label=label, classname=category) for i in images]
            train += items[:n_train]
            val += items[n_train : n_train + n_val]
            test += items[n_train + n_val :]
        return train, val, test

    @staticmethod
    def save_split(train, val, test, filepath, path_prefix):
        def extract(items):
            return [
                (item.impath.replace(path_prefix, "").lstrip("/"), item.label, item.classname)
                for item in items
            ]

        write_json({"train": extract(train), "val": extract(val), "test": extract(test)}, filepath)
        print(f"Saved split to {filepath}")

    @staticmethod
    def read_split(filepath, path_prefix):
        def convert(items):
            return [
                Datum(impath=os.path.join(path_prefix, path), label=int(label), classname=name)
                for path, label, name in items
            ]

        print(f"Reading split from {filepath}")
        split = read_json(filepath)
        return convert(split["train"]), convert(split["val"]), convert(split["test"])

    @staticmethod
    def subsample(*sources, sub="all"):
        if sub == "all":
            return sources
        labels = sorted({item.label for item in sources[0]})
        middle = math.ceil(len(labels) / 2)
        print(f"SUBSAMPLE {sub.upper()} CLASSES!")
        selected = labels[:middle] if sub == "base" else labels[middle:]
        relabel = {label: i for i, label in enumerate(selected)}
        return [
            [
                Datum(impath=d.impath, label=relabel[d.label], classname=d.classname)
                for d in source
                if d.label in selected
            ]
            for source in sources
        ]


@DATASET_REGISTRY.register()
class ToyDomains(DatasetBase):
    """The same images as two domains, one of them unlabelled, for TrainerXU."""

    domains = ["source", "target"]

    def __init__(self, cfg):
        self.check_input_domains(cfg.DATASET.SOURCE_DOMAINS, cfg.DATASET.TARGET_DOMAINS)
        folder = os.path.join(os.path.abspath(cfg.DATASET.ROOT), "toy", "images")
        items = {}
        for domain in (0, 1):
            items[domain] = [
                Datum(os.path.join(folder, category, name), label, domain, category)
                for label, category in enumerate(sorted(listdir_nohidden(folder)))
                for k, name in enumerate(sorted(listdir_nohidden(os.path.join(folder, category))))
                if k % 2 == domain
            ]
        super().__init__(train_x=items[0], train_u=items[1], test=items[1])
