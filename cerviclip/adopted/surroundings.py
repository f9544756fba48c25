"""The surroundings that a repository of some years ago expects, made in a process of its own."""

from __future__ import annotations

import collections
import collections.abc
import importlib.machinery
import importlib.util
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

from dassl.data.datasets import DatasetBase
from dassl.utils import Registry

#: Names that NumPy has dropped -> what they meant.
OLD_NUMPY: dict[str, Any] = {
    "float": float, "int": int, "bool": bool, "object": object, "str": str, "complex": complex,
    "float_": np.float64, "complex_": np.complex128, "unicode_": np.str_, "long": int,
    "Inf": math.inf, "Infinity": math.inf, "infty": math.inf, "NaN": math.nan, "NAN": math.nan,
    "product": np.prod, "cumproduct": np.cumprod, "alltrue": np.all, "sometrue": np.any,
    "in1d": np.isin, "row_stack": np.vstack, "trapz": getattr(np, "trapezoid", None),
}  # fmt: skip


#: Names that transformers has dropped -> what took their place.
OLD_TRANSFORMERS = {
    f"{model}FeatureExtractor": f"{model}ImageProcessor"
    for model in ("CLIP", "ViT", "DeiT", "Beit", "ConvNext", "Owlvit", "ImageGPT", "Flava")
}


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
    sys.meta_path.insert(0, _OwnFolders(root))  # type: ignore[arg-type]
    os.chdir(root)


class _OwnFolders:
    """Finds the repository's folders of Python files that have no ``__init__.py``.

    Python would take an installed package of that name (``clip``, ``datasets``) in their place.
    """

    def __init__(self, root: Path) -> None:
        self.names = {
            p.name: str(p) for p in root.iterdir()
            if p.name != "dassl" and _is_package(p) and not (p / "__init__.py").exists()
            and not (root / f"{p.name}.py").exists()
        }  # fmt: skip

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname not in self.names:
            return None
        spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
        spec.submodule_search_locations = [self.names[fullname]]
        return spec


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
    if not hasattr(np, "deprecate"):
        np.deprecate = lambda *args, **_: args[0] if args else (lambda function: function)  # type: ignore[attr-defined]
    _bring_back_transformers()
    from PIL import Image

    for old, new in (("ANTIALIAS", "LANCZOS"), ("LINEAR", "BILINEAR"), ("CUBIC", "BICUBIC")):
        if not hasattr(Image, old):
            setattr(Image, old, getattr(Image.Resampling, new))


def _bring_back_transformers() -> None:
    """Names that transformers has dropped, supplied when its package is imported."""
    if "transformers" in sys.modules or importlib.util.find_spec("transformers") is not None:
        sys.meta_path.insert(0, _OldTransformers())  # type: ignore[arg-type]


class _OldTransformers:
    """Adds the dropped names to ``transformers`` when it is imported."""

    looking = False

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != "transformers" or self.looking:
            return None
        self.looking = True  # the other finders are asked
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self.looking = False
        if spec is not None and spec.loader is not None:
            spec.loader = _WithOldNames(spec.loader)  # type: ignore[assignment]
        return spec


class _WithOldNames:
    """A loader of ``transformers`` that adds them."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def create_module(self, spec: Any) -> Any:
        return self.loader.create_module(spec)

    def exec_module(self, module: types.ModuleType) -> None:
        self.loader.exec_module(module)
        kind: Any = type(sys.modules["transformers"])  # of a module that imports what it is asked
        found = getattr(kind, "__getattr__", None)
        if found is None:
            return

        def of_either_name(self: Any, name: str) -> Any:
            try:
                return found(self, name)
            except (AttributeError, ImportError):
                if name not in OLD_TRANSFORMERS:
                    raise
                return getattr(self, OLD_TRANSFORMERS[name])

        kind.__getattr__ = of_either_name

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


def let_names_be_registered_twice() -> None:
    """A repository registers data sets and trainers of names that we have: the first one stays."""

    def register(self: Registry, name: str, obj: Any, force: bool = False) -> None:
        if force or name not in self._obj_map:
            self._obj_map[name] = obj

    Registry._do_register = register  # type: ignore[method-assign]


class _AllClasses:
    """``dataset.all_classnames``, which forks give their data sets: ours have all classes."""

    def __get__(self, dataset: Any, kind: type | None = None) -> Any:
        return self if dataset is None else dataset.all_class_names


def give_data_sets_all_classnames() -> None:
    """A data set's own attribute of that name comes first."""
    if not hasattr(DatasetBase, "all_classnames"):
        DatasetBase.all_classnames = _AllClasses()  # type: ignore[attr-defined]


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
