"""The file of `--html`: it is there whole or not at all, and changes no other answer."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from entrypoint.operator import page
from entrypoint.operator.report import Finding, LastPush, ServiceStatus, Status, Verification
from tests.operator.conftest import RPG, answer

if TYPE_CHECKING:
    from tests.operator.conftest import Operator

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-I", "-m", "entrypoint"]
NOWHERE = "postgresql://somebody@127.0.0.1:9/postgres"
OLD = "the old page\n"


def options(command: str) -> list[str]:
    """What narrows a command to one service."""
    return [command, "--service", RPG]


def inside(folder: Path) -> list[str]:
    """The names in a folder."""
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("command", ["status", "verify"])
def test_the_answer_is_the_same(operator: Operator, command: str) -> None:
    """What stdout and the exit code say does not depend on it, also where something is found."""
    operator.execute("create table rpg_x (id int)")
    without = operator.run(*options(command))
    beside = operator.run(*options(command), "--html", "page.html")
    as_json = operator.run(*options(command), "--json", "--html", "other.html")
    assert without.code == beside.code == as_json.code == (9 if command == "verify" else 0)
    clock = r"\d\d:\d\d:\d\d"
    assert re.sub(clock, "", beside.out) == re.sub(clock, "", without.out)
    assert as_json.json["format"] == 1
    assert beside.err == ""
    for name in ("page.html", "other.html"):
        assert (operator.directory / name).read_text().startswith("<!doctype html>")


def test_a_page_takes_the_place_of_the_old_one(operator: Operator) -> None:
    """Who reads the old one reads on; its mode and a link stay, and nothing else is left there."""
    file, link = operator.directory / "kept.html", operator.directory / "link.html"
    file.write_text(OLD)
    file.chmod(0o640)
    link.symlink_to(file.name)
    with file.open() as reader:
        assert operator.run("status", "--html", "link.html").code == 0
        assert reader.read() == OLD
    assert "<!doctype html>" in file.read_text()
    assert (file.stat().st_mode & 0o777, link.is_symlink()) == (0o640, True)
    assert inside(operator.directory) == ["kept.html", "link.html"]


REFUSED = {
    "missing/page.html": "there is no folder",
    "folder": "it is a folder",
    "fifo": "it is a FIFO, a device or a socket",
    "/dev/null": "it is a FIFO, a device or a socket",
    "ring": "Symlink loop",
    "n" * 300: "File name too long",
}


@pytest.mark.parametrize("name", REFUSED, ids=[name[:20] for name in REFUSED])
def test_a_file_that_cannot_be(stranger: Operator, name: str) -> None:
    """It is refused before the server is asked, with exit code 3; what the remedy says works."""
    folder = stranger.directory
    (folder / "folder").mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "ring").symlink_to("ring")
    before = inside(folder)
    said = stranger.run("status", "--json", "--html", name, environ={"DATABASE_URL": NOWHERE})
    assert said.code == 3
    event = said.failed()
    assert event["event"] == "status.failed"
    assert event["error"].startswith(f"{name!r} cannot be written: {REFUSED[name]}")
    assert event["remedy"] == "Pass --html a file in a writable folder."
    assert said.json["failed"]["exit_code"] == event["exit_code"] == 3
    assert inside(folder) == before
    assert stranger.run("status", "--html", "folder/page.html").code == 0


@pytest.mark.parametrize("name", ["/dev/stdout", "answer.txt"])
@pytest.mark.parametrize("piped", [True, False], ids=["pipe", "file"])
def test_where_stdout_goes(stranger: Operator, name: str, *, piped: bool) -> None:
    """The answer is not lost in a file that a page replaces; a file of its own is well."""
    script = '"$@" | cat' if piped else '"$@" > answer.txt'
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script, "bash", *COMMAND, "status", "--html", name],
        env={"DATABASE_URL": stranger.url, "PATH": os.environ["PATH"]},
        cwd=stranger.directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if piped and name == "answer.txt":
        assert (done.returncode, inside(stranger.directory)) == (0, [name])
        return
    assert (done.returncode, done.stdout) == (3, "")
    assert f"'{name}' cannot be written: it is the command's own stdout" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to another")
def test_a_page_stays_its_owners(operator: Operator) -> None:
    """Root replaces a file that others read, and they read on."""
    file = operator.directory / "page.html"
    file.write_text(OLD)
    os.chown(file, 12345, 23456)
    file.chmod(0o640)
    assert operator.run(*options("status"), "--html", file.name).code == 0
    now = file.stat()
    assert (now.st_uid, now.st_gid, now.st_mode & 0o777) == (12345, 23456, 0o640)
    assert "<!doctype html>" in file.read_text()


@pytest.mark.parametrize("denied", ["folder", "folder/page.html"])
def test_what_may_not_be_written(operator: Operator, denied: str) -> None:
    """Neither a folder nor an older page is written to that the user may only read."""
    file = operator.directory / "folder" / "page.html"
    file.parent.mkdir()
    file.write_text(OLD)
    path = operator.directory / denied
    path.chmod(path.stat().st_mode & 0o555)
    # Root may write everywhere, but for this.
    plain = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    done = subprocess.run(
        [*plain * (os.geteuid() == 0), *COMMAND, *options("status"), "--html", file],
        env={"DATABASE_URL": operator.url, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    path.chmod(path.stat().st_mode | 0o200)
    assert done.returncode == 3
    assert f"there is no permission to write to '{path}'" in done.stderr
    assert (file.read_text(), inside(file.parent)) == (OLD, [file.name])


def test_a_disk_that_is_full(operator: Operator) -> None:
    """What does not fit leaves the old page, and no half of the new one."""
    file = operator.directory / "page.html"
    file.write_text(OLD)
    limit = 4096, 4096

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)

    said = answer(operator.start("verify", "--html", file.name, preexec_fn=full))
    assert said.code == 3
    assert said.failed()["error"] == "'page.html' cannot be written: File too large"
    assert file.read_text() == OLD
    assert inside(operator.directory) == [file.name]


def test_a_server_that_is_not_there(stranger: Operator) -> None:
    """The old page stays as it was, and none is made where there is none."""
    file = stranger.directory / "page.html"
    file.write_text(OLD)
    stranger.server.close()
    for name in (file.name, "other.html"):
        assert stranger.run("status", "--html", name).code == 4
    assert file.read_text() == OLD
    assert inside(stranger.directory) == [file.name]


@pytest.mark.parametrize(
    "words",
    [
        ["status", "--watch", "--html", "page.html"],
        ["verify", "--sql", "--html", "page.html"],
        ["status", "--html", "-"],
        ["verify", "--html", ""],
        ["create", "--html", "page.html"],
    ],
)
def test_what_cannot_be_meant(operator: Operator, words: list[str]) -> None:
    """A page that is made again and again, instead of SQL or on stdout is wrong usage."""
    said = operator.run(*words)
    assert (said.code, said.out) == (2, "")
    assert "--html" in said.err
    assert inside(operator.directory) == []


def fleet(count: int, tables: int) -> tuple[Status, Verification]:
    """What both commands say of so many databases of so many tables, each of them a stray."""
    at = "2026-11-29T03:00:00Z"
    names = [f"service-{number:03}" for number in range(count)]
    push = LastPush(at="2026-11-28T03:00:00Z", release="v1", host="h", elapsed_s=1.5)
    facts: dict[str, Any] = {
        "exists": True,
        "size_bytes": 8_000_000,
        "tables": tables,
        "sessions": 2,
    }
    services = [
        ServiceStatus(service=name, database=f"{name}_db", last_push=push, drift=False, **facts)
        for name in names
    ]
    findings = [
        Finding(
            level="misplaced" if number % 2 else "notice",
            finding="foreign_object" if number % 2 else "unprefixed_object",
            database=f"{name}_db",
            service=name,
            kind="table",
            object=f"a_table_with_a_name_of_usual_length_{number}",
            rows=1000,
            size_bytes=1 << 20,
            message="it is there",
            remedy=f"If it is {name}'s, add 'a_table_{number}' to the names of its row.",
        )
        for name in names
        for number in range(tables)
    ]
    databases = [f"{name}_db" for name in names]
    return (
        Status(server="db:5432", at=at, services=services),
        Verification(server="db:5432", at=at, databases=databases, findings=findings, failures=[]),
    )


def test_a_page_of_many_is_bounded() -> None:
    """500 databases of 50 strays make a page of 2 MB, which sums up all and says what it lacks."""
    status, verification = fleet(500, 50)
    seen, found = page.of(status), page.of(verification)
    assert max(len(seen), len(found)) < 2 << 20
    assert "12,500 misplaced (12.2 GB)" in found
    assert found.count("The page leaves out 47 findings") == 500
    assert found.count(">misplaced</span>") == 500 * page.LEAST
    assert found.count("25 misplaced, 25 notices") == 500
    assert "The page leaves out 400 older pushes" in seen
    assert seen.count("1 d ago</bdi></td>") == 500


def test_a_page_of_few_has_all() -> None:
    """Nothing is left out where a person may read it all."""
    _, verification = fleet(6, 50)
    found = page.of(verification)
    assert "not shown" not in found
    assert found.count("a_table_with_a_name_of_usual_length_") == 300


def test_what_wants_a_person_is_said() -> None:
    """Each concern of --fail has a sentence at the top, and without any all is well."""
    status, _ = fleet(2, 1)
    well = "Nothing is missing, nothing has drifted, nobody waits"
    assert well in page.of(status)
    for concern, sentence in (
        ("damaged", "A failed push left damage in service-000_db"),
        ("transaction", "A transaction has been open for long in service-000_db"),
    ):
        first = status.services[0].model_copy(update={"concerns": [concern]})
        other = status.model_copy(update={"services": [first, *status.services[1:]]})
        assert f">{sentence}</li>" in page.of(other)
        assert well not in page.of(other)


def test_a_page_is_arranged_as_the_answer() -> None:
    """Databases stand in the order of --sort."""
    _, verification = fleet(3, 2)
    turned = verification.model_copy(update={"findings": verification.findings[::-1]})
    heads = re.findall(r'id="database-\d+"><bdi>([^<]+)', page.of(turned))
    assert heads == ["service-002_db", "service-001_db", "service-000_db"]


def test_nobody_else_pays_for_templates(operator: Operator) -> None:
    """A command without --html imports no template library."""
    argv = [sys.executable, "-I", "-X", "importtime", "-m", "entrypoint", *options("status")]
    for more in ([], ["--html", "page.html"]):
        done = subprocess.run(
            [*argv, *more],
            env={"DATABASE_URL": operator.url},
            cwd=operator.directory,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert (" jinja2\n" in done.stderr) == bool(more)


def test_the_templates_are_in_the_package(tmp_path: Path) -> None:
    """Who installs the program gets them."""
    build = "import sys; from flit_core.buildapi import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, tmp_path], cwd=ROOT, check=True, timeout=60)
    [wheel] = tmp_path.glob("*.whl")
    there = [path.name for path in (ROOT / "entrypoint/operator/pages").iterdir()]
    packed = zipfile.ZipFile(wheel).namelist()
    assert len(there) == 5
    assert {f"entrypoint/operator/pages/{name}" for name in there} <= set(packed)
