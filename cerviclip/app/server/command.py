"""Goal: put trained runs behind an HTTP API on this machine or for a group.

Usage:
    cerviclip serve RUN                                    # http://127.0.0.1:8000/docs
    cerviclip serve screening=RUN_1 second=RUN_2 --port 9000
    cerviclip serve --new-token anna annotator             # prints a token, and a line for --tokens
    cerviclip serve RUN --host 0.0.0.0 --tokens tokens.txt

Needs pip install -e ".[app]". A run's name in addresses is its folder's, or NAME of NAME=RUN.
Without tokens everybody who reaches the server may ask, so it then listens on this machine alone.
Every answer stands in the audit log before it is given (cerviclip audit-log verify). Ctrl-C or
SIGTERM finishes what runs. Research use only: not a medical device.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cerviclip.app.demo import check_run, run_folder
from cerviclip.app.doctor.ports import check_port
from cerviclip.places import install_hint
from cerviclip.runs.settings.parser import Parser, add_debug_flag, add_device_flag, add_plugin_flag
from dassl.errors import MissingFileError, UserError, cli_main

if TYPE_CHECKING:
    from cerviclip.app.predictor import Predictor
    from cerviclip.app.server.settings import Limits

_LOCAL = ("127.0.0.1", "::1", "localhost")
LABEL_STUDIO_KEY = "LABEL_STUDIO_API_KEY"
_LIMITS = {  # flag -> field of `Limits`
    "max-files": ("files", "files in a request"),
    "max-file-bytes": ("file_bytes", "bytes of a file"),
    "max-body-bytes": ("body_bytes", "bytes of a request"),
    "max-pixels": ("pixels", "pixels of all pictures of a request"),
    "max-frames": ("frames", "pages or frames of a file"),
    "max-job-files": ("job_files", "files in a batch job"),
    "max-job-bytes": ("job_bytes", "bytes of a batch job's request"),
    "max-jobs": ("waiting_jobs", "batch jobs that are not done"),
    "per-minute": ("per_minute", "requests of a client in a minute; 0: no limit"),
}


def build_parser(prog: str) -> Parser:
    from cerviclip.app.server.settings import Limits

    parser = Parser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "runs", metavar="[NAME=]RUN", nargs="*", help="finished runs' folders, or demo"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; default: this machine alone"
    )
    parser.add_argument("--port", type=int, default=8000, help="0: a free one; default: 8000")
    parser.add_argument("--tokens", type=Path, metavar="FILE", help="lines NAME ROLE SHA256")
    parser.add_argument(
        "--new-token", nargs=2, metavar=("NAME", "ROLE"), help="print a new token, and end"
    )
    parser.add_argument(
        "--audit-log",
        type=Path,
        default=Path("audit.jsonl"),
        metavar="FILE",
        help="every answer stands there first; always kept (default: ./audit.jsonl)",
    )
    parser.add_argument(
        "--jobs",
        type=Path,
        default=Path("jobs.jsonl"),
        metavar="FILE",
        help="batch jobs; always kept (default: ./jobs.jsonl)",
    )
    parser.add_argument(
        "--batch", type=int, default=32, help="pictures in a forward pass at most; default: 32"
    )
    parser.add_argument(
        "--linger",
        type=float,
        default=2.0,
        metavar="MS",
        help="how long a picture waits for others; default: 2",
    )
    parser.add_argument(
        "--grace",
        type=float,
        default=30.0,
        metavar="S",
        help="time for batch jobs when it stops; default: 30",
    )
    parser.add_argument(
        "--label-studio",
        default="",
        metavar="ADDRESS",
        help=f"fetch tasks' pictures from there, with the key in {LABEL_STUDIO_KEY}",
    )
    parser.add_argument("--slides", type=Path, metavar="DIR", help="folder of slides for /v1/tiles")
    parser.add_argument("--weights", default="", metavar="FILE", help="the backbone's, if moved")
    add_device_flag(parser)
    add_plugin_flag(parser)
    limits = parser.add_argument_group("limits")
    for flag, (name, text) in _LIMITS.items():
        text = f"{text}; default: {getattr(Limits, name)}"
        limits.add_argument(f"--{flag}", type=int, metavar="N", help=text)
    add_debug_flag(parser)
    return parser


def named_runs(words: Sequence[str]) -> dict[str, str]:
    """Name -> folder of each run.

    Raises:
        UserError: none, a name twice, or one that no address can hold.
    """
    found: dict[str, str] = {}
    for word in words:
        name, given, folder = word.partition("=")
        if not given or os.path.exists(word):
            name, folder = Path(word).resolve().name, word
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", name):
            raise UserError(f"{name!r} is no name for addresses; give NAME={folder}")
        if name in found:
            raise UserError(f"two runs are named {name}; give NAME=RUN for each")
        found[name] = folder
    if not found:
        raise UserError("no run is given; name the folder of one")
    return found


def limits_of(args: argparse.Namespace) -> Limits:
    """Limits by the flags.

    Raises:
        UserError: one is negative, or more pixels than Pillow reads.
    """
    from PIL import Image

    from cerviclip.app.server.settings import Limits
    from dassl.utils.images import MAX_PIXELS

    given: dict[str, int] = {}
    for flag, (name, _) in _LIMITS.items():
        value = getattr(args, flag.replace("-", "_"))
        if value is not None and value < (0 if name == "per_minute" else 1):
            raise UserError(f"--{flag} {value} is too small")
        given |= {} if value is None else {name: value}
    assert set(given) <= {one.name for one in fields(Limits)}
    limits = Limits(**given)
    most = Image.MAX_IMAGE_PIXELS
    if most and limits.pixels > most:
        raise UserError(
            f"--max-pixels {limits.pixels} is above {most}, the limit of reading; set {MAX_PIXELS}"
        )
    return limits


def main(argv: Sequence[str] | None = None, prog: str = "cerviclip serve") -> int:
    args = build_parser(prog).parse_args(argv)
    from cerviclip.app.server.access import new_token, read_tokens

    if args.new_token:
        token, line = new_token(*args.new_token)
        print(f"token (shown once): {token}\nline for --tokens:  {line}")
        return 0
    runs = named_runs(args.runs)
    tokens = read_tokens(args.tokens)
    if not tokens and args.host not in _LOCAL:
        raise UserError(
            f"--host {args.host} needs --tokens; cerviclip serve --new-token NAME ROLE makes one"
        )
    if args.batch < 1 or args.linger < 0 or args.grace < 0:
        raise UserError("--batch is at least 1, --linger and --grace at least 0")
    limits = limits_of(args)
    if args.slides is not None and not args.slides.is_dir():
        raise MissingFileError(f"--slides {args.slides} is no folder")
    for folder in runs.values():
        check_run(folder)
    _need_packages()
    check_port(args.host, args.port)
    from cerviclip.app.predictor import RESEARCH_ONLY, Predictor
    from cerviclip.app.server.settings import Settings

    print(RESEARCH_ONLY)
    predictors = {
        name: Predictor.from_run(run_folder(folder), args.weights, args.device, args.plugins)
        for name, folder in runs.items()
    }
    settings = Settings(
        audit_log=args.audit_log,
        jobs=args.jobs,
        tokens=tokens,
        limits=limits,
        batch=args.batch,
        linger=args.linger / 1000,
        grace=args.grace,
        label_studio=args.label_studio,
        label_studio_key=os.environ.get(LABEL_STUDIO_KEY, ""),
        slides=args.slides,
    )
    print(kept_at(args.audit_log, args.jobs), flush=True)
    return serve(predictors, settings, args.host, args.port)


def kept_at(audit_log: Path, jobs: Path) -> str:
    """Where the server's files are, in a line each: both are kept whether or not a flag asks."""
    log = audit_log.absolute()
    return (
        f"audit log: {log} and {log.name}.head (--audit-log FILE names another place)\n"
        f"batch jobs: {jobs.absolute()} (--jobs FILE names another place)"
    )


def serve(predictors: dict[str, Predictor], settings: Any, host: str, port: int) -> int:
    """Serve until SIGTERM or Ctrl-C, then finish what runs."""
    import uvicorn

    from cerviclip.app.server.application import create_app

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs addresses of pictures
    app = create_app(predictors, settings)
    if not settings.tokens:  # else a page could reach a local server by a name of its own
        from starlette.middleware.trustedhost import TrustedHostMiddleware

        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*_LOCAL, "[::1]"])
    # uvicorn's own log of requests would have addresses with their queries
    config = uvicorn.Config(app, host, port, access_log=False, log_config=None, server_header=False)
    server = uvicorn.Server(config)
    server.run()
    return 0 if server.started else 1


def _need_packages() -> None:
    try:
        import fastapi  # noqa: F401
        import httpx  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UserError(f"cerviclip serve needs {error.name}: {install_hint('app')}") from error


if __name__ == "__main__":
    sys.exit(cli_main(main))
