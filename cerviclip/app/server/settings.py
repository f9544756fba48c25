"""What a server allows and where it writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cerviclip.app.server.access import Token


@dataclass(frozen=True)
class Limits:
    """What one request may hold; more is refused.

    Args:
        files: in a request.
        file_bytes: of one file.
        body_bytes: of a whole request.
        pixels: of all pictures of a request together.
        frames: pages or frames of one file.
        job_files: in a batch job.
        job_bytes: of a batch job's request; its pictures wait in memory.
        waiting_pixels: of all pictures that wait for the model; beyond it requests get 503.
        waiting_jobs: batch jobs that are not done.
        per_minute: requests of one client; 0 for no limit.
    """

    files: int = 32
    file_bytes: int = 20_000_000
    body_bytes: int = 64_000_000
    pixels: int = 50_000_000
    frames: int = 64
    job_files: int = 1000
    job_bytes: int = 128_000_000
    waiting_pixels: int = 400_000_000
    waiting_jobs: int = 8
    per_minute: int = 0


@dataclass(frozen=True)
class Settings:
    """A server's settings.

    Args:
        audit_log: file of the audit trail.
        jobs: file of the batch jobs' states.
        tokens: who may ask; none: everybody who reaches the server, as admin.
        limits: of requests.
        batch: pictures in one forward pass; 1 turns batching off.
        linger: seconds that a picture waits for others before its forward pass.
        grace: seconds that batch jobs get to finish at shutdown.
        label_studio: address of the Label Studio whose pictures may be fetched; "" for none.
        label_studio_key: its API key.
        slides: folder of the slides whose tiles may be asked for; None for none.
    """

    audit_log: Path
    jobs: Path
    tokens: tuple[Token, ...] = ()
    limits: Limits = field(default_factory=Limits)
    batch: int = 32
    linger: float = 0.002
    grace: float = 30.0
    label_studio: str = ""
    label_studio_key: str = field(default="", repr=False)
    slides: Path | None = None
