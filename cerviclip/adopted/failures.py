"""One line for what goes wrong in adopted code: which of its files, and what it missed."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

from dassl.errors import UserError

#: What torch.jit.load says of a file that is not there.
_LOST = r"The provided filename (.*) does not exist"


_FORK = "if it was written for a fork of Dassl, put the fork's folder dassl beside its train.py"


class AdoptedCodeError(RuntimeError):
    """Something in a repository's own code failed."""


def one_line(error: BaseException, root: Path) -> str:
    """``trainers/x.py, line 12: needs the package foo, which is not installed``."""
    return f"{_place(error, root)}{_what(error, root)}"


def adopted_error(error: BaseException, root: Path, hint: str = "") -> Exception:
    """The error to raise for one of a repository's; it keeps whether the user can mend it.

    Args:
        hint: what the user can do about it.
    """
    if isinstance(error, AdoptedCodeError):
        return error
    kind = UserError if isinstance(error, UserError) else AdoptedCodeError
    return kind("; ".join(filter(None, (one_line(error, root), hint))))


def _place(error: BaseException, root: Path) -> str:
    """The innermost of the repository's own lines that the error went through."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_relative(error.filename, root)}, line {error.lineno}: "
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if Path(f.filename).is_absolute() and _inside(f.filename, root)]
    return f"{_relative(own[-1].filename, root)}, line {own[-1].lineno}: " if own else ""


def _what(error: BaseException, root: Path) -> str:
    text = " ".join(str(error).split())[:400]
    if isinstance(error, UserError):
        return text
    if isinstance(error, ModuleNotFoundError):
        name = error.name or text
        if name.split(".")[0] == "dassl":
            return f"imports {name}, which our dassl does not have; {_FORK}"
        if (root / name.split(".")[0]).is_dir():
            return f"imports {name}, a file that the repository does not have"
        return f"needs the package {name.split('.')[0]}, which is not installed"
    if isinstance(error, ImportError) and (error.name or "").split(".")[0] == "dassl":
        return f"imports a name that our dassl does not have ({text}); {_FORK}"
    if isinstance(error, OSError) and "huggingface.co" in text:
        return (
            "loads a model from huggingface.co that is not in the cache and cannot be downloaded "
            "here; load it once where the network is, and set HF_HOME to that cache"
        )
    if isinstance(error, FileNotFoundError):
        return f"looks for {error.filename or text}, which is not there"
    if isinstance(error, ValueError) and (lost := re.match(_LOST, text)):
        return f"looks for {lost[1]}, which is not there"
    if isinstance(error, SystemExit):
        return f"ends the process (exit status {error.code})"
    if isinstance(error, KeyError):
        return f"a table has no entry {text}"
    if isinstance(error, AttributeError):
        key = re.fullmatch(r"([A-Za-z]\w*)", text)  # all that yacs says
        if key:
            return f"reads the config key {key[1]}, which neither extend_cfg nor a yaml sets"
    if isinstance(error, AssertionError) and not text:
        return "an assertion does not hold"
    return f"{type(error).__name__}: {text}"


def _inside(filename: str, root: Path) -> bool:
    return Path(filename).resolve().is_relative_to(root)


def _relative(filename: str, root: Path) -> str:
    path = Path(filename).resolve()
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
