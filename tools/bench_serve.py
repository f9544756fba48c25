#!/usr/bin/env python
"""Goal: what the HTTP server costs against its bare model, as ratios measured in one run.

Usage:
    python tools/bench_serve.py RUN IMAGE...
    python tools/bench_serve.py RUN IMAGE... --clients 8 --seconds 10 --json serve.json

Three servers' worth of figures on loopback: one client; so many clients with batching; the same
without (--batch 1). The bare model gets the same images from memory, in batches of 32 and one by
one. Clients run in a process of their own, but share the machine's cores with the server.

Example output:
    figure                        value
    batched_over_unbatched        1.62
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dassl.errors import cli_main

BATCH = 32


def ask(url: str, files: Sequence[bytes], clients: int, seconds: float, out: Any) -> None:
    """Closed loop of clients; puts [seconds of each request], failures and wall time."""
    import httpx

    times: list[float] = []
    failed = [0]
    end = time.perf_counter() + seconds

    def work(number: int) -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            count = number
            while time.perf_counter() < end:
                data = files[count % len(files)]
                start = time.perf_counter()
                answer = client.post("/v1/predict", files=[("files", ("a", data))])
                times.append(time.perf_counter() - start)
                failed[0] += answer.status_code != 200
                count += clients

    threads = [threading.Thread(target=work, args=(n,)) for n in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    out.put((times, failed[0], time.perf_counter() - start))


def measure_server(
    predictor: Any, files: Sequence[bytes], clients: int, seconds: float, batch: int
) -> dict[str, float]:
    """Requests per second, p50 and p95 in ms, and failures of a server with so many clients."""
    import uvicorn

    from cerviclip.app.server.application import create_app
    from cerviclip.app.server.settings import Settings

    with tempfile.TemporaryDirectory() as folder:
        paths = {"audit_log": Path(folder) / "audit.jsonl", "jobs": Path(folder) / "jobs.jsonl"}
        app = create_app({"m": predictor}, Settings(batch=batch, **paths))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        context = multiprocessing.get_context("spawn")
        out = context.Queue()
        words = (f"http://127.0.0.1:{port}", list(files), clients, seconds, out)
        process = context.Process(target=ask, args=words)
        process.start()
        times, failed, wall = out.get()
        process.join()
        server.should_exit = True
        thread.join()
    times.sort()
    return {
        "per_second": len(times) / wall,
        "p50_ms": 1000 * times[len(times) // 2],
        "p95_ms": 1000 * times[int(0.95 * (len(times) - 1))],
        "failed": failed,
    }


def measure_bare(predictor: Any, files: Sequence[bytes], size: int, seconds: float) -> float:
    """Images per second of the predictor alone: decoded and predicted, so many at a time."""
    import io

    from PIL import Image

    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        some = [files[(count + i) % len(files)] for i in range(size)]
        predictor.predict([Image.open(io.BytesIO(data)) for data in some])
        count += size
    return count / (time.perf_counter() - start)


def main(argv: Sequence[str] | None = None, prog: str = "tools/bench_serve.py") -> int:
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN", help="a finished run's folder")
    parser.add_argument("images", metavar="IMAGE", nargs="+", type=Path)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each figure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    args = parser.parse_args(argv)
    from cerviclip.app.predictor import Predictor

    predictor = Predictor.from_run(args.run, device="cpu")
    files = [path.read_bytes() for path in args.images]
    predictor.predict(args.images[:1])  # the first pass is slower
    one = measure_server(predictor, files, 1, args.seconds, BATCH)
    many = measure_server(predictor, files, args.clients, args.seconds, BATCH)
    single = measure_server(predictor, files, args.clients, args.seconds, 1)
    bare, bare_single = (measure_bare(predictor, files, n, args.seconds) for n in (BATCH, 1))
    figures = {
        "one_client": one,
        f"{args.clients}_clients_batched": many,
        f"{args.clients}_clients_unbatched": single,
        "bare_per_second": bare,
        "bare_one_by_one_per_second": bare_single,
        "batched_over_unbatched": many["per_second"] / single["per_second"],
        "bare_batched_over_one_by_one": bare / bare_single,
        "many_clients_over_one": many["per_second"] / one["per_second"],
        "served_over_bare": many["per_second"] / bare,
    }
    for name, value in figures.items():
        said = (
            json.dumps({k: round(v, 1) for k, v in value.items()})
            if isinstance(value, dict)
            else f"{value:.2f}"
        )
        print(f"{name:<30}{said}")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(cli_main(main))
