"""Goal: render the phantom centres now, instead of at their first use, or look at them.

Usage:
    python tools/make_phantom.py --root data                      # mixed, huaxi and xiangya
    python tools/make_phantom.py --root data --centers huaxi_b xiangya_b
    python tools/make_phantom.py --root data --fresh              # replace those of another version
    python tools/make_phantom.py --sheet sheet.png                # one picture of all classes

Example output:
    mixed: 110 patients, 1099 frames in data/phantom/mixed (11.2 s)
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from cerviclip.data.phantoms import (
    CENTERS,
    CLASSES,
    VERSION,
    ensure_center,
    render_patient,
)
from cerviclip.runs.settings.parser import Parser, add_debug_flag
from dassl.errors import UserError, cli_main

DEFAULT_CENTERS = ("mixed", "huaxi", "xiangya")
# Numbers from here on belong to no patient of a data set: pictures show nothing that is tested on.
SHEET_NUMBERS = 5000


def contact_sheet(centers: Sequence[str], per_center: int = 2) -> Image.Image:
    """One row per class, ``per_center`` frames of different patients per centre."""
    size, gap, head, side = 224, 4, 22, 92
    width = side + len(centers) * per_center * (size + gap)
    sheet = Image.new("L", (width, head + len(CLASSES) * (size + gap)), 255)
    draw = ImageDraw.Draw(sheet)
    for row, label in enumerate(CLASSES):
        top = head + row * (size + gap)
        for part, word in enumerate(label.replace("-", "- ").replace("_", " ").split()):
            draw.text((4, top + 80 + 13 * part), word, fill=0)
        for column, center in enumerate(centers):
            left = side + column * per_center * (size + gap)
            if row == 0:
                draw.text((left + 2, 5), f"phantom centre {center}", fill=0)
            for k in range(per_center):
                number = SHEET_NUMBERS + 10 * row + k
                frame = render_patient(CENTERS[center], number, row, 2)[1]
                sheet.paste(Image.fromarray(frame.image), (left + k * (size + gap), top))
    return sheet


def report(folder: Path, seconds: float) -> str:
    marker = json.loads((folder / "phantom.json").read_text(encoding="utf-8"))
    return (
        f"{marker['center']}: {marker['patients']} patients, {marker['frames']} frames "
        f"in {folder} ({seconds:.1f} s)"
    )


def main(argv: Sequence[str] | None = None, prog: str = "python tools/make_phantom.py") -> int:
    parser = Parser(prog=prog, description=f"Render phantom OCT (generator {VERSION}).")
    parser.add_argument("--root", type=Path, default=Path("data"), help="DATASET.ROOT")
    parser.add_argument(
        "--centers",
        nargs="+",
        default=list(DEFAULT_CENTERS),
        metavar="NAME",
        help=f"of {', '.join(CENTERS)}; default: {', '.join(DEFAULT_CENTERS)}",
    )
    parser.add_argument(
        "--fresh", action="store_true", help="render again, replacing what is there"
    )
    parser.add_argument("--sheet", type=Path, help="write a contact sheet and render nothing else")
    add_debug_flag(parser)
    args = parser.parse_args(argv)
    unknown = [name for name in args.centers if name not in CENTERS]
    if unknown:
        raise UserError(f"no phantom centre {unknown[0]}; there are {', '.join(CENTERS)}")
    if args.sheet is not None:
        image = contact_sheet(args.centers)
        args.sheet.parent.mkdir(parents=True, exist_ok=True)
        # Fewer grey levels: a picture to look at, and a third of the size.
        Image.fromarray(np.asarray(image) & 0xF0).save(args.sheet, optimize=True)
        print(f"wrote {args.sheet}")
        return 0
    for name in args.centers:
        start = time.perf_counter()
        folder = ensure_center(args.root, name, fresh=args.fresh)
        print(report(folder, time.perf_counter() - start), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
