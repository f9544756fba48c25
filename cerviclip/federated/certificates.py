"""Certificates for a federation: an authority of its own and a server certificate signed by it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from cerviclip.places import install_hint
from dassl.errors import MissingFileError, UserError
from dassl.utils.files import atomic_write

CA, SERVER, KEY = "ca.pem", "server.pem", "server.key"


def make_certificates(folder: Path, hosts: Sequence[str], days: int = 90) -> Path:
    """Write ``ca.pem``, ``server.pem`` and ``server.key`` (readable by its owner alone).

    The authority's own key is thrown away, so that nothing else can be signed with it.

    Args:
        folder: is made where it is missing.
        hosts: names and addresses that centres reach the server by.
        days: until both certificates end.

    Raises:
        UserError: the package is missing, or certificates are there already.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise UserError(
            f"certificates need the cryptography package: {install_hint('federated')}"
        ) from error
    if (folder / KEY).exists():
        raise UserError(f"{folder / KEY} is there already; name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    names = [
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])
        for text in ("CerviCLIP federation", hosts[0])
    ]

    def certificate(subject: Any, public: Any) -> Any:
        now = datetime.now(timezone.utc)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(names[0])
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=days))
        )

    ca = certificate(names[0], authority.public_key()).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    server = certificate(names[1], key.public_key()).add_extension(
        x509.SubjectAlternativeName([_host(x509, host) for host in hosts]), critical=False
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for name, content in (
        (KEY, secret),
        (SERVER, server.sign(authority, hashes.SHA256()).public_bytes(pem)),
        (CA, ca.sign(authority, hashes.SHA256()).public_bytes(pem)),
    ):
        with atomic_write(folder / name, "wb") as handle:
            handle.write(content)
    (folder / KEY).chmod(0o600)
    return folder


def _host(x509: Any, host: str) -> Any:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def read_certificates(folder: Path) -> tuple[bytes, bytes, bytes]:
    """Authority, server certificate and key, as Flower's server takes them.

    Raises:
        MissingFileError: one of them is not there.
    """
    for name in (CA, SERVER, KEY):
        if not (folder / name).is_file():
            raise MissingFileError(
                f"no {folder / name}; make certificates with cerviclip federate --make-certificates"
            )
    ca, server, key = ((folder / name).read_bytes() for name in (CA, SERVER, KEY))
    return ca, server, key
