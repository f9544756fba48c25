"""The demo model, trained on phantoms when it is first asked for.

The page opens on it when no run is named, and ``demo`` stands for it where a run's folder is asked.
"""

from __future__ import annotations

import os
from pathlib import Path

from cerviclip.runs.results_json import read_results
from dassl.errors import MissingFileError
from dassl.paths import at_home

DEMO = "demo"


def run_folder(word: str) -> str:
    """The folder of a run that a person has named; ``demo`` is the demo model where no such file or
    folder is there."""
    return str(demo_run()[0]) if is_demo(word) else word


def check_run(word: str) -> None:
    """Refuse a run that was misspelt, before libraries are asked for or loaded.

    Raises:
        MissingFileError: it is no folder, and not the demo model.
    """
    if not is_demo(word) and not os.path.isdir(word):
        raise MissingFileError(f"there is no folder {word}; name that of a finished run, or demo")


def is_demo(word: str) -> bool:
    return word == DEMO and not os.path.exists(word)


def demo_home() -> Path:
    """Where the demo's phantoms and run are kept: below ``$CERVICLIP_CACHE``."""
    cache = os.environ.get("CERVICLIP_CACHE") or "~/.cache/cerviclip"
    return at_home(cache) / "demo"


def demo_run() -> tuple[Path, Path]:
    """Folders of the demo's run and of its phantom frames; both are made where they are not there.

    LinearProbe on PhantomOCT, 16 shots. No patient is behind it: it shows what the page does.
    """
    home = demo_home()
    run, frames = home / "run", home / "data" / "phantom" / "mixed" / "images"
    results = read_results(run)
    if results is None or results["status"] != "done" or not frames.is_dir():
        print("Rendering phantoms and training the demo model (once; about a minute)", flush=True)
        from cerviclip import api

        api.train(
            dataset="PhantomOCT",
            trainer="LinearProbe",
            backbone="PhantomCLIP",
            shots=16,
            root=home / "data",
            output_dir=run,
            opts={"TEST.EXTERNAL": [], "DATALOADER.NUM_WORKERS": 0},
            fresh=True,
            echo=False,
        )
    return run, frames


def sample_pictures(folder: Path, classnames: tuple[str, ...], each: int = 1) -> list[Path]:
    """The first pictures of each class folder, for a reader who has none at hand."""
    found = []
    for name in classnames:
        inner = folder / name
        if inner.is_dir():
            found += sorted(p for p in inner.iterdir() if p.is_file())[:each]
    return found
