"""Whose certificates a connection trusts."""

from __future__ import annotations

from pathlib import Path

import pytest

from entrypoint.postgres.authorities import trusted


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
