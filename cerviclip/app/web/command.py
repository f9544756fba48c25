"""Goal: the page for people: predict, sort, explain, review. Research use only.

Usage:
    cerviclip web                                         opens on a demo model of phantoms
    cerviclip web output/.../seed_1 --results output
    cerviclip web RUN --images /data/new --reviews /data/reviews
    cerviclip web --images /data/new --classes "NILM,LSIL,HSIL"      review without a model

The page is served on this machine alone (127.0.0.1) unless --host says otherwise; it has no log-in.
It asks nothing in the terminal and sends no usage statistics to anybody.
Uploaded pictures stay in memory and are forgotten with the session. Readers' decisions are written
to --reviews. Stop it with Ctrl-C.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from cerviclip.app.demo import demo_run, is_demo
from cerviclip.app.doctor.ports import check_port
from cerviclip.app.web.settings import WebSettings
from cerviclip.places import PACKAGE, install_hint
from cerviclip.runs.settings.folders import DEFAULT_ROOT, no_run
from cerviclip.runs.settings.parser import Parser, add_debug_flag, add_device_flag, add_plugin_flag
from dassl.errors import MissingFileError, UserError, cli_main

NEEDED = ("streamlit", "plotly")
ENTRY = Path(__file__).with_name("entry.py")
MAX_UPLOAD_MB = 200
START_SECONDS = 120.0  # Streamlit's start on a slow disk


def build_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("runs", metavar="RUN", nargs="*", help="folders of finished runs; none: the demo model")
    add("--results", metavar="DIR", nargs="+", default=[], help="sweeps to show; default: output")
    add("--images", metavar="DIR", nargs="+", default=[], help="folders of pictures to review")
    add("--reviews", metavar="DIR", default="reviews", help="where decisions are written")
    add("--classes", default="", metavar="A,B,...", help="classes of a review without a model")
    add("--class-info", default="", metavar="FILE", help="a yaml as in configs/class_info")
    add("--audit-log", default="", metavar="FILE", help="write every answer there first")
    add("--language", default="", choices=["en", "zh"], help="default: the browser's")
    add("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    add("--port", type=int, default=8501, help="default: 8501")
    add("--no-browser", action="store_true", help="do not open a browser")
    add("--weights", default="", metavar="FILE", help="the backbone's, if moved")
    add_device_flag(parser)
    add_plugin_flag(parser)
    add_debug_flag(parser)
    return parser


def main(argv: Sequence[str] | None = None, prog: str = "cerviclip web") -> int:
    args = build_parser(prog).parse_args(argv)
    check_named(args)  # before anything is asked to be installed
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"the page needs {missing[0]}: {install_hint('app')}")
    check_port(args.host, args.port)
    settings = settings_of(args)
    print("Research use only. Not a medical device.")
    print(f"http://{args.host}:{args.port}", flush=True)
    if not args.no_browser:
        open_when_up(args.host, args.port)
    return serve(settings, args.host, args.port)


def check_named(args: argparse.Namespace) -> None:
    """Check what was named before anything starts.

    Raises:
        UserError: a folder that is not there, a run that is not finished, too few classes.
    """
    from cerviclip.app.class_info import read_class_info

    for run in args.runs:
        if not is_demo(run):
            _check_run(run)
    for folder in (*args.images, *args.results):
        if not Path(folder).is_dir():
            raise MissingFileError(f"there is no folder {folder}")
    classes = _classes(args)
    if args.classes and len(set(classes)) < max(2, len(classes)):
        raise UserError(f'--classes "{args.classes}" names fewer than two different classes')
    if args.class_info:
        read_class_info(args.class_info)


def _classes(args: argparse.Namespace) -> tuple[str, ...]:
    return tuple(name.strip() for name in args.classes.split(",") if name.strip())


def settings_of(args: argparse.Namespace) -> WebSettings:
    """What is to be shown; makes the demo where no run was named.

    Args:
        args: as `check_named` passes them.
    """
    runs = [run for run in args.runs if not is_demo(run)]
    classes = _classes(args)
    images, samples = list(args.images), ""
    demo = not runs and (bool(args.runs) or not (images and classes))
    if demo:
        run, frames = demo_run()
        runs, samples = [str(run)], str(frames)
        images = images or [str(frames)]
    results = args.results or ([DEFAULT_ROOT] if Path(DEFAULT_ROOT).is_dir() else []) or runs
    return WebSettings(
        runs=tuple(os.path.abspath(run) for run in runs),
        results=tuple(map(os.path.abspath, results)),
        images=tuple(map(os.path.abspath, images)),
        reviews=os.path.abspath(args.reviews),
        classes=classes,
        samples=samples,
        weights=args.weights,
        device=args.device,
        plugins=tuple(args.plugins),
        class_info=os.path.abspath(args.class_info) if args.class_info else "",
        language=args.language,
        demo=demo,
        audit_log=os.path.abspath(args.audit_log) if args.audit_log else "",
    )


def streamlit_options(host: str, port: int) -> dict[str, str | int]:
    """Streamlit's options of the page. It asks nothing and sends nothing.

    ``headless`` is always set: without it Streamlit asks for an e-mail address at its first start
    on a machine and serves nothing until somebody answers. `open_when_up` opens the browser.
    """
    return {
        "server.address": host,
        "server.port": port,
        "server.headless": "true",
        "server.showEmailPrompt": "false",
        "server.maxUploadSize": MAX_UPLOAD_MB,
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",  # a traceback may name files
    }


def open_when_up(host: str, port: int) -> threading.Thread:
    """Open the page in the user's browser as soon as it is served, if there is a browser.

    Args:
        host: that the page listens on; a page for all addresses is opened at this machine's own.
        port: of the page.
    """
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)

    def wait_and_open() -> None:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            try:
                socket.create_connection((reached, port), timeout=1).close()
            except OSError:
                time.sleep(0.2)
            else:
                webbrowser.open(f"http://{f'[{reached}]' if ':' in reached else reached}:{port}")
                return

    thread = threading.Thread(target=wait_and_open, daemon=True)
    if has_browser():
        thread.start()
    return thread


def has_browser() -> bool:
    """False without a screen: a browser of text would take the terminal over."""
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def serve(settings: WebSettings, host: str, port: int) -> int:
    """Run Streamlit's server until it is stopped, also by SIGTERM; its exit status."""
    options = streamlit_options(host, port)
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    command = [sys.executable, "-m", "streamlit", "run", str(ENTRY), *words, "--"]
    paths = [str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    process = subprocess.Popen(
        [*command, settings.to_json()], env=env, stdin=subprocess.DEVNULL
    )  # the page never asks anything in a terminal
    # Without this the server would outlive its command, and keep its port.
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        status = process.wait()
        return 0 if status == -signal.SIGTERM else status
    except KeyboardInterrupt:  # the server has the signal too
        process.wait()
        raise


def _check_run(folder: str) -> None:
    from cerviclip.app.export.record import known_results

    results = known_results(folder)
    if results is None:
        raise MissingFileError(no_run(folder, "results.json"))
    if results["status"] != "done":
        raise UserError(f"{folder} is no finished run (status {results['status']}); run it again")


if __name__ == "__main__":
    sys.exit(cli_main(main))
