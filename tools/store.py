#!/usr/bin/env python
"""Goal: see, prune and check the feature store ($CERVICLIP_CACHE, or ~/.cache/cerviclip), and the
pictures that were unpacked out of array files beside it.

Usage:
    python tools/store.py ls
    python tools/store.py rm ID [ID ...]     # the start of an id will do; or unpacked/NAME
    python tools/store.py rm --all | --unused DAYS
    python tools/store.py verify [--repair]

Example output of ls:
    id        backbone  weights   kind    format   rows    size      last used
    3f1c09aa  ViT-B/16  a1b2c3d4  pooled  float16  800     0.8 MB    2026-03-01 10:12
    unpacked/nct-crc-0c1d2e3f4a5b  7180 files  412.3 MB  2026-03-01 10:12
    total: 800 rows, 0.8 MB of 20.0 GB in ~/.cache/cerviclip, and 412.3 MB unpacked (no bound)
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cerviclip.data.files.unpacked import UNPACKED
from cerviclip.runs.settings.parser import Parser, add_debug_flag
from dassl.errors import UnknownNameError, UserError, cli_main


def build_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        description="See, prune and check the feature store.",
        epilog="The store's folder is $CERVICLIP_CACHE, or ~/.cache/cerviclip; its bound is "
        "$CERVICLIP_CACHE_BYTES (such as 8G), or 20G.",
    )
    parser.add_argument("--root", default=None, help="another folder than the default")
    add_debug_flag(parser)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("ls", help="list what is stored")
    rm = commands.add_parser("rm", help="remove spaces")
    rm.add_argument("ids", nargs="*", metavar="ID", help="ids as ls shows them")
    rm.add_argument("--all", action="store_true", help="remove everything")
    rm.add_argument("--unused", type=float, metavar="DAYS", help="not used for so many days")
    verify = commands.add_parser("verify", help="read everything back against its checksums")
    verify.add_argument("--repair", action="store_true", help="delete what is damaged")
    return parser


def size_text(count: float) -> str:
    """Bytes for people: ``3.4 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def list_spaces(store) -> None:
    spaces = store.spaces()
    rows = [["id", "backbone", "weights", "kind", "format", "rows", "size", "last used"]]
    for space in spaces:
        rows.append(
            [
                space["id"][:8],
                space.get("arch", "?"),
                space.get("weights_sha256", "?")[:8],
                space.get("kind", "?"),
                space.get("dtype", "?"),
                str(space["rows"]),
                size_text(space["bytes"]),
                date_text(space["used"]),
            ]
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows if spaces else []:
        print(
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        )
    pictures = unpacked(store)
    for entry in pictures:
        print(
            f"{entry['id']}  {entry['files']} files  {size_text(entry['bytes'])}  "
            f"{date_text(entry['used'])}"
        )
    total = sum(space["bytes"] for space in spaces)
    count = sum(space["rows"] for space in spaces)
    beside = f", and {size_text(sum(e['bytes'] for e in pictures))} unpacked (no bound)"
    print(
        f"total: {count} rows, {size_text(total)} of {size_text(store.max_bytes)} in {store.root}"
        + (beside if pictures else "")
    )


def unpacked(store) -> list[dict[str, Any]]:
    """One dict per folder of unpacked pictures: ``id``, ``files``, ``bytes``, ``used``."""
    found = []
    for folder in sorted((store.root / UNPACKED).glob("*/")):
        stats = [path.stat() for path in folder.rglob("*") if path.is_file()]
        found.append(
            {
                "id": f"{UNPACKED}/{folder.name}",
                "files": len(stats),
                "bytes": sum(s.st_size for s in stats),
                "used": max((max(s.st_atime, s.st_mtime) for s in stats), default=0.0),
            }
        )
    return found


def date_text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M") if seconds else "never"


def remove(store, ids: Sequence[str], everything: bool, unused: float | None) -> None:
    """Remove the spaces and the unpacked pictures that the arguments choose.

    Raises:
        UserError: nothing chosen, or an id that is unknown or not unique.
    """
    if not ids and not everything and unused is None:
        raise UserError("rm needs ids (see ls), --all or --unused DAYS")
    spaces = [*store.spaces(), *unpacked(store)]
    chosen = {space["id"] for space in spaces} if everything else set()
    if unused is not None:
        limit = time.time() - unused * 86400
        chosen |= {space["id"] for space in spaces if space["used"] < limit}
    for start in ids:
        found = [space["id"] for space in spaces if space["id"].startswith(start)]
        if len(found) != 1:
            raise UnknownNameError(
                f"{len(found)} spaces have an id that starts with {start!r}; see ls"
            )
        chosen.add(found[0])
    freed = sum(space["bytes"] for space in spaces if space["id"] in chosen)
    for space_id in sorted(chosen):
        if space_id.startswith(f"{UNPACKED}/"):
            shutil.rmtree(store.root / space_id, ignore_errors=True)
        else:
            store.remove(space_id)
    print(f"removed {len(chosen)} of {len(spaces)} spaces, {size_text(freed)}")


def verify(store, repair: bool) -> int:
    problems = store.verify(repair=repair)
    for line in problems:
        print(line)
    shards = sum(space["shards"] for space in store.spaces())
    if not problems:
        print(f"all {shards} shards are whole")
        return 0
    done = "deleted; their images are encoded anew when next needed" if repair else "see --repair"
    print(f"{len(problems)} damaged shards: {done}")
    return 0 if repair else 1


def main(argv: Sequence[str] | None = None, prog: str = "python tools/store.py") -> int:
    args = build_parser(prog).parse_args(argv)
    from cerviclip.features.store import FeatureStore

    store = FeatureStore(args.root)
    if args.command == "ls":
        list_spaces(store)
    elif args.command == "rm":
        remove(store, args.ids, args.all, args.unused)
    else:
        return verify(store, args.repair)
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
