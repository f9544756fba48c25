"""OpenAI's weight files: from the cache folder, or downloaded, verified by sha256."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path

from cerviclip.backbones.names import OPENAI_FILES, OPENAI_URL
from cerviclip.vlm.files.place import cache_dir
from dassl.errors import MissingFileError, UserError
from dassl.paths import is_file
from dassl.utils.files import file_sha256

TIMEOUT = 15  # s, for a server that does not answer


def openai_file(name: str) -> Path:
    """The verified local file of an OpenAI model, downloaded on the first use.

    Raises:
        MissingFileError: neither a cached file nor a way to download it.
        UserError: what was downloaded is not the official file.
    """
    file, sha256 = OPENAI_FILES[name]
    path = cache_dir() / file
    if is_file(path):
        if file_sha256(path) == sha256:
            return path
        raise UserError(
            f"{path} is not OpenAI's {file}: sha256 {file_sha256(path)[:16]}..., expected "
            f"{sha256[:16]}...; delete it to download it again, or name it by --weights to use it "
            "as it is"
        )
    _download(f"{OPENAI_URL}/{sha256}/{file}", path, sha256, name)
    return path


def _download(url: str, path: Path, sha256: str, name: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as source, open(part, "wb") as target:
                print(f"Downloading {url}", file=sys.stderr)
                shutil.copyfileobj(source, target, 1 << 20)
        except (urllib.error.URLError, OSError, TimeoutError) as error:
            raise MissingFileError(
                f"no weights for {name}: it cannot be downloaded ({_reason(error)}), so put "
                f"OpenAI's {path.name} at {path}, or give any copy of it by --weights FILE "
                "(MODEL.INIT_WEIGHTS)"
            ) from error
        found = file_sha256(part)
        if found != sha256:
            raise UserError(
                f"the download of {url} arrived broken (sha256 {found[:16]}..., expected "
                f"{sha256[:16]}...); try again, or give a good copy by --weights FILE"
            )
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _reason(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    return str(reason).strip().splitlines()[0][:80] if str(reason).strip() else type(error).__name__
