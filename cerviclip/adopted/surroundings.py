"""The surroundings that a repository of some years ago expects, made in a process of its own."""

from __future__ import annotations

import builtins
import collections
import collections.abc
import math
import os
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from dassl.utils import Registry

#: Names that NumPy has dropped -> what they meant.
OLD_NUMPY: dict[str, Any] = {
    "float": float, "int": int, "bool": bool, "object": object, "str": str, "complex": complex,
    "float_": np.float64, "complex_": np.complex128, "unicode_": np.str_, "long": int,
    "Inf": math.inf, "Infinity": math.inf, "infty": math.inf, "NaN": math.nan, "NAN": math.nan,
    "product": np.prod, "cumproduct": np.cumprod, "alltrue": np.all, "sometrue": np.any,
    "in1d": np.isin, "row_stack": np.vstack, "trapz": getattr(np, "trapezoid", None),
}  # fmt: skip


def put_first(root: Path) -> None:
    """Run from a repository, with its folder first on ``sys.path``; our ``dassl`` stays.

    Modules of other packages that have the name of one of the repository's are forgotten.
    """
    here = {"", str(Path.cwd())}
    sys.path[:] = [str(root), *(entry for entry in sys.path if entry not in here)]
    own = {p.stem for p in root.iterdir() if p.suffix == ".py" or _is_package(p)} - {"dassl"}
    for name in list(sys.modules):
        top = name.split(".")[0]
        if top in own and not _from(sys.modules[name], root):
            del sys.modules[name]
    os.chdir(root)


def bring_back_old_names() -> None:
    """Names that NumPy, Python, torch and Pillow had, where they have them no more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in OLD_NUMPY.items():
            if not hasattr(np, name) and value is not None:
                setattr(np, name, value)
    for name in collections.abc.__all__:
        if not hasattr(collections, name):
            setattr(collections, name, getattr(collections.abc, name))
    if "torch._six" not in sys.modules:
        six = types.ModuleType("torch._six")
        vars(six).update(
            string_classes=(str, bytes), int_classes=int, container_abcs=collections.abc,
            inf=math.inf, nan=math.nan,
        )  # fmt: skip
        sys.modules["torch._six"] = torch._six = six  # type: ignore[attr-defined]
    from PIL import Image

    for old, new in (("ANTIALIAS", "LANCZOS"), ("LINEAR", "BILINEAR"), ("CUBIC", "BICUBIC")):
        if not hasattr(Image, old):
            setattr(Image, old, getattr(Image.Resampling, new))


def let_names_be_registered_twice() -> None:
    """A repository registers data sets and trainers of names that we have: the first one stays."""

    def register(self: Registry, name: str, obj: Any, force: bool = False) -> None:
        if force or name not in self._obj_map:
            self._obj_map[name] = obj

    Registry._do_register = register  # type: ignore[method-assign]


class OnCpu(TorchFunctionMode):
    """Where there is no GPU: ``cuda`` means the CPU, and half precision single precision.

    Many kernels of the CPU have no half precision, and it would be slower there and less exact.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "cuda":
            return args[0]
        if name in ("half", "bfloat16"):
            return args[0].float()
        args = tuple(_on_cpu(arg) for arg in args)
        return func(*args, **{key: _on_cpu(value) for key, value in kwargs.items()})


def live_without_gpu() -> None:
    """Take the GPU out of all that the process does from here on."""
    OnCpu().__enter__()
    torch.set_default_dtype(torch.float32)
    for name in ("synchronize", "set_device", "empty_cache", "reset_peak_memory_stats"):
        setattr(torch.cuda, name, lambda *_, **__: None)
    torch.cuda.current_device = lambda: 0
    torch.cuda.get_device_name = lambda *_: "CPU"
    for name in ("memory_allocated", "max_memory_allocated", "memory_reserved"):
        setattr(torch.cuda, name, lambda *_, **__: 0)
    for module, name in ((torch, "load"), (torch.jit, "load")):
        setattr(module, name, _mapped_to_cpu(getattr(module, name)))


def be_quiet() -> None:
    """Warnings of old calls say nothing to a user who will not change the repository."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=SyntaxWarning)
    warnings.filterwarnings("ignore", message=".*CUDA is not available.*")


def _mapped_to_cpu(load: Any) -> Any:
    def on_cpu(*args: Any, **kwargs: Any) -> Any:
        return load(*args, **{**kwargs, "map_location": "cpu"}) if len(args) < 2 else load(
            args[0], "cpu", *args[2:], **kwargs
        )  # fmt: skip

    return on_cpu


def _on_cpu(value: Any) -> Any:
    if isinstance(value, torch.device):
        return torch.device("cpu") if value.type == "cuda" else value
    if isinstance(value, str) and (value == "cuda" or value.startswith("cuda:")):
        return "cpu"
    return torch.float32 if value is torch.float16 or value is torch.bfloat16 else value


def _is_package(path: Path) -> bool:
    return path.is_dir() and any(path.glob("*.py"))


def _from(module: Any, root: Path) -> bool:
    file = getattr(module, "__file__", None)
    return bool(file) and Path(file).resolve().is_relative_to(root)


def open_or(fallback: Any) -> None:
    """Ask ``fallback(path)`` for the text of a file that is to be read and is not there."""
    import io

    plain = builtins.open

    def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        try:
            return plain(file, mode, *args, **kwargs)
        except FileNotFoundError:
            text = fallback(Path(file)) if "r" in mode and isinstance(file, (str, Path)) else None
            if text is None:
                raise
            return io.BytesIO(text.encode()) if "b" in mode else io.StringIO(text)

    builtins.open = opened  # type: ignore[assignment]
