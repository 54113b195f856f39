"""Nonsense in the environment and in files: exit 3 and a message that names the place."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.program import Program

if TYPE_CHECKING:
    from pathlib import Path

URL = b"postgres://u:p@127.0.0.1:1/d"


def start(folder: Path, environ: dict[bytes, bytes]) -> Program:
    base = {b"PATH": os.environb[b"PATH"], b"DATABASE_URL": URL, b"ENTRYPOINT_WAIT_TIMEOUT": b"0"}
    return Program.start("run", "--", "true", environ={**base, **environ}, directory=folder)


VALUES = {
    "empty": b"",
    "blank": b" ",
    "binary": bytes(range(1, 256)),
    "newlines": b"\npostgres://u:p@h/d\n\n",
    "127 KB": b"x" * 127_000,
    "127 KB of @": b"postgres://" + b"@" * 126_000,
    "brackets": b"[" * 100_000,
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_database_url(tmp_path: Path, value: bytes) -> None:
    """The largest value that a process can be given, and worse."""
    program = start(tmp_path, {b"DATABASE_URL": value})

    assert program.wait() == 3
    assert "DATABASE_URL" in program.output
    assert "Traceback" not in program.output


USELESS = {**VALUES, "1 MB": b"y" * 1_000_000}
del USELESS["newlines"]  # around a URL they are no part of it


@pytest.mark.parametrize("value", USELESS.values(), ids=USELESS)
def test_a_file_that_holds_the_url(tmp_path: Path, value: bytes) -> None:
    """DATABASE_URL_FILE is named when its content is of no use."""
    (tmp_path / "secret").write_bytes(value)
    program = start(tmp_path, {b"DATABASE_URL": b"", b"DATABASE_URL_FILE": b"secret"})

    assert program.wait() == 3
    assert "DATABASE_URL" in program.output


@pytest.mark.parametrize(
    "name",
    [
        b"ENTRYPOINT_WAIT_TIMEOUT",
        b"ENTRYPOINT_LOCK_TIMEOUT",
        b"ENTRYPOINT_SKIP",
        b"ENTRYPOINT_LOG_LEVEL",
        b"ENTRYPOINT_LOG_FORMAT",
        b"ENTRYPOINT_CONFIG",
        b"ENTRYPOINT_SERVICES",
        b"ENTRYPOINT_PUSH_TIMEOUT",
        b"ENTRYPOINT_SEED_WHEN",
        b"SEED_TENANT_ID",
    ],
)
@pytest.mark.parametrize("kind", [kind for kind in VALUES if kind != "empty"])
def test_other_variables(tmp_path: Path, name: bytes, kind: str) -> None:
    """Each is named, however large or odd its value."""
    program = start(tmp_path, {name: VALUES[kind]})

    assert program.wait() == 3
    if name != b"ENTRYPOINT_CONFIG":
        assert name.decode() in program.output
    assert len(program.output) < 2000
    assert "Traceback" not in program.output


FILES = {
    "no value": (b"[push]\ntimeout =\n", "line 2"),
    "not closed": (b"[push\n", "line 1"),
    "twice": (b"service = 'a'\nservice = 'b'\n", "line 2"),
    "binary": (bytes(range(128, 256)), "line 1"),
    "UTF-16": ("service = 'a'".encode("utf-16"), "is UTF-16, not UTF-8; save it as UTF-8"),
    "no-break space": ("[push]\ntimeout\u00a0= 7".encode(), "line 2 has the character U+00A0"),
    "smart quotes": ("service = \u201ca\u201d".encode(), "line 1 has the character U+201C"),
    "nested": (b"a = " + b"[" * 100_000, "entrypoint.toml"),
    "1 MB": (b"# " + b"x" * (1 << 20), "entrypoint.toml"),
    "wrong type": (b"[push]\ntimeout = 'soon'\n", "push.timeout"),
    "wrong section": (b"push = 3\n", "push"),
    "unknown key": (b"[push]\ncomand = ['x']\n", "push.command"),
    "unknown section": (b"[pushes]\ncommand = ['x']\n", "pushes"),
    "command as text": (b"[push]\ncommand = ''\n", "push.command"),
}


@pytest.mark.parametrize(("content", "place"), FILES.values(), ids=FILES)
def test_the_settings_file(tmp_path: Path, content: bytes, place: str) -> None:
    """File, and line or key."""
    (tmp_path / "entrypoint.toml").write_bytes(content)
    program = start(tmp_path, {})

    assert program.wait() == 3
    failure = program.one("settings.failed")
    text = " ".join([failure["error"], *failure.get("problems", [])])
    assert "entrypoint.toml" in text
    assert place in text


@pytest.mark.parametrize("kind", ["UTF-16", "no-break space", "not closed", "folder"])
def test_the_registry(tmp_path: Path, kind: str) -> None:
    """A registry of one's own is named with the same mistakes."""
    if kind == "folder":
        (tmp_path / "own.toml").mkdir()
    else:
        (tmp_path / "own.toml").write_bytes(FILES[kind][0])
    program = start(tmp_path, {b"ENTRYPOINT_SERVICES": b"own.toml", b"SERVICE_NAME": b"a"})

    assert program.wait() == 3
    failure = program.one("settings.failed")
    text = " ".join([failure["error"], *failure.get("problems", [])])
    assert "ENTRYPOINT_SERVICES: " in text
    assert ("Is a directory" if kind == "folder" else FILES[kind][1]) in text


def test_all_problems_at_once(tmp_path: Path) -> None:
    """One start finds them all, in the file and in the environment."""
    (tmp_path / "entrypoint.toml").write_text("[push]\ntimeout = -1\n[sed]\n")
    program = start(
        tmp_path,
        {b"DATABASE_URL": b"postgres://u:p@h/postgres", b"ENTRYPOINT_WAIT_TIMOUT": b"3"},
    )

    assert program.wait() == 3
    problems = program.one("settings.failed")["problems"]
    assert len(problems) == 4
    assert any("ENTRYPOINT_WAIT_TIMEOUT" in problem for problem in problems)
