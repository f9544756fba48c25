"""Certificates of a federation: who signs whom, and that keys are kept."""

from __future__ import annotations

import pytest

from cerviclip.federated.certificates import KEY, make_certificates, read_certificates
from dassl.errors import MissingFileError, UserError

x509 = pytest.importorskip("cryptography.x509", reason="needs the extra 'federated'")


def test_the_server_is_signed_by_the_authority_for_its_hosts(tmp_path):
    folder = make_certificates(tmp_path / "certs", ["127.0.0.1", "fed.example.org"])
    ca, server, _ = read_certificates(folder)
    authority, own = x509.load_pem_x509_certificate(ca), x509.load_pem_x509_certificate(server)
    own.verify_directly_issued_by(authority)
    names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["fed.example.org"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert (folder / KEY).stat().st_mode & 0o777 == 0o600


def test_keys_are_not_overwritten_and_missing_ones_are_named(tmp_path):
    make_certificates(tmp_path, ["localhost"])
    with pytest.raises(UserError, match="is there already"):
        make_certificates(tmp_path, ["localhost"])
    (tmp_path / KEY).unlink()
    with pytest.raises(MissingFileError, match="server.key"):
        read_certificates(tmp_path)
