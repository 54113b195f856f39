"""`previews`: which databases of previews there are, and what it drops."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from entrypoint.config.environment import Environment
from entrypoint.operator import previews, server
from tests.operator.conftest import RPG, RPG_DB, SERVICES, Operator, create_role
from tests.support.docs import blocks, page
from tests.support.pooler import PROGRAM, Pooler

if TYPE_CHECKING:
    from collections.abc import Iterator

SSO, SSO_DB = "gaqno-sso-service", SERVICES["gaqno-sso-service"]
OLD, RECENT = "2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z"


def make(
    operator: Operator, number: str, service: str = RPG, at: str = OLD, *, preview: str = ""
) -> str:
    """Create a database as a preview's start leaves it."""
    name = f"{SERVICES[service]}_pr_{number}"
    mark = {"service": service, "preview": preview or number, "branch": "fix", "at": at}
    line = json.dumps({"v": 2, "pushes": [], "seeds": {}, "preview": mark})
    operator.execute(f"create database {name}")
    operator.execute(f"comment on database {name} is 'of ours\nentrypoint:{line}'")
    return name


def there(operator: Operator) -> list[str]:
    """The databases of previews that are there."""
    query = "select datname from pg_database where datname like '%\\_pr\\_%' order by 1"
    return [name for (name,) in operator.execute(query)]


def results(operator: Operator, *words: str) -> dict[str, str]:
    """What a run with --yes says of each database."""
    found = operator.run("previews", *words, "--yes", "--json")
    return {row["database"]: row["result"] for row in found.json["previews"]}


@contextmanager
def client(operator: Operator, database: str, name: str = "psql") -> Iterator[None]:
    """Somebody's session."""
    with operator.server.connect(database) as connection:
        connection.execute(sql.SQL("set application_name = {}").format(name))
        yield


def test_what_is_there(operator: Operator) -> None:
    """Each with what its mark says, size and clients; no other database counts."""
    make(operator, "7")
    make(operator, "8", SSO, RECENT)
    operator.execute(f"create database {RPG_DB}_pr_9")
    operator.execute(f"create database {RPG_DB}_pr_09")
    operator.execute(f"create database {RPG_DB}_previous")

    with client(operator, f"{RPG_DB}_pr_7"):
        found = operator.run("previews", "--json")

    rows = {row["database"]: row for row in found.json["previews"]}
    assert [*rows] == [f"{RPG_DB}_pr_7", f"{RPG_DB}_pr_9", f"{SSO_DB}_pr_8"]
    seven = rows[f"{RPG_DB}_pr_7"]
    assert seven.pop("size_bytes") > 1_000_000
    assert seven == {
        "service": RPG,
        "preview": "7",
        "database": f"{RPG_DB}_pr_7",
        "branch": "fix",
        "started": OLD,
        "sessions": 1,
        "marked": True,
        "result": "kept",
        "failure": None,
    }
    assert not rows[f"{RPG_DB}_pr_9"]["marked"]
    shown = operator.run("previews", "--service", SSO)
    assert f"{SSO_DB}_pr_8" in shown.out
    assert RPG_DB not in shown.out


def test_verify_and_status_know_them(operator: Operator) -> None:
    """A marked one is no finding, one with only the name is; status counts both."""
    make(operator, "7")
    operator.execute(f"create database {RPG_DB}_pr_9")

    found = operator.run("verify", "--json")

    assert [
        (each["finding"], each["database"], each["service"])
        for each in found.findings
        if "_pr_" in each["database"]
    ] == [("preview_unmarked", f"{RPG_DB}_pr_9", RPG)]
    [row] = operator.run("status", "--json", "--service", RPG).rows
    assert row["previews"] == [f"{RPG_DB}_pr_7", f"{RPG_DB}_pr_9"]
    assert row["concerns"] == []


def test_one_that_is_named(operator: Operator) -> None:
    """Of the service that is named, and of no other."""
    make(operator, "7")
    make(operator, "7", SSO)

    dry = operator.run("previews", "--service", RPG, "--drop", "7", "--dry-run", "--json")
    assert [row["result"] for row in dry.json["previews"]] == ["to drop"]
    assert len(there(operator)) == 2
    assert results(operator, "--service", RPG, "--drop", "7") == {f"{RPG_DB}_pr_7": "dropped"}
    assert there(operator) == [f"{SSO_DB}_pr_7"]
    assert results(operator, "--service", RPG, "--drop", "7") == {}


@pytest.mark.parametrize(
    "words", [("--drop", "7"), ("--drop-closed", "open"), ("--drop-closed", "")]
)
def test_numbers_want_a_service(operator: Operator, words: tuple[str, ...]) -> None:
    """Six repositories have six pull requests of one number."""
    make(operator, "7")

    found = operator.run("previews", *words, "--yes")

    assert found.code == 2
    assert "numbers belong to a repository: name its --service" in found.err
    assert there(operator) == [f"{RPG_DB}_pr_7"]


@pytest.mark.parametrize(
    "spelling", [RPG_DB, "", "0", "07", "%", "7' or 1=1", "../7", f"{RPG_DB}_pr_7", "-1"]
)
def test_no_spelling_of_another(operator: Operator, spelling: str) -> None:
    """Nothing but a preview's own id drops anything."""
    make(operator, "7")
    before = operator.execute("select datname from pg_database order by 1")

    operator.run("previews", "--service", RPG, f"--drop={spelling}", "--yes", "--force")

    assert operator.execute("select datname from pg_database order by 1") == before


def test_a_mark_of_another(operator: Operator) -> None:
    """A database whose mark is not its name's stays, and so does one without any."""
    make(operator, "7", preview="8")
    operator.execute(f"create database {RPG_DB}_pr_9")

    for number in ("7", "9"):
        found = operator.run("previews", "--service", RPG, "--drop", number, "--yes", "--json")
        assert found.code == 5
        [failed] = [row["failure"] for row in found.json["previews"] if row["failure"]]
        assert "has the name of a preview's, but not its mark" in failed["message"]
    assert set(results(operator, "--drop-older-than", "0d").values()) == {"kept"}
    assert len(there(operator)) == 2


def test_a_database_that_a_row_claims(operator: Operator) -> None:
    """A service's own database stays whatever its name and its comment say."""
    own = make(operator, "7")
    registry = operator.registry((RPG, RPG_DB, []), ("odd", own, []))

    found = operator.run(
        "previews", "--service", RPG, "--drop", "7", "--yes", "--json", environ=registry
    )

    assert found.json["previews"] == []
    assert there(operator) == [own]


def test_old_ones(operator: Operator) -> None:
    """By the mark's time; one in use stays without --force, one from the future too."""
    make(operator, "7")
    make(operator, "8", at=RECENT)
    make(operator, "9", SSO)

    with client(operator, f"{SSO_DB}_pr_9"):
        found = operator.run("previews", "--drop-older-than", "7d", "--yes", "--json")
        assert found.code == 0
        assert {row["database"]: row["result"] for row in found.json["previews"]} == {
            f"{RPG_DB}_pr_7": "dropped",
            f"{RPG_DB}_pr_8": "kept",
            f"{SSO_DB}_pr_9": "in use",
        }
        assert results(operator, "--drop-older-than", "12h", "--force") == {
            f"{RPG_DB}_pr_8": "kept",
            f"{SSO_DB}_pr_9": "dropped",
        }
    for age in ("7", "d", "-1d", "1w", "7 d"):
        assert operator.run("previews", f"--drop-older-than={age}").code == 2


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("7\n123\n", ["7"]),
        ('[{"number": 7}, {"number": 123}]', ["7"]),
        ("[7, 8]", ["7", "8"]),
        ("[]", []),
    ],
)
def test_closed_ones(operator: Operator, text: str, left: list[str]) -> None:
    """All but those in the file; Dokploy's, which have no number, stay."""
    for number in ("7", "8", "ab12cd"):
        make(operator, number)
    (operator.directory / "open").write_text(text)

    results(operator, "--service", RPG, "--drop-closed", "open")

    assert there(operator) == [f"{RPG_DB}_pr_{each}" for each in (*left, "ab12cd")]


@pytest.mark.parametrize(
    "text", ["", " \n", "seven", "7,8", "[", '["x"]', '[{"id": 7}]', "null", None]
)
def test_a_file_that_is_no_answer(operator: Operator, text: str | None) -> None:
    """A tool that failed leaves an empty file, and must not drop every preview."""
    make(operator, "7")
    if text is not None:
        (operator.directory / "open").write_text(text)

    found = operator.run("previews", "--service", RPG, "--drop-closed", "open", "--yes")

    assert found.code == 3
    assert "gh pr list" in found.failed()["remedy"]
    assert there(operator) == [f"{RPG_DB}_pr_7"]


def test_one_in_use(operator: Operator) -> None:
    """It stays without --force, as does one in which a start is at work with it."""
    name = make(operator, "7")
    words = ("--service", RPG, "--drop", "7")

    with client(operator, name):
        found = operator.run("previews", *words, "--yes", "--json")
        assert found.code == 5
        [row] = found.json["previews"]
        assert "is being accessed by other users (55006)" in row["failure"]["message"]
        assert "--force" in row["failure"]["remedy"]
    with client(operator, name, "entrypoint/rpg/host/push-1"):
        found = operator.run("previews", *words, "--force", "--yes", "--json")
        [row] = found.json["previews"]
        assert (
            "the start 'entrypoint/rpg/host/push-1' is at work in it" in row["failure"]["message"]
        )
        assert there(operator) == [name]
    with client(operator, name):
        assert results(operator, *words, "--force") == {name: "dropped"}


def test_a_preview_that_starts_again_meanwhile(operator: Operator) -> None:
    """Somebody thinks for long before the yes, and the name is another database's by then."""
    name = make(operator, "7")
    where = server.find(Environment({b"DATABASE_URL": operator.url.encode()}), None, [], [])

    def agree(_: object) -> None:
        operator.execute(f"drop database {name}")
        make(operator, "7", at="2026-11-30T12:00:00Z")

    answer = previews.drop(where, previews.Choice(["7"]), agree, dry_run=False)

    [row] = answer.previews
    assert row.failure
    assert "or its preview has started again" in row.failure.message
    assert there(operator) == [name]


@pytest.mark.parametrize(
    "mark",
    [
        {"branch": []},
        {"branch": 0},
        {"branch": "x" * 5_000_000},
        {"at": "soon"},
        {"at": "2026-13-01T00:00:00Z"},
        {"at": None},
        {"preview": 7},
        {"more": "x"},
    ],
    ids=lambda mark: str(mark)[:30],
)
def test_marks_that_no_start_wrote(operator: Operator, mark: dict[str, object]) -> None:
    """An owner may write anything there; the others are listed and dropped all the same."""
    name = make(operator, "8")
    make(operator, "7")
    data = {"service": RPG, "preview": "7", "branch": None, "at": OLD, **mark}
    line = json.dumps({"v": 2, "pushes": [], "seeds": {}, "preview": data})
    operator.execute(f"comment on database {RPG_DB}_pr_7 is 'entrypoint:{line}'")

    found = operator.run("previews", "--json")
    assert found.code == 0
    assert len(found.out) < 10_000
    assert results(operator, "--service", RPG, "--drop", "8")[name] == "dropped"


def test_a_template(operator: Operator) -> None:
    """It is listed, counts, and stays: the server drops none."""
    name = make(operator, "7")
    operator.execute(f"alter database {name} is_template true")
    try:
        found = operator.run("previews", "--service", RPG, "--drop", "7", "--yes", "--json")
        assert found.code == 5
        assert "cannot drop a template" in found.json["previews"][0]["failure"]["message"]
    finally:
        operator.execute(f"alter database {name} is_template false")


def test_an_owner_that_holds_a_lock(operator: Operator) -> None:
    """The command waits for some seconds, and does the others."""
    make(operator, "7")
    name = make(operator, "8")
    with psycopg.connect(operator.url) as owner:
        owner.execute(f"comment on database {RPG_DB}_pr_7 is 'x'".encode())
        done = results(operator, "--service", RPG, "--drop", "7", "--drop", "8")
        owner.rollback()
    assert done == {f"{RPG_DB}_pr_7": "failed", name: "dropped"}


@pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_strangers_function_behind_a_pooler(operator: Operator, mode: str) -> None:
    """A pooler's session looks into public first, where anybody may put a function of a name."""
    make(operator, "7")
    url = create_role(operator.server, "mallory")
    operator.execute("grant connect on database postgres to mallory")
    operator.execute("grant create, usage on schema public to mallory")
    try:
        with psycopg.connect(url) as mallory:
            mallory.execute(
                "create function public.shobj_description(oid, text) returns text language plpgsql"
                " as $$ begin execute 'alter role mallory superuser'; return null; end $$"
            )
        users = {operator.server.superuser: operator.server.password}
        pooler = Pooler(operator.server, mode=mode, auth="scram-sha-256", users=users)
        with pooler:
            where = {"DATABASE_URL": pooler.url()}
            for words in (
                ("previews",),
                ("previews", "--service", RPG, "--drop", "7", "--force", "--yes"),
                ("create", "--service", RPG),
                ("verify",),
                ("status",),
            ):
                operator.run(*words, environ=where)
            with psycopg.connect(pooler.url()) as client:
                assert client.execute("show statement_timeout").fetchall() == [("0",)]
        assert there(operator) == []
        query = "select rolsuper from pg_roles where rolname = 'mallory'"
        assert operator.execute(query) == [(False,)]
    finally:
        operator.execute("drop owned by mallory; drop role mallory")


def test_the_page(operator: Operator) -> None:
    """The lines of the page, with a forge that knows of one open pull request."""
    for number in ("7", "8", "9"):
        make(operator, number, at=RECENT)
    gh = operator.directory / "gh"
    gh.write_text("#!/bin/sh\necho '[{\"number\": 9}]'\n")
    gh.chmod(0o755)
    found = [each for each in blocks(page("docs/how-to/previews")) if "test_the_page" in each.above]
    path = f"{operator.directory}:{Path(sys.executable).parent}:{os.environ['PATH']}"

    for line in "".join(each.text for each in found).splitlines():
        answered = f"{line} --yes" if "--drop 7" in line else line  # nobody is at a terminal
        environ = {"PATH": path, "DATABASE_URL": operator.url}
        subprocess.run(["sh", "-c", answered], env=environ, cwd=operator.directory, check=True)

    assert there(operator) == [f"{RPG_DB}_pr_9"]


def test_nobody_agrees(operator: Operator) -> None:
    """Without a terminal and without --yes nothing goes."""
    name = make(operator, "7")

    found = operator.run("previews", "--service", RPG, "--drop", "7")

    assert found.code == 5
    assert found.failed()["error"] == "the operator did not agree; nothing was dropped"
    assert there(operator) == [name]


def test_a_role_that_may_not(operator: Operator) -> None:
    """It sees what is there, and drops nothing of another's."""
    name = make(operator, "7")
    url = create_role(operator.server, "previewer")
    try:
        operator.execute("grant connect on database postgres to previewer")
        words = ("previews", "--server", url, "--json")
        [row] = operator.run(*words).json["previews"]
        assert (row["database"], row["size_bytes"]) in [(name, None), (name, row["size_bytes"])]
        found = operator.run(*words, "--service", RPG, "--drop", "7", "--yes")
        assert found.code == 5
        assert "must be owner" in found.json["previews"][0]["failure"]["message"]
    finally:
        operator.execute("drop owned by previewer; drop role previewer")
    assert there(operator) == [name]
