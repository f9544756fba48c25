#!/usr/bin/env python
"""Goal: where a data set is to be had; what was downloaded, unpacked, verified and counted.

Usage:
    python tools/data.py SIPaKMeD                                       # where, licence, tree
    python tools/data.py SIPaKMeD --root /data im_Dyskeratotic.rar im_Parabasal.rar ...
    python tools/data.py SIPaKMeD --root /data --read                   # count what is there

Nothing is downloaded: licences are to be agreed to by a person. The same command goes on where it
was cut off. Exit status: 0 all well, 1 counts differ from the known ones, 2 something to correct.
"""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cerviclip.runs.settings.parser import Parser, add_debug_flag
from dassl.errors import MissingFileError, UserError, cli_main

_KEEP_FREE = 2**30  # bytes that unpacking leaves on the disk


def build_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        allow_abbrev=False,
        description="Where to get a data set; unpack, verify and count what was downloaded.",
        epilog="Exit status: 0 all well, 1 counts differ from the known ones.",
    )
    parser.add_argument("dataset", metavar="DATASET", help="such as SIPaKMeD")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="zip, tar, rar, other")
    parser.add_argument("--root", type=Path, default=Path("data"), metavar="DIR", help="./data")
    parser.add_argument("--read", action="store_true", help="read it once and count")
    parser.add_argument(
        "--most-gb", type=float, default=0, metavar="N", help="unpack at most; default free room"
    )
    add_debug_flag(parser)
    return parser


def describe(dataset: str) -> str:
    """Where, licence and tree of a release."""
    from cerviclip.data.release_notes import release_of

    release = release_of(dataset)
    lines = [
        f"{dataset}: {release.images or 'an unknown number of'} images",
        f"  get it     {release.homepage}",
        f"  licence    {release.licence}",
        f"  goes to    ROOT/{release.home}/",
        *(f"  {'holds' if n == 0 else '':<10} {line}" for n, line in enumerate(release.tree)),
        f"  hashes     {len(release.files) or 'none known'}",
    ]
    return "\n".join(lines)


def bring(dataset: str, file: Path, root: Path, most_gb: float) -> str:
    """Verify one file and put it, or what is in it, into the data set's folder; a line on it."""
    from cerviclip.app.predict_command import progress
    from cerviclip.data.files.archives import check_hash, free_bytes, is_archive, unpack
    from cerviclip.data.release_notes import release_of

    release = release_of(dataset)
    home = root / release.home
    if not file.is_file():
        raise MissingFileError(f"there is no file {file}")
    known = release.files.get(file.name)
    if known:
        check_hash(file, known)
    said = "hash as published" if known else "no hash is known of it"
    room = max(0, free_bytes(home) - _KEEP_FREE)
    most = min(room, int(most_gb * 2**30)) if most_gb else room
    if is_archive(file):
        with progress(0, 0) as advance:
            written, there = unpack(file, home, most, advance)
        return f"{file.name}: {said}; {written} files written, {there} were there ({home})"
    target = home / file.name
    if target.exists() and not target.samefile(file):
        from dassl.utils.files import file_sha256

        if file_sha256(target) != file_sha256(file):
            raise UserError(f"{target} is there with another content than {file}")
    elif not target.exists():
        if file.stat().st_size > most:
            raise UserError(f"{file} does not fit below {root} ({most} bytes may be used)")
        from dassl.utils.files import atomic_write

        with open(file, "rb") as source, atomic_write(target, "wb") as out:
            shutil.copyfileobj(source, out, 1 << 20)
    return f"{file.name}: {said}; in {home}"


def count(dataset: str, root: Path) -> bool:
    """Read a data set once and print its counts against the known ones; whether they agree."""
    from tabulate import tabulate

    from cerviclip.data.release_notes import compare_counts, release_of
    from cerviclip.runs.settings.opened import open_dataset

    data = open_dataset(dataset, str(root))
    counts = Counter(i.classname for part in data.full_split.values() for i in part)
    known = compare_counts(release_of(dataset), counts)
    if not known:
        print(f"{dataset}: {sum(counts.values())} images read; no count is known")
        return True
    rows = [(name, read, of, "" if read == of else f"{read - of:+d}") for name, read, of in known]
    print(tabulate(rows, headers=("class", "read", "known", "difference")))
    return all(read == of for _, read, of in known)


def main(argv: Sequence[str] | None = None, prog: str = "python tools/data.py") -> int:
    args = build_parser(prog).parse_intermixed_args(argv)
    print(describe(args.dataset))
    for file in args.files:
        print(bring(args.dataset, file, args.root, args.most_gb), flush=True)
    if args.files or args.read:
        return 0 if count(args.dataset, args.root) else 1
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
