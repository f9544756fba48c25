"""Where a run's files go, and what is called what there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from cerviclip.backbones.names import EMBEDDINGS, file_part
from dassl.paths import at_home, exists, is_file

DEFAULT_ROOT = "output"
RESULTS = "results.json"
MOST_NAMED = 5  # runs below a folder that an error names
_MOST_WALKED = 10_000  # folders that are looked into for them
RESCUED = "rescued.json"  # which checkpoints a job wrote in case it is stopped


def safe_part(text: object) -> str:
    """One part of a path: characters outside ``[A-Za-z0-9._-]`` become ``-``."""
    part = re.sub(r"[^A-Za-z0-9._-]", "-", str(text))
    return part if part.strip(".") else part.replace(".", "-") or "-"


#: How a centre's run of a federation came about; its parent folder's name.
WAYS = ("local", "federated", "pooled")


def variant_of_center(folder: Path) -> str:
    """Variant of a centre's run in a federation by its folder, such as ``local-huaxi``. Centres may
    share a data set; a table tells their runs apart by it."""
    return f"{folder.parent.name}-{folder.name}"


def place_of_images(dataset: Any) -> tuple[str, str, str]:
    """Name, folder and list of a data set, whatever the spelling of the paths: relative or not, by
    a link, with a slash at the end.

    Args:
        dataset: ``DATASET`` of a configuration.
    """
    root = at_home(dataset.ROOT or ".")
    folder = root / at_home(dataset.FOLDER)
    file = str(dataset.FILE)
    if file:  # relative to the images, or to the root
        candidates = [base / at_home(file) for base in (folder, root)]
        file = os.path.realpath(next(filter(exists, candidates), candidates[0]))
    return str(dataset.NAME), os.path.realpath(folder), file


def center_named(folder: Path, variant: str) -> str:
    """The centre whose run of a federation a folder and a variant name (``all`` of a pooled one);
    "" for other runs. A federation.json above it is the proof (`federated.record.center_of`)."""
    return (
        folder.name if folder.parent.name in WAYS and variant == variant_of_center(folder) else ""
    )


def backbone_label(name: str, weights_sha256: str = "") -> str:
    """A backbone's name in tables and paths; local weights add the start of their hash.

    Args:
        name: MODEL.BACKBONE.NAME; of ``library:arch:/a/file`` the file is left out.
        weights_sha256: of the local weights file, "" where there is none.
    """
    return f"{without_file(name)}-{weights_sha256[:8]}" if weights_sha256 else name


def file_in(name: str) -> str:
    """The local file in a name of the form ``library:arch:/a/file`` or ``embeddings:/a/file``, ""
    where there is none."""
    path = os.path.expanduser(file_part(name))
    return path if os.path.isfile(path) else ""


def without_file(name: str) -> str:
    """``library:arch`` of ``library:arch:/a/file``, ``embeddings:file`` of
    ``embeddings:/a/file.npz``; another name as it is."""
    if name.startswith(EMBEDDINGS):
        return EMBEDDINGS + Path(name.removeprefix(EMBEDDINGS)).stem
    library, _, rest = name.partition(":")
    arch, _, last = rest.partition(":")
    return f"{library}:{arch}" if "/" in last or "." in last else name


def find_results(root: str | Path) -> Iterator[Path]:
    """Every run's results.json below ``root``, sorted; evaluations and leftovers are not runs."""
    root = Path(root)
    if is_file(root):
        yield root
        return
    found = []
    for folder, inner, files in os.walk(root):  # a third of the time of rglob
        inner[:] = [name for name in inner if not name.startswith(".")]
        if RESULTS in files and (folder == str(root) or not _is_evaluation(folder)):
            found.append(folder.split(os.sep))
    for parts in sorted(found):
        yield Path(os.sep.join(parts), RESULTS)


def no_run(folder: str | Path, lacks: str) -> str:
    """Why a folder is no run's, and which runs lie below it: somebody may have named the folder
    above.

    Args:
        folder: as it was named.
        lacks: the file that a run's folder has.
    """
    return f"no run in {folder}: it holds no {lacks}{runs_below(folder)}"


def runs_below(folder: str | Path) -> str:
    """The first runs below a folder, as the end of an error; "" if there are none."""
    found = list(islice(_runs_below(folder), MOST_NAMED + 1))
    if not found:
        return ""
    more = ", and more" if len(found) > MOST_NAMED else ""
    return f"; name one of the runs below it: {', '.join(found[:MOST_NAMED])}{more}"


def _runs_below(folder: str | Path) -> Iterator[str]:
    """Folders of runs in the order of their names; after very many folders none is looked for."""
    for number, (place, inner, files) in enumerate(os.walk(folder)):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        if number > _MOST_WALKED:
            return
        if RESULTS in files and not _is_evaluation(place):
            inner.clear()
            yield place


def _is_evaluation(folder: str) -> bool:
    return os.path.basename(os.path.dirname(folder)) == "eval"
