"""Old pickles are read by an allow-list; a hostile one runs nothing, wherever its payload is."""

from __future__ import annotations

import collections
import copyreg
import io
import os
import pickle
import pickletools
import zipfile

import numpy as np
import pytest
import torch

from dassl.data.datasets.base_dataset import Datum
from dassl.data.datasets.fewshot_pickle import load_fewshot_pickle
from dassl.errors import UserError
from dassl.utils import load_checkpoint
from dassl.utils.safe_pickle import AllowListUnpickler, UnsafePickleError


class Payload:
    """Unpickling this with plain pickle makes a file."""

    def __init__(self, call, *args):
        self.call = call
        self.args = args

    def __reduce__(self):
        return self.call, self.args


def payloads(marker):
    touch = f"touch {marker}"
    yield "os.system", Payload(os.system, touch)
    yield "eval", Payload(eval, f"open({str(marker)!r}, 'w')")
    yield "exec", Payload(exec, f"open({str(marker)!r}, 'w')")
    yield "open", Payload(open, str(marker), "w")
    yield "os.makedirs", Payload(os.makedirs, str(marker))
    yield "getattr", Payload(getattr, os, "system")
    yield "import", Payload(__import__, "this")
    yield "torch.load bytes", Payload(torch.storage._load_from_bytes, b"junk")
    yield "torch.hub", Payload(torch.hub.load_state_dict_from_url, "http://localhost/")
    yield "np.load", Payload(np.load, str(marker))
    yield "reduce_ex", Payload(copyreg.__newobj__, Payload)


NAMES = [name for name, _ in payloads("x")]
PLACES = {
    "top": lambda p: p,
    "in state_dict": lambda p: {"state_dict": {"w": p}, "epoch": 1},
    "as key's neighbour": lambda p: {"state_dict": {}, "epoch": 1, "scheduler": [1, (2, p)]},
    "in a Counter": lambda p: {"state_dict": {}, "x": collections.Counter({"a": p})},
    "in an OrderedDict": lambda p: {"state_dict": collections.OrderedDict(a=p)},
    "in a scheduler": lambda p: {"scheduler": scheduler_holding(p)},
}


def scheduler_holding(value):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    scheduler.optimizer = None
    scheduler.extra = value
    return scheduler


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_hostile_checkpoint_runs_nothing(tmp_path, name, place, zipped):
    marker = tmp_path / "ran"
    payload = dict(payloads(marker))[name]
    path = tmp_path / "model.pth.tar-1"
    if name == "getattr":  # modules do not pickle: name it by hand below
        payload = Payload(getattr, "x", "upper")
    torch.save(PLACES[place](payload), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert "refused, nothing in it was run" in message and str(path) in message
    assert "\n" not in message
    assert not marker.exists()


@pytest.mark.parametrize("name", NAMES)
def test_hostile_fewshot_file_runs_nothing(tmp_path, name):
    marker = tmp_path / "ran"
    payload = dict(payloads(marker))[name] if name != "getattr" else Payload(getattr, "x", "upper")
    path = tmp_path / "shot_1-seed_1.pkl"
    path.write_bytes(pickle.dumps({"train": [payload], "val": []}))
    with pytest.raises(UserError, match="refused, nothing in it was run"):
        load_fewshot_pickle(path)
    assert not marker.exists()


def test_payload_really_would_run(tmp_path):
    """The tests above mean something: plain pickle runs the same file."""
    marker = tmp_path / "ran"
    pickle.loads(pickle.dumps(Payload(os.system, f"touch {marker}")))
    assert marker.exists()


def test_legacy_header_itself_is_read_by_the_list(tmp_path):
    """The legacy format begins with three small pickles before the checkpoint's own."""
    marker = tmp_path / "ran"
    path = tmp_path / "model.pth.tar-1"
    path.write_bytes(pickle.dumps(Payload(os.system, f"touch {marker}")) * 4)
    with pytest.raises(UserError, match="refused"):
        load_checkpoint(path)
    assert not marker.exists()


def test_configs_and_arguments_inside_a_checkpoint_become_records(tmp_path):
    import argparse

    from dassl.config import get_cfg_default

    path = tmp_path / "model.pth.tar-1"
    extra = {"cfg": get_cfg_default(), "args": argparse.Namespace(seed=3)}
    torch.save({"state_dict": {"w": torch.ones(2)}, "epoch": 1, **extra}, path)
    read = load_checkpoint(path)
    assert read["cfg"]["OPTIM"]["NAME"] == "adam" and read["args"]["seed"] == 3
    assert not isinstance(read["args"], argparse.Namespace)


def test_a_whole_pickled_model_is_refused_by_its_class(tmp_path):
    path = tmp_path / "model.pth.tar-1"
    torch.save({"state_dict": {}, "epoch": 1, "model": torch.nn.Linear(1, 1)}, path)
    with pytest.raises(UserError, match=r"torch\.nn\.modules\.linear\.Linear"):
        load_checkpoint(path)


def test_allowed_functions_cannot_be_altered_from_a_file():
    """BUILD sets attributes on any object a file can name; the originals must stay as they are."""
    for module, name in (
        ("collections", "Counter"),
        ("collections", "OrderedDict"),
        ("dassl.data.datasets.base_dataset", "Datum"),
        ("torch.optim.sgd", "SGD"),
    ):
        state = pickle.dumps((None, {"poison": 1}), protocol=2)[2:-1]
        code = b"\x80\x02c" + f"{module}\n{name}\n".encode() + state + b"b."
        pickletools.dis(code, io.StringIO())
        try:
            AllowListUnpickler(io.BytesIO(code)).load()
        except Exception:
            pass
    assert not hasattr(collections.Counter, "poison")
    assert not hasattr(Datum, "poison")
    assert not hasattr(torch.optim.SGD, "poison")


@pytest.mark.parametrize("name", ["lr_scheduler.warnings.sys.exit", "sgd.torch.hub.load"])
def test_dotted_names_do_not_reach_through_an_allowed_module(name):
    stream = pickle.PROTO + b"\x04" + _short("torch.optim.lr_scheduler") + _short(name)
    with pytest.raises(UnsafePickleError):
        AllowListUnpickler(io.BytesIO(stream + pickle.STACK_GLOBAL + b".")).load()


def _short(text):
    data = text.encode()
    return pickle.SHORT_BINUNICODE + bytes([len(data)]) + data


def test_numpy_values_come_back_and_objects_do_not(tmp_path):
    values = {
        "a": np.float64(93.6),
        "b": np.int32(7),
        "c": np.arange(6, dtype=">i2").reshape(2, 3),
        "d": np.asfortranarray(np.ones((2, 2), dtype=np.float32)),
        "e": np.bool_(True),
    }
    for protocol in (2, 3, 4):
        read = AllowListUnpickler(io.BytesIO(pickle.dumps(values, protocol))).load()
        assert read["a"] == 93.6 and read["b"] == 7 and bool(read["e"]) is True
        np.testing.assert_array_equal(read["c"], values["c"])
        np.testing.assert_array_equal(read["d"], values["d"])
    hostile = pickle.dumps(np.array([Payload(os.system, "true")], dtype=object))
    with pytest.raises(UnsafePickleError):
        AllowListUnpickler(io.BytesIO(hostile)).load()


def test_other_archives_are_named(tmp_path):
    import tarfile

    path = tmp_path / "model.pth.tar-1"
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    with pytest.raises(UserError, match="tar archive"):
        load_checkpoint(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/constants.pkl", b"")
    with pytest.raises(UserError, match="TorchScript archive"):
        load_checkpoint(path)
