"""Goal: see where in an image a trained run finds what speaks for a class.

Usage:
    cerviclip explain RUN cell.png
    cerviclip explain RUN a.png b.png --class HSIL --method all --out maps/

Each image gives a PNG (the image, and the map over it) and a JSON with the probability, what the
model saw of the image, and how faithful the map is: deletion and insertion scores against random
maps. Without --class the map is for the predicted class. `--method` takes gradcam, hirescam,
scorecam, eigencam, occlusion, attention (SAVLT), attribution or rollout (ViT) where the run allows
them, or all of these.

Exit status: 0 done, 1 some file could not be read, 2 something to correct, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cerviclip.app.demo import run_folder
from cerviclip.app.predict_command import find_pictures, progress
from cerviclip.data.files.folders import Skipped
from cerviclip.data.files.names import distinct_names
from cerviclip.runs.settings.parser import Parser, add_debug_flag, add_device_flag, add_plugin_flag
from dassl.errors import cli_main
from dassl.utils.files import atomic_write

if TYPE_CHECKING:
    from cerviclip.app.explain import Explanation
    from cerviclip.app.explain.faithfulness import Faithfulness

_SCHEMA = 1


def build_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN", help="a finished run's folder, or demo")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="images and folders of images")
    parser.add_argument("--class", dest="class_name", metavar="NAME", help="default: the predicted")
    parser.add_argument("--method", metavar="NAME", help="or all; default: the run's first")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: RUN/explain")
    parser.add_argument("--no-scores", action="store_true", help="do not measure faithfulness")
    parser.add_argument("--weights", default="", metavar="FILE", help="the backbone's, if moved")
    add_device_flag(parser)
    add_plugin_flag(parser)
    add_debug_flag(parser)
    return parser


def main(argv: Sequence[str] | None = None, prog: str = "cerviclip explain") -> int:
    args = build_parser(prog).parse_args(argv)
    skipped = Skipped()
    pictures = find_pictures(args.images, skipped)
    from cerviclip.app.explain import explain_details, methods_of
    from cerviclip.app.explain.picture import draw
    from cerviclip.app.pictures import UnreadableError
    from cerviclip.app.predictor import RESEARCH_ONLY, Predictor

    print(RESEARCH_ONLY)
    for line in skipped.lines():
        print(line)
    predictor = Predictor.from_run(run_folder(args.run), args.weights, args.device, args.plugins)
    methods = methods_of(predictor) if args.method == "all" else [args.method]
    out = args.out or Path(run_folder(args.run)) / "explain"
    failed: dict[str, str] = {}
    measured: dict[str, list[Faithfulness]] = {}
    with progress(len(pictures) * len(methods), 0) as on_done:
        for path, name in distinct_names(list(pictures)).items():
            for method in methods:
                try:
                    found = explain_details(
                        *(predictor, path, args.class_name, method), scores=not args.no_scores
                    )
                except UnreadableError as error:
                    failed[path] = str(error)
                    continue
                target = out / f"{name}_{file_word(found.class_name)}_{found.method}.png"
                draw(found, target)
                write_json(found, predictor.model_id, target.with_suffix(".json"))
                print(f"{target}: {in_words(found)}")
                if found.faithfulness is not None:
                    measured.setdefault(found.method, []).append(found.faithfulness)
                on_done(None)
    _print_means(measured)
    for path, why in failed.items():
        print(f"could not be read: {path}: {why}")
    print(predictor.notice)
    return 1 if failed else 0


def _print_means(measured: dict[str, list[Faithfulness]]) -> None:
    """A line for each method, where several images were explained."""
    for method, every in measured.items():
        if len(every) < 2:
            continue
        kinds = ("deletion", "insertion")
        keys = [f"{part}{kind}" for kind in kinds for part in ("", "random_", "beats_")]
        mean = {key: sum(getattr(one, key) for one in every) / len(every) for key in keys}
        print(
            f"mean of {len(every)} images, {method}: "
            f"deletion {mean['deletion']:.3f} (random {mean['random_deletion']:.3f}, better than "
            f"{100 * mean['beats_deletion']:.0f} % of the random maps), "
            f"insertion {mean['insertion']:.3f} (random {mean['random_insertion']:.3f}, better "
            f"than {100 * mean['beats_insertion']:.0f} %)"
        )


def file_word(name: str) -> str:
    """A class name as part of a file's name."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in name)


def in_words(found: Explanation) -> str:
    """``HSIL 93.1 %, deletion 0.61 (random 0.70), insertion 0.88 (random 0.80)``."""
    text = f"{found.class_name} {100 * found.probability:.1f} %"
    scores = found.faithfulness
    if scores is not None:
        text += (
            f", deletion {scores.deletion:.3f} (random {scores.random_deletion:.3f}), "
            f"insertion {scores.insertion:.3f} (random {scores.random_insertion:.3f})"
        )
    return text


def to_json(found: Explanation, model: str) -> dict[str, Any]:
    """What the JSON beside a picture says; the map itself is in the picture."""
    width, height = found.image.size
    return {
        "schema_version": _SCHEMA,
        "path": found.path,
        "model": model,
        "method": found.method,
        "class": found.class_name,
        "probability": found.probability,
        "predicted": found.predicted,
        "image": {"width": width, "height": height},
        "seen": dict(zip(("top", "left", "bottom", "right"), found.seen, strict=True)),
        "empty": found.is_empty,
        "faithfulness": None if found.faithfulness is None else found.faithfulness.to_json(),
        "use": "research only",
    }


def write_json(found: Explanation, model: str, path: Path) -> None:
    with atomic_write(path) as file:
        json.dump(to_json(found, model), file, indent=1, allow_nan=False)
        file.write("\n")


if __name__ == "__main__":
    sys.exit(cli_main(main))
