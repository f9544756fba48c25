#!/usr/bin/env python
"""Goal: tiles or cells of whole slides as PNG, with a list that FolderDataset reads.

Usage:
    python tools/tiles.py a.svs b.svs --points cells.csv --size 90 --out cells     # x,y,label,slide
    python tools/tiles.py a.svs --grid --size 224 --downsample 4 --label HSIL --out tiles
    python train.py --dataset FolderDataset --root cells DATASET.FILE list.csv ...

x and y are px of the slide's full resolution. The slide's name is the patient, so no slide is in
two parts of a split.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cerviclip.data.files.csv_rows import read_rows
from cerviclip.runs.settings.parser import Parser, add_debug_flag
from dassl.errors import MissingFileError, UserError, cli_main
from dassl.utils.files import atomic_write

COLUMNS = ("path", "label", "patient", "x", "y")


class Spot(NamedTuple):
    """A tile's centre in px of the slide, and its class, "" where none is said."""

    x: float
    y: float
    label: str


def build_parser(prog: str) -> Parser:
    parser = Parser(prog=prog, allow_abbrev=False, description="Tiles or cells of whole slides.")
    parser.add_argument("slides", nargs="+", type=Path, metavar="SLIDE", help="svs, ndpi, tiff ...")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--points", type=Path, metavar="CSV", help="columns x, y [, label, slide]")
    how.add_argument("--grid", action="store_true", help="side by side, over the tissue")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write")
    parser.add_argument("--size", type=int, default=224, metavar="PX", help="side of a tile")
    parser.add_argument(
        "--downsample", type=float, default=1, metavar="F", help="px of the slide per px of a tile"
    )
    parser.add_argument(
        "--tissue", type=float, default=0.5, metavar="S", help="least share of tissue in a tile"
    )
    parser.add_argument("--label", default="", help="class of all tiles of a grid")
    add_debug_flag(parser)
    return parser


def read_points(path: Path, slides: Sequence[str]) -> dict[str, list[Spot]]:
    """The points of each slide.

    Raises:
        UserError: no x or y, a number that is none, a slide that is not given, or a point twice.
    """
    if not path.is_file():
        raise MissingFileError(f"there is no file {path}")
    points: dict[str, list[Spot]] = {name: [] for name in slides}
    seen: dict[tuple[str, float, float], int] = {}
    for n, row in read_rows(path)[1]:
        fields = {k.casefold(): v.strip() for k, v in row.items()}
        try:
            x, y = float(fields["x"]), float(fields["y"])
        except (KeyError, ValueError) as error:
            raise UserError(f"{path} line {n} has no x and y in px ({error})") from error
        name = fields.get("slide", "")
        name = name if name in points else Path(name).stem if name else ""
        if not name and len(slides) == 1:
            name = slides[0]
        if name not in points:
            raise UserError(f"{path} line {n} is of the slide {name!r}, which is not given")
        first = seen.setdefault((name, x, y), n)
        if first != n:
            raise UserError(
                f"{path} holds a point twice, in lines {first} and {n}; keep one of them"
            )
        points[name].append(Spot(x, y, fields.get("label", "")))
    return points


def write_tiles(slide: Any, spots: Sequence[Spot], args: Any, advance: Any) -> Iterator[tuple]:
    """Write a slide's tiles; yields the rows of the list."""
    name = slide.path.stem
    for spot in spots:
        if not (0 <= spot.x < slide.size[0] and 0 <= spot.y < slide.size[1]):
            raise UserError(
                f"the point {spot.x:g}, {spot.y:g} is outside {slide.path} ({slide.size[0]} x "
                f"{slide.size[1]} px): are its coordinates of the full resolution?"
            )
        folder = spot.label.replace("/", "_") or "unlabelled"
        if not folder.strip("."):
            raise UserError(f"the label {spot.label!r} cannot be a folder; give the class a name")
        inner = f"{folder}/{name}_x{spot.x:g}_y{spot.y:g}.png"
        file = args.out / inner
        tile = slide.crop(spot.x, spot.y, args.size, args.downsample)
        with atomic_write(file, "wb") as handle:
            tile.save(handle, "png", compress_level=1)
        advance(None)
        yield inner, spot.label, name, f"{spot.x:g}", f"{spot.y:g}"


def main(argv: Sequence[str] | None = None, prog: str = "python tools/tiles.py") -> int:
    args = build_parser(prog).parse_intermixed_args(argv)
    if args.size < 8 or args.downsample <= 0 or not 0 <= args.tissue <= 1:
        raise UserError("--size is 8 px or more, --downsample above 0, --tissue between 0 and 1")
    names = [path.stem for path in args.slides]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(
            f"two slides are called {twice[0]}, and the name is the patient; rename one"
        )
    if args.label and args.points:
        raise UserError("--label is of a grid; points have a column label")
    if args.out.exists() and any(args.out.iterdir()):
        raise UserError(f"{args.out} is not empty; name a new folder by --out")
    from cerviclip.app.predict_command import progress
    from cerviclip.data.slides import Slide

    points = read_points(args.points, names) if args.points else {}
    rows: list[tuple] = []
    for path in args.slides:
        slide = Slide(path)
        try:
            spots = points.get(path.stem) or []
            if args.grid:
                found = slide.grid(args.size, args.downsample, args.tissue)
                spots = [Spot(x, y, args.label) for x, y in found]
            with progress(len(spots), 0) as advance:
                rows += write_tiles(slide, spots, args, advance)
        finally:
            slide.close()
        print(f"{path.name}: {len(spots)} tiles", flush=True)
    if len({row[0] for row in rows}) < len(rows):
        raise UserError(f"{args.points} holds a point twice; keep one of them")
    with atomic_write(args.out / "list.csv") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    print(f"{args.out / 'list.csv'}: {len(rows)} tiles of {len(names)} slides")
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
