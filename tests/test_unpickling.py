"""Nothing unpickles untrusted bytes: every call that could run what a file says is on a list, with
the reason why it may stand there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
FOLDERS = ("dassl", "cerviclip", "trainers", "datasets", "tools")
PICKLERS = ("pickle", "_pickle", "cPickle", "dill", "cloudpickle", "marshal", "jsonpickle")
OTHERS = (
    *("joblib.load", "pandas.read_pickle", "shelve.open", "torch.jit.load"),
    *("torch.distributed.broadcast_object_list", "torch.distributed.all_gather_object"),
    *("torch.distributed.gather_object", "torch.distributed.scatter_object_list"),
    "torch.distributed.recv_object_list",
)
SAFE_LOADERS = ("SafeLoader", "CSafeLoader", "BaseLoader")
#: (file, enclosing function or class, what) -> why it is right.
ALLOWED = {
    ("dassl/utils/safe_pickle.py", "AllowListUnpickler", "pickle.Unpickler"): (
        "the allow-list itself: find_class knows a few harmless names and refuses all others"
    ),
    ("dassl/utils/checkpoints.py", "load_checkpoint", "torch.load"): (
        "weights_only=False with pickle_module=the allow-list, for upstream's old checkpoints"
    ),
    ("cerviclip/adopted/child.py", "main", "pickle.loads"): (
        "a job that our own process wrote, in a new temporary folder that only this user can enter"
    ),
    ("cerviclip/adopt/launch.py", "ask_child", "pickle.loads"): (
        "the answer of the process that ran the repository's code, as the user asked it to"
    ),
    ("cerviclip/vlm/files/formats.py", "_read_torch", "torch.load"): (
        "weights_only=False with pickle_module=the allow-list, for files of training scripts"
    ),
    ("cerviclip/vlm/files/formats.py", "_read_torchscript", "torch.jit.load"): (
        "TorchScript's reader knows tensors and TorchScript's own classes; OpenAI's files are such"
    ),
    ("dassl/utils/distributed.py", "broadcast_object", "torch.distributed.broadcast_object_list"): (
        "between processes of one run, which the same user started"
    ),
    ("dassl/utils/distributed.py", "gather_objects", "torch.distributed.all_gather_object"): (
        "between processes of one run, which the same user started"
    ),
}


def dotted(node: ast.expr, names: dict[str, str]) -> str:
    """``np.load`` as ``numpy.load``; empty for what has no name."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        before = dotted(node.value, names)
        return f"{before}.{node.attr}" if before else ""
    return ""


def imported_names(tree: ast.Module) -> dict[str, str]:
    """Local name -> full name, for imports anywhere in the file."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname:
                    names[alias.asname] = alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def is_true(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def is_false(node: ast.expr | None) -> bool:
    return node is None or (isinstance(node, ast.Constant) and node.value is False)


def danger_of_call(name: str, call: ast.Call, names: dict[str, str]) -> bool:
    """Whether a call may run what the bytes that it reads say."""
    options = {word.arg: word.value for word in call.keywords}
    module, _, function = name.rpartition(".")
    if module in PICKLERS:
        return function in ("load", "loads")
    if name in ("torch.load", "torch.serialization.load"):
        return not is_true(options.get("weights_only"))
    if name in ("numpy.load", "numpy.lib.format.read_array"):
        return not is_false(options.get("allow_pickle")) or None in options
    if module == "yaml":
        if function in ("load", "load_all"):
            loader = options.get("Loader") or (call.args[1] if len(call.args) > 1 else None)
            asked = dotted(loader, names).rpartition(".")[2] if loader is not None else ""
            return asked not in SAFE_LOADERS
        return function.startswith(("unsafe_load", "full_load"))
    return name in OTHERS


def dangers(source: str) -> list[tuple[str, str]]:
    """(enclosing function or class, call) of every dangerous call and unpickler in a source."""
    tree = ast.parse(source)
    names = imported_names(tree)
    found = []

    def look(node: ast.AST, inside: str) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            inside = f"{inside}.{node.name}" if inside else node.name
        if isinstance(node, ast.Call):
            name = dotted(node.func, names)
            if danger_of_call(name, node, names):
                found.append((inside, name))
        elif isinstance(node, (ast.Attribute, ast.Name)):
            name = dotted(node, names)
            if name.rpartition(".")[0] in PICKLERS and name.endswith("Unpickler"):
                found.append((inside, name))
        for child in ast.iter_child_nodes(node):
            look(child, inside)

    look(tree, "")
    return found


def found_in_tree() -> list[tuple[str, str, str]]:
    files = [p for folder in FOLDERS for p in sorted((REPO / folder).rglob("*.py"))]
    files += [REPO / "train.py", REPO / "run_shell.py", REPO / "setup.py"]
    assert len(files) > 300, "this test would prove nothing"
    return [
        (path.relative_to(REPO).as_posix(), *danger)
        for path in files
        for danger in dangers(path.read_text(encoding="utf-8"))
    ]


def test_every_call_that_could_unpickle_is_on_the_list():
    assert sorted(found_in_tree()) == sorted(ALLOWED)


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\npickle.load(f)",
        "import pickle as p\np.loads(b)",
        "from pickle import loads as read\nread(b)",
        "from pickle import Unpickler\nclass U(Unpickler): pass",
        "import pickle\npickle.Unpickler(f).load()",
        "def f():\n    import torch\n    torch.load(p)",
        "import torch\ntorch.load(p, weights_only=False)",
        "import torch\ntorch.load(p, weights_only=safe)",
        "from torch import load\nload(p)",
        "import numpy as np\nnp.load(p, allow_pickle=True)",
        "import numpy as np\nnp.load(p, **options)",
        "import yaml\nyaml.load(t, yaml.Loader)",
        "import yaml\nyaml.load(t, Loader=yaml.FullLoader)",
        "import yaml\nyaml.unsafe_load(t)",
        "import joblib\njoblib.load(p)",
        "import pandas as pd\npd.read_pickle(p)",
        "import torch.distributed as dist\ndist.all_gather_object(out, x)",
    ],
)
def test_the_search_sees(source):
    assert len(dangers(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(p, weights_only=True)",
        "import numpy as np\nnp.load(p)\nnp.load(p, allow_pickle=False)",
        "import yaml\nyaml.safe_load(t)\nyaml.load(t, Loader=yaml.CSafeLoader)",
        "import json, pickle\njson.load(f)\npickle.dumps(x)",
    ],
)
def test_the_search_passes(source):
    assert not dangers(source)
