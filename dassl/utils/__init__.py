"""Upstream's ``dassl.utils`` and the few helpers that are ours (files, random states)."""

from dassl.utils.checkpoints import (
    load_checkpoint,
    load_pretrained_weights,
    resume_from_checkpoint,
    save_checkpoint,
)
from dassl.utils.files import atomic_write, file_sha256
from dassl.utils.logger import Logger, setup_logger
from dassl.utils.meters import AverageMeter, MetricMeter
from dassl.utils.registry import Registry
from dassl.utils.rng import (
    get_rng_state,
    random_kept,
    set_random_seed,
    set_rng_state,
    stable_seed,
)
from dassl.utils.tools import (
    check_availability,
    check_isfile,
    collect_env_info,
    download_url,
    get_most_similar_str_to_a_from_b,
    listdir_nohidden,
    mkdir_if_missing,
    read_image,
    read_json,
    tolist_if_not,
    write_json,
)
from dassl.utils.torchtools import (
    adjust_learning_rate,
    count_num_param,
    init_network_weights,
    open_all_layers,
    open_specified_layers,
    set_bn_to_eval,
)

__all__ = [
    "AverageMeter",
    "Logger",
    "MetricMeter",
    "Registry",
    "adjust_learning_rate",
    "atomic_write",
    "check_availability",
    "check_isfile",
    "collect_env_info",
    "count_num_param",
    "download_url",
    "file_sha256",
    "get_most_similar_str_to_a_from_b",
    "get_rng_state",
    "init_network_weights",
    "listdir_nohidden",
    "load_checkpoint",
    "load_pretrained_weights",
    "mkdir_if_missing",
    "open_all_layers",
    "open_specified_layers",
    "random_kept",
    "read_image",
    "read_json",
    "resume_from_checkpoint",
    "save_checkpoint",
    "set_bn_to_eval",
    "set_random_seed",
    "set_rng_state",
    "setup_logger",
    "stable_seed",
    "tolist_if_not",
    "write_json",
]
