"""Whether a port can be listened on; asked before a model is loaded."""

from __future__ import annotations

import socket

from dassl.errors import UserError


def check_port(host: str, port: int) -> None:
    """Refuse a port that is taken or forbidden; 0 stands for any that is free.

    Raises:
        UserError: it cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family):
            pass
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(
            f"port {port} of {host} cannot be used ({why}); it may run there already, or name "
            "another by --port"
        ) from error
