"""The service's executable is found, or refused as shells and runtimes do, before any work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from entrypoint.config.environment import Environment
from entrypoint.errors import ExecError
from entrypoint.start.handoff import Executable, find

SCRIPT = b"#!/bin/sh\n"
BINARY = Path("/bin/true").read_bytes()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a file of each kind."""
    monkeypatch.chdir(tmp_path)
    for name, content, mode in [
        ("script", SCRIPT, 0o755),
        ("binary", BINARY, 0o755),
        ("others", SCRIPT, 0o755),
        ("plain", SCRIPT, 0o644),
        ("empty", b"", 0o755),
        ("text", b"echo hello\n", 0o755),
        ("blanks", b"#! \t/bin/sh\t-e x\n", 0o755),
        ("env", b"#!/usr/bin/env /bin/sh\n", 0o755),
        ("no-end", b"#!/bin/sh", 0o755),
        ("lost", b"#!/no/such/node\n", 0o755),
        ("windows", b"#!/bin/sh\r\necho\r\n", 0o755),
        ("windows-env", b"#!/usr/bin/env node\r\n", 0o755),
        ("nameless", b"#!\n", 0o755),
        ("a/lost-on-path", b"#!/no/node\n", 0o755),
        ("a/tool", SCRIPT, 0o644),
        ("a/only-here", SCRIPT, 0o644),
        ("a/lost", b"#!/no/such/node\n", 0o755),
        ("b/tool", SCRIPT, 0o755),
        ("b/lost", SCRIPT, 0o755),
        ("b/dir", SCRIPT, 0o755),
    ]:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
    (tmp_path / "a/dir").mkdir()
    (tmp_path / "link").symlink_to("script")
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


def environment(path: str | None) -> Environment:
    return Environment({} if path is None else {b"PATH": os.fsencode(path)})


@pytest.mark.parametrize(
    "name",
    ["script", "binary", "link", "blanks", "env", "no-end", "b/tool", "a/../script"],
)
def test_found_by_path(folder: Path, name: str) -> None:
    """A name with a slash is the file itself, whatever PATH says, and argv stays as it is."""
    for path in (f"./{name}", f"{folder}/{name}"):
        argv = (path, "--flag", "", "é")
        assert find(argv, environment("/nowhere")) == Executable(path, argv)


@pytest.mark.parametrize(
    ("name", "path", "found"),
    [
        ("tool", "b", "b/tool"),
        ("tool", "b:a", "b/tool"),
        # not executable: the next one, as execvp does
        ("tool", "a:b", "b/tool"),
        ("dir", "a:b", "b/dir"),
        ("lost", "a:b", "b/lost"),
        ("tool", "nowhere:script:b", "b/tool"),
        ("tool", "b/", "b/tool"),
        # an empty entry is the working directory
        ("script", ":b", "./script"),
        ("script", "b:", "./script"),
        ("script", "a::b", "./script"),
        ("tool", "::b", "b/tool"),
    ],
)
def test_found_on_path(name: str, path: str, found: str) -> None:
    """A name without a slash is the first on PATH that can be executed."""
    assert find((name,), environment(path)) == Executable(found, (name,))


@pytest.mark.parametrize("path", [None, ""])
def test_found_without_path(path: str | None) -> None:
    """Without a PATH, where libc looks is searched."""
    service = find(("sh", "-c", "true"), environment(path))
    assert service.argv == ("sh", "-c", "true")
    assert Path(service.path).parent in (Path("/usr/local/bin"), Path("/usr/bin"), Path("/bin"))


def test_found_on_the_container_s_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service's PATH counts, not the one that this process may have by now."""
    monkeypatch.setenv("PATH", "b")
    with pytest.raises(ExecError):
        find(("tool",), environment("nowhere"))
    assert find(("tool",), environment("b")).path == "b/tool"


def test_name_that_is_not_utf_8(folder: Path) -> None:
    """Names are bytes: one that is not UTF-8 is found too."""
    name = os.fsdecode(b"b/\xff")
    (folder / name).write_bytes(SCRIPT)
    (folder / name).chmod(0o755)
    assert find((os.fsdecode(b"\xff"),), environment("b")).path == name


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("./missing", 127, "'./missing' is not found"),
        ("missing", 127, "'missing' is not found on PATH"),
        ("", 127, "the command's first word, '', is empty"),
        ("./dangling", 127, "'./dangling' is not found"),
        ("./loop", 127, "'./loop' is not found"),
        ("./script/x", 127, "'./script/x' is not found"),
        ("./script/", 127, "'./script/' is not found"),
        ("./nul\0", 127, "'./nul\\x00' is not found"),
        ("./a", 126, "'./a' is a folder"),
        ("./", 126, "'./' is a folder"),
        ("/dev/null", 126, "'/dev/null' is not a file"),
        ("./plain", 126, "'./plain' is not executable"),
        ("only-here", 126, "'a/only-here' is not executable"),
        ("./text", 126, "'./text' has no #! line"),
        ("./empty", 126, "'./empty' has no #! line"),
        ("./lost", 127, "'./lost' needs the interpreter '/no/such/node', which is missing"),
        ("./windows", 127, "'./windows' has a carriage return at the end of its #! line"),
        ("./windows-env", 127, "'./windows-env' has a carriage return at the end of its #! line"),
        ("./nameless", 126, "'./nameless' has an empty #! line"),
        (
            "lost-on-path",
            127,
            "'a/lost-on-path' needs the interpreter '/no/node', which is missing",
        ),
    ],
)
def test_refused(name: str, code: int, message: str) -> None:
    """127 for what is not there, 126 for what is there and cannot run, each with a remedy."""
    with pytest.raises(ExecError) as caught:
        find((name, "x"), environment("a:b"))
    assert (caught.value.exit_code, caught.value.message) == (code, message)
    assert caught.value.remedy.endswith(".")


def test_root_is_no_exception(folder: Path) -> None:
    """A file without any x is refused to root as well, and one x for anybody suffices it."""
    (folder / "others").chmod(0o001 if os.geteuid() == 0 else 0o100)
    assert find(("./others",), environment("b")).path == "./others"
    (folder / "others").chmod(0o666)
    with pytest.raises(ExecError) as caught:
        find(("./others",), environment("b"))
    assert caught.value.exit_code == 126
