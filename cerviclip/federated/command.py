"""Goal: train one model across centres whose images stay where they are, and compare it.

Usage:
    cerviclip federate phantom_coop            # all on this machine, over TLS, and the table
    cerviclip federate PLAN.yaml --serve 0.0.0.0:9000 --certificates certs   # where weights meet
    cerviclip federate PLAN.yaml --join HOST:9000 --center huaxi --ca ca.pem --root $DATA
    cerviclip federate --make-certificates certs --host fed.example.org

With neither --serve nor --join every centre is a process of its own here, and so is the server; the
local and pooled runs to compare with are made too. Exit status: 0 done, 1 a centre or the server
failed, 2 something to correct.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cerviclip.counted import counted
from cerviclip.federated.certificates import CA, make_certificates
from cerviclip.federated.compare import write_table
from cerviclip.federated.leaks import NOT_LOOKED_FOR, check_centers, images_of, warnings_of
from cerviclip.federated.plan import Plan, find_plan, read_plan
from cerviclip.federated.processes import federate_here
from cerviclip.federated.record import RECORD, folder_of, read_record, write_leaks
from cerviclip.federated.server import serve_federation
from cerviclip.places import install_hint
from cerviclip.runs.results_json import is_finished, read_results
from cerviclip.runs.settings.config_hash import config_hash
from cerviclip.runs.settings.folders import DEFAULT_ROOT, WAYS, safe_part, variant_of_center
from cerviclip.runs.settings.parser import Parser, add_debug_flag, add_plugin_flag
from dassl.errors import MissingFileError, UserError, cli_main, says_what_stays


def build_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "plan", nargs="?", default="", metavar="NAME|YAML",
        help="the plan: in configs/federations, or a path",
    )  # fmt: skip
    parser.add_argument("--root", default="", metavar="DIR", help="the data; default ./data")
    parser.add_argument("--weights", default="", metavar="FILE", help="of the backbone, local")
    parser.add_argument(
        "--output-dir", default="", metavar="DIR", help="default ./output/federations/NAME"
    )
    parser.add_argument("--serve", default="", metavar="HOST:PORT", help="be the server alone")
    parser.add_argument("--join", default="", metavar="HOST:PORT", help="be one centre alone")
    parser.add_argument("--center", default="", metavar="NAME", help="which one; with --join")
    parser.add_argument(
        "--certificates", default="", metavar="DIR", help="ca.pem, server.pem, server.key"
    )
    parser.add_argument("--ca", default="", metavar="FILE", help="the server's authority")
    parser.add_argument(
        "--insecure", action="store_true", help="no encryption: on one machine alone, or to try out"
    )
    parser.add_argument(
        "--make-certificates", default="", metavar="DIR",
        help="make an authority and a server's certificate for --host there, and end",
    )  # fmt: skip
    parser.add_argument("--host", action="append", default=[], help="name in the certificate")
    add_plugin_flag(parser)
    add_debug_flag(parser)
    return parser


def main(argv: Sequence[str] | None = None, prog: str = "cerviclip federate") -> int:
    args = build_parser(prog).parse_args(argv)
    if args.make_certificates:
        folder = make_certificates(Path(args.make_certificates), args.host or ["localhost"])
        print(f"certificates: {folder}; give {CA} to each centre, keep the rest")
        return 0
    if not args.plan:
        raise UserError("name a federation: a yaml, or one of configs/federations")
    plan = read_plan(find_plan(args.plan), args.root, args.weights)
    out = Path(args.output_dir or Path(DEFAULT_ROOT) / "federations" / safe_part(plan.path.stem))
    from cerviclip.runs.run.process.summation_order import fix_summation_order

    fix_summation_order()  # before torch is imported
    if args.serve:
        _check_encryption(args.insecure, args.certificates, "--certificates DIR")
        folder = Path(args.certificates) if args.certificates else None
        print(f"record: {serve_federation(plan, out, args.serve, folder)}")
        print(f"Warning: {NOT_LOOKED_FOR}")
        return 0
    if args.join:
        _check_encryption(args.insecure, args.ca, "--ca FILE")
        if not args.center:
            raise UserError("--join needs --center NAME, one of the plan's centres")
        from cerviclip.federated.center import join_federation

        folder = folder_of(out, "federated", args.center)
        ca = Path(args.ca) if args.ca else None
        join_federation(plan, args.center, folder, args.join, ca)
        print(f"results: {folder / 'results.json'}")
        return 0
    return run_here(plan, out, args.insecure, args.plugins)


def _check_encryption(insecure: bool, given: str, flag: str) -> None:
    if insecure == bool(given):
        raise UserError(f"give {flag} for an encrypted federation, or --insecure; not both")


def run_here(plan: Plan, out: Path, insecure: bool = False, plugins: Sequence[str] = ()) -> int:
    """Every run of a plan on this machine, finished ones are kept; then the table.

    Raises:
        UserError: two centres have the same image, or their training cannot be federated.
    """
    from cerviclip.federated.center import check_training
    from cerviclip.runs.run.runner import run_one
    from cerviclip.runs.settings.configure import setup_cfg

    _name_by_center(plan, out)
    to_do = not _federated_is_done(plan, out)
    if to_do:
        _check_installed(insecure)
    leaks = _leaks_between(plan, out, to_do)
    if to_do:
        check_training(plan, out)
    alone = [("local", site) for site in plan.centers]
    alone += [("pooled", plan.pooled)] if plan.pooled else []
    done = 0

    def finished() -> str:
        federated = "; the federation itself begins anew" if done == len(alone) else ""
        return f"{done} of {counted(len(alone), 'run')} beside the federation stay{federated}"

    with says_what_stays(finished):
        for way, site in alone:
            folder = folder_of(out, way, site.name)
            print(f"{way}: {site.name}")
            cfg = setup_cfg(plan.request(site, folder))
            run_one(cfg, variant=variant_of_center(folder), echo=False)
            done += 1
        if to_do:
            federate_here(plan, out, insecure)
    if leaks is not None:
        write_leaks(out, leaks)
    record = read_record(out)
    path = write_table(plan, out, record)
    print(path.read_text(encoding="utf-8"))
    print(f"table: {path}, record: {out / RECORD}")
    return 0


def _leaks_between(plan: Plan, out: Path, to_do: bool) -> list[dict[str, Any]] | None:
    """Look for images and patients that several centres have.

    Returns:
        What is to be put on record; None where it is there already, or where a finished federation
        is put in a table at a place that has not the images of all centres.

    Raises:
        UserError: two centres have the same image.
    """
    if not to_do and "leaks" in read_record(out):
        return None
    try:
        leaks = check_centers(images_of(plan, out))
    except MissingFileError:
        if to_do:
            raise
        return None
    for text in warnings_of(leaks):
        print(f"Warning: {text}")
    return leaks


def _name_by_center(plan: Plan, out: Path) -> None:
    """Give finished runs of a federation of before the variant that tells centres apart: they were
    called by their way alone, and a table took those of one data set for the same."""
    from cerviclip.runs.run.finished import relabel

    places = [(way, site.name) for site in plan.centers for way in WAYS[:2]]
    places += [(WAYS[2], "")] if plan.pooled else []
    folders = [folder_of(out, *place) for place in places]
    before = [folder for folder in folders if (read_results(folder) or {}).get("variant") in WAYS]
    renamed = [folder for folder in before if relabel(folder, variant_of_center(folder))]
    if renamed:
        of = f"{counted(len(renamed), 'run')} of an earlier version"
        print(f"{of} now have their centre in their variant ({variant_of_center(renamed[0])})")


def _check_installed(insecure: bool) -> None:
    """What the federation needs is asked for before the other runs are made."""
    for name in ("flwr", *(() if insecure else ("cryptography",))):
        if find_spec(name) is None:
            raise UserError(f"a federation needs {name}: {install_hint('federated')}")


def _federated_is_done(plan: Plan, out: Path) -> bool:
    from cerviclip.runs.settings.configure import setup_cfg

    def done(name: str, folder: Path) -> bool:
        cfg = setup_cfg(plan.request(plan.center(name), folder, federated=True))
        return is_finished(read_results(folder), config_hash(cfg))

    names = [site.name for site in plan.centers]
    if not (out / RECORD).is_file():
        return False
    # A run's configuration does not say which other centres its weights were averaged with.
    record = read_record(out)
    same = sorted(record.get("centers") or ()) == sorted(names)
    return same and all(done(name, folder_of(out, WAYS[1], name)) for name in names)


if __name__ == "__main__":
    sys.exit(cli_main(main))
