"""Reading old pickles without running them: an allow-list unpickler with inert stand-ins.

Upstream's checkpoints hold live schedulers and NumPy scalars, its few-shot files hold ``Datum``
objects. Unpickling calls whatever a file names, so these are read by an unpickler that knows a
short list of names: containers, tensors and NumPy values are rebuilt, optimisers and schedulers
become ``Stub`` records of plain values, and any other name ends the reading before anything runs.
"""

from __future__ import annotations

import collections
import pickle
import types
from collections.abc import Callable
from typing import IO, Any

import numpy as np
import torch

from dassl.errors import UserError

# Modules whose classes are read as records of their attributes and never built.
STUB_MODULES = (
    "torch.optim.",
    "dassl.optim.",
)
STUB_CLASSES = {("yacs.config", "CfgNode"), ("argparse", "Namespace")}
DATUM = ("dassl.data.datasets.base_dataset", "Datum")  # as few-shot files name it


class UnsafePickleError(UserError):
    """A pickle names something outside the allow-list."""


class Stub(dict):
    """What a scheduler or optimiser in an old file was: its class's name and its attributes.

    A dict of the attributes, so that ``stub["last_epoch"]`` works; ``class_name`` is the class.
    """

    class_name = ""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) == 2:  # (dict, slots)
            parts = [part for part in state if isinstance(part, dict)]
        else:
            parts = [state] if isinstance(state, dict) else []
        for part in parts:
            self.update(part)


class _Call:
    """An allowed function. Wrapped anew for each file, so that a file cannot alter the original."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        raise UnsafePickleError(f"a pickle tries to set {name!r} on a function; refused")


class _Array(np.ndarray):
    """An ndarray whose state is checked: plain numbers only."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:  # type: ignore[override]
        version, shape, dtype, fortran, raw = state
        data = raw.encode("latin1") if isinstance(raw, str) else raw
        super().__setstate__((version, shape, _as_dtype(dtype), fortran, data))


class _Dtype:
    """A dtype under construction: its byte order comes in a state set later."""

    def __init__(self, spec: Any, align: bool = False, copy: bool = False) -> None:
        self.dtype = np.dtype(spec)
        if self.dtype.hasobject or self.dtype.fields:
            raise UnsafePickleError("NumPy values other than plain numbers are not read")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if len(state) > 1 and state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


def _as_dtype(record: Any) -> np.dtype:
    if not isinstance(record, _Dtype):
        raise UnsafePickleError("a NumPy value without a plain type is not read")
    return record.dtype


def _numpy_scalar(dtype: Any, raw: Any = b"") -> Any:
    data = raw.encode("latin1") if isinstance(raw, str) else raw
    return np.frombuffer(data, dtype=_as_dtype(dtype), count=1)[0]


def _numpy_reconstruct(kind: Any, shape: Any, typecode: Any) -> np.ndarray:
    return np.ndarray.__new__(_Array, (0,), np.int8)


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise UnsafePickleError(f"a pickle asks for the codec {encoding!r}; refused")
    return text.encode("latin1")


def _reconstructor(cls: Any, base: Any = object, state: Any = None) -> Any:
    if not (isinstance(cls, type) and issubclass(cls, Stub)):
        raise UnsafePickleError("a pickle builds an object of a class that is not allowed")
    return cls.__new__(cls)


def _set(items: Any = ()) -> set[Any]:
    return set(items)


def _defaultdict(factory: Any = None, items: Any = ()) -> dict[Any, Any]:
    return collections.defaultdict(dict if factory is not None else None, items)


def _frozen_parameter(data: torch.Tensor, requires_grad: bool, hooks: Any) -> torch.Tensor:
    return torch.nn.Parameter(data, bool(requires_grad))


def _tensor_v2(
    storage: Any,
    offset: int,
    size: Any,
    stride: Any,
    requires_grad: bool = False,
    hooks: Any = None,
    metadata: Any = None,
) -> torch.Tensor:
    tensor = torch._utils._rebuild_tensor(storage, offset, tuple(size), tuple(stride))
    tensor.requires_grad_(bool(requires_grad))
    return tensor


_FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("collections", "defaultdict"): _defaultdict,
    ("collections", "Counter"): collections.Counter,
    ("builtins", "set"): _set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "dict"): dict,
    ("builtins", "list"): list,
    ("builtins", "int"): int,
    ("builtins", "float"): float,
    ("builtins", "complex"): complex,
    ("_codecs", "encode"): _encode,
    ("copyreg", "_reconstructor"): _reconstructor,
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): lambda *args: _refuse("numpy.ndarray"),
    ("numpy.core.multiarray", "scalar"): _numpy_scalar,
    ("numpy.core.multiarray", "_reconstruct"): _numpy_reconstruct,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
    ("torch._utils", "_rebuild_tensor"): _tensor_v2,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor_v2,
    ("torch._utils", "_rebuild_parameter"): _frozen_parameter,
}
_RENAMED = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "numpy._core.multiarray": "numpy.core.multiarray",
}


class AllowListUnpickler(pickle.Unpickler):
    """Reads containers, tensors, NumPy numbers and records; refuses every other name.

    Args:
        file: open for reading bytes.
        data_only: only containers and ``Datum`` records: no tensors, no optimisers.
    """

    def __init__(self, file: IO[bytes], *, data_only: bool = False, **options: Any) -> None:
        super().__init__(file, **options)
        self._data_only = data_only
        self._seen: dict[tuple[str, str], Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        key = (_RENAMED.get(module, module), name)
        if key not in self._seen:
            self._seen[key] = self._lookup(*key)
        return self._seen[key]

    def _lookup(self, module: str, name: str) -> Any:
        key = (module, name)
        if key == ("builtins", "object"):
            return _Call(lambda *args: _refuse("object"))
        if key == DATUM or (not self._data_only and self._is_record(module, name)):
            return type(name, (Stub,), {"class_name": f"{module}.{name}"})
        if not self._data_only or module in ("collections", "builtins", "copyreg", "_codecs"):
            if key in _FUNCTIONS:
                return _Call(_FUNCTIONS[key])
            if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
                return getattr(torch, name)
        raise UnsafePickleError(f"it names {module}.{name}, which is not on the list of safe types")

    @staticmethod
    def _is_record(module: str, name: str) -> bool:
        if "." in name:
            return False
        return module.startswith(STUB_MODULES) or (module, name) in STUB_CLASSES


def _refuse(what: str) -> Any:
    raise UnsafePickleError(f"a pickle calls {what}; refused")


def pickle_module() -> types.ModuleType:
    """What ``torch.load(..., pickle_module=...)`` wants, reading by the allow-list alone."""
    module = types.ModuleType("dassl_safe_pickle")
    module.Unpickler = AllowListUnpickler  # type: ignore[attr-defined]
    module.load = lambda file, **options: (  # type: ignore[attr-defined]
        AllowListUnpickler(file, **options).load()
    )
    module.UnpicklingError = pickle.UnpicklingError  # type: ignore[attr-defined]
    module.PickleError = pickle.PickleError  # type: ignore[attr-defined]
    return module
