"""Processors, GPU, disk, ports, fonts, weights and access; nothing here imports torch."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

from cerviclip.app.doctor.check import FAULT, NOTE, OK, Check
from cerviclip.backbones.names import OPENAI_FILES, PHANTOM
from cerviclip.drawing.fonts import REMEDY, chinese_font, plain_fonts
from cerviclip.environment import cache_folder
from cerviclip.vlm.files.place import cache_dir

PORTS = {8501: "cerviclip web", 8000: "cerviclip serve"}
_GPU_WAIT = 1.5  # s for nvidia-smi
_GIB = 2**30
_LOW, _LEAST = 10 * _GIB, 1 * _GIB  # free disk: for a sweep with its store, for one run
_WHOLE = 2**20  # bytes; a file of weights that is smaller was cut off or is a pointer to it
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def usable_processors(quota_file: Path = Path("/sys/fs/cgroup/cpu.max")) -> float:
    """Processors that this process may use: its affinity and a container's quota."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = float(len(affinity(0)) if affinity else os.cpu_count() or 1)
    try:
        quota, period = quota_file.read_text().split()
    except (OSError, ValueError):
        return count
    return count if quota == "max" else min(count, int(quota) / int(period))


def check_threads() -> Check:
    usable = usable_processors()
    given = {name: os.environ[name] for name in _THREADS if os.environ.get(name)}
    found = f"{usable:g} of {os.cpu_count()} processors usable"
    found += "".join(f", {name}={value}" for name, value in given.items())
    numbers = {name: int(v) for name, v in given.items() if re.fullmatch(r"[0-9]{1,9}", v)}
    over = [name for name, number in numbers.items() if number > usable]
    if over:
        return Check("threads", NOTE, found, f"set {over[0]} to at most {max(1, int(usable))}")
    if not given and (os.cpu_count() or 1) > usable:
        remedy = f"set OMP_NUM_THREADS={max(1, int(usable))}, else threads wait for each other"
        return Check("threads", NOTE, found, remedy)
    return Check("threads", OK, found)


def torch_cuda() -> str | None:
    """The CUDA version that the installed torch was built for; None for a CPU build."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    version = Path(spec.origin).with_name("version.py")
    match = re.search(r"^cuda[^=]*= *'([\d.]+)'", version.read_text(), re.MULTILINE)
    return match[1] if match else None


def check_gpu() -> Check:
    cuda = torch_cuda()
    build = f"torch for CUDA {cuda}" if cuda else "torch for CPU alone"
    asked = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, timeout=_GPU_WAIT)
        names = [line.strip() for line in told.stdout.splitlines() if line.strip()]
        names = names if told.returncode == 0 else []
    except (OSError, subprocess.TimeoutExpired):
        names = []
    if not names:
        remedy = "all runs on the CPU; PhantomCLIP and frozen features are quick enough for it"
        return Check("GPU", NOTE, f"none; {build}", remedy)
    if cuda is None:
        remedy = "install torch for CUDA (pytorch.org, Get Started)"
        return Check("GPU", NOTE, f"{'; '.join(names)}; {build}", remedy)
    return Check("GPU", OK, f"{'; '.join(names)}; {build}")


def check_weights() -> list[Check]:
    """PhantomCLIP, which ships with the code, and OpenAI's files in the cache."""
    spec = importlib.util.find_spec("cerviclip")
    phantom = Path(spec.origin).parent / "vlm" / "weights" / "phantom_clip.safetensors"
    if phantom.is_file() and phantom.stat().st_size >= _WHOLE:
        first = Check(f"weights {PHANTOM}", OK, f"{phantom.stat().st_size / 2**20:.1f} MiB")
    else:
        first = Check(f"weights {PHANTOM}", FAULT, f"no whole {phantom}", "install cerviclip anew")
    here = [n for n, (file, _) in OPENAI_FILES.items() if _is_whole(cache_dir() / file)]
    cut = [file for file, _ in OPENAI_FILES.values() if _is_cut(cache_dir() / file)]
    if cut:
        second = Check("weights OpenAI", FAULT, f"{cache_dir() / cut[0]} is not whole", "delete it")
    elif here:
        second = Check("weights OpenAI", OK, f"{', '.join(here)}; checked by hash when first used")
    else:
        remedy = "the first use downloads them; without a network put them there or use --weights"
        second = Check("weights OpenAI", NOTE, f"none in {cache_dir()}", remedy)
    return [first, second]


def _is_whole(path: Path) -> bool:
    return path.is_file() and path.stat().st_size >= _WHOLE


def _is_cut(path: Path) -> bool:
    return path.is_file() and path.stat().st_size < _WHOLE


def check_access() -> Check:
    """Whether there is a token for gated weights on the Hugging Face Hub; it is not shown."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    file = Path(os.environ.get("HF_TOKEN_PATH") or home / "token")
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    if offline:
        remedy = "unset HF_HUB_OFFLINE to download weights"
        return Check("gated access", NOTE, "HF_HUB_OFFLINE is set", remedy)
    if os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN"):
        return Check("gated access", OK, "a token in the environment")
    if _has_text(file):
        return Check("gated access", OK, f"a token in {file}")
    remedy = "for gated weights: accept their terms on their page, then hf auth login"
    return Check("gated access", NOTE, "no token for the Hugging Face Hub", remedy)


def _has_text(path: Path) -> bool:
    try:
        return bool(path.read_text().strip())
    except (OSError, UnicodeDecodeError):
        return False


def check_fonts() -> Check:
    plain, chinese = plain_fonts()[0], chinese_font()
    if not plain.is_file():
        return Check("fonts", FAULT, f"no {plain}", "install matplotlib anew")
    if chinese is None:
        found = "Latin, Greek and Cyrillic; no font with Chinese, which reports show as ?"
        return Check("fonts", NOTE, found, REMEDY)
    return Check("fonts", OK, f"Latin, Greek, Cyrillic; Chinese by {chinese.path.name}")


def check_folders(output: Path, data: Path) -> list[Check]:
    """Free disk and right to write, of the folders that runs, data and features go to."""
    named = {"output": output, "data": data, "cache": cache_folder()}
    return [_folder(name, path) for name, path in named.items()]


def _folder(name: str, path: Path) -> Check:
    there = path.absolute()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    found = f"{path}: {free / _GIB:.1f} GiB free"
    name = f"folder {name}"
    if not there.is_dir():
        return Check(name, FAULT, f"{there} is a file", "move it, or name another folder")
    if name != "folder data" and not os.access(there, os.W_OK | os.X_OK):
        remedy = "name a folder that you may write to" + (
            " in CERVICLIP_CACHE" if name == "folder cache" else " by --output-dir"
        )
        return Check(name, FAULT, f"{there} cannot be written", remedy)
    if free < _LEAST:
        return Check(name, FAULT, found, "free some; cerviclip store prune empties the cache")
    if free < _LOW:
        return Check(name, NOTE, found, "a large sweep may need more")
    return Check(name, OK, found)


def check_ports() -> list[Check]:
    return [_port(port, use) for port, use in PORTS.items()]


def _port(port: int, use: str) -> Check:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError as error:
            found = f"taken ({error.strerror})"
            return Check(f"port {port}", NOTE, found, f"{use} --port N, or it runs already")
    return Check(f"port {port}", OK, f"free for {use}")
