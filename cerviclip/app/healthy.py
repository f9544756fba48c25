"""Goal: tell a container's engine whether the page or the API on this machine answers.

Usage:
    python -m cerviclip.app.healthy

Exit status: 0 one of them answers, 1 none does.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Sequence

#: Where the API and the page answer when they are ready.
ADDRESSES = ("http://127.0.0.1:8000/ready", "http://127.0.0.1:8501/_stcore/health")
WAIT = 2  # s for each


def main(addresses: Sequence[str] = ADDRESSES) -> int:
    return 0 if any(map(answers, addresses)) else 1


def answers(address: str) -> bool:
    """Whether the status is 200; a proxy of the environment is not asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address, timeout=WAIT) as answer:
            return answer.status == 200
    except (OSError, urllib.error.URLError):
        return False


if __name__ == "__main__":
    sys.exit(main())
