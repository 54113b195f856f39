"""Whose certificates a connection trusts."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from entrypoint.postgres.authorities import mistake, trusted

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"sslmode": "require"},
        {"sslmode": "verify-ca"},
        {"sslmode": "verify-full", "sslrootcert": "/ca.pem"},
        {"sslmode": "require", "sslrootcert": "system"},  # which libpq itself refuses
    ],
    ids=str,
)
def test_what_libpq_does_alone_is_left_to_it(params: dict[str, str]) -> None:
    """No file is named where none is needed, one is given, or the two contradict each other."""
    assert trusted(params) == params


@pytest.mark.parametrize(
    "params",
    [
        {"sslrootcert": "system"},
        {"sslmode": "verify-full"},
        {"sslmode": "verify-full", "sslrootcert": "system"},
    ],
    ids=str,
)
def test_full_verification_has_a_file(params: dict[str, str]) -> None:
    """It is there, and holds certificates."""
    found = trusted(params)
    assert found["sslmode"] == "verify-full"
    assert "BEGIN CERTIFICATE" in Path(found["sslrootcert"]).read_text()


def test_the_users_own_file_goes_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As libpq has it: root.crt in .postgresql at home, unless the system's are asked for."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".postgresql").mkdir()
    (tmp_path / ".postgresql" / "root.crt").touch()
    assert trusted({"sslmode": "verify-full"}) == {"sslmode": "verify-full"}
    assert trusted({"sslrootcert": "system"})["sslrootcert"] != "system"


CA = Path(__file__).parents[1] / "support" / "tls" / "ca.pem"

WRITTEN: dict[str, tuple[Callable[[bytes], bytes], str | None]] = {
    "PEM": (lambda pem: pem, None),
    "BOM": (lambda pem: b"\xef\xbb\xbf" + pem, None),
    "CRLF": (lambda pem: pem.replace(b"\n", b"\r\n"), None),
    "remark before": (lambda pem: b"# ours\n" + pem, None),
    "old Mac": (lambda pem: pem.replace(b"\n", b"\r"), "its line ends are an old Mac's"),
    "env file": (lambda pem: pem.replace(b"\n", b"\\n"), "its line ends are written as \\n"),
    "UTF-16": (lambda pem: pem.decode().encode("utf-16"), "is UTF-16"),
    "name": (lambda pem: b"CA=" + pem, "something before -----BEGIN CERTIFICATE-----"),
    "quotes": (lambda pem: b'"' + pem + b'"', "something before -----BEGIN CERTIFICATE-----"),
    "base64": (base64.b64encode, "is base64 of a certificate"),
    "DER": (lambda pem: ssl.PEM_cert_to_DER_cert(pem.decode()), "in DER form"),
    "JSON": (lambda _: b"{}", "has no certificate in PEM form"),
    "empty": (lambda _: b"\n", "is empty"),
}


@pytest.mark.parametrize(("written", "problem"), WRITTEN.values(), ids=WRITTEN)
def test_what_is_wrong_with_a_file(
    tmp_path: Path, written: Callable[[bytes], bytes], problem: str | None
) -> None:
    """What OpenSSL reads has nothing wrong with it, and what it does not read is told apart."""
    path = tmp_path / "ca.pem"
    path.write_bytes(written(CA.read_bytes()))
    try:
        ssl.create_default_context(cafile=str(path))
        reads = True
    except ssl.SSLError:
        reads = False

    found = mistake(str(path))
    assert reads == (found is None)
    assert (problem or "") in (found or "")
    assert (problem is None) == (found is None)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Missing, a folder or no path: each in its own words."""
    assert mistake(str(tmp_path / "x")) == "cannot be read (No such file or directory)"
    assert "is a folder" in str(mistake(str(tmp_path)))
    assert mistake("a\0b") == "cannot be read (not a path)"
