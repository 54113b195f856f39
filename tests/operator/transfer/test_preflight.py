"""What a transfer tells of two databases that are not alike, of hidden rows, and of its course."""

from __future__ import annotations

import json
import os
import pty
import sys
from typing import TYPE_CHECKING, Any

import pytest

from entrypoint import log
from entrypoint.transfer.progress import Progress
from tests.operator.conftest import Answer, answer, create_role
from tests.operator.transfer.conftest import PHASES, RPG, RPG_DB, SMALL, World
from tests.operator.transfer.test_graph import planned
from tests.support.program import until

if TYPE_CHECKING:
    from pathlib import Path

SSO = "gaqno-sso-service"

ENCODING = "select pg_encoding_to_char(encoding), datcollate from pg_database where datname = '{}'"

BIG = """
create table rpg_big (id int primary key, v text, b bytea);
insert into rpg_big select 1, string_agg(md5(i::text), E';\\n\\\\.\\n'), null
from generate_series(1, 1400000) i;
update rpg_big set b = convert_to(v, 'utf8')
"""
"""Two values of more than 50 MB, full of what ends a COPY and a statement."""


def test_another_encoding_is_agreed_to_first(small: World) -> None:
    """The empty database that is there has another one: it is told, and replaced if agreed."""
    small.sql(
        f"create database {RPG_DB} template template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'C'"
    )
    refused = small.transfer()
    assert refused.code == 10
    assert refused.obstacles == ["encoding"]
    assert "LATIN1" in refused.failed()["error"]
    small.moved("--allow", "encoding")
    assert small.sql(ENCODING.format(RPG_DB)) == small.sql(ENCODING.format("postgres"))


def test_forced_row_security_needs_a_role_that_sees_all(small: World) -> None:
    """Rows that a policy hides from their owner would be lost: refused, whatever is agreed to."""
    small.sql("drop table rpg_items, dnd_rolls")
    url = create_role(small.server, "rpg_owner", "createdb")
    small.sql("grant create on database postgres to rpg_owner")
    small.sql(
        "create table rpg_secret (id int); insert into rpg_secret values (1), (2);"
        "alter table rpg_secret owner to rpg_owner;"
        "alter table rpg_secret enable row level security, force row level security;"
        "create policy rpg_p on rpg_secret using (id > 1)"
    )
    environ = {"DATABASE_URL": url}
    refused = small.transfer("--allow", "rls:rpg_secret", environ=environ)
    assert refused.code == 10
    assert refused.obstacles == ["rls:rpg_secret"]
    assert "BYPASSRLS" in refused.failed()["remedy"]
    assert small.databases() == {"postgres"}
    small.sql("alter role rpg_owner bypassrls")
    assert small.transfer(environ=environ).code == 0
    assert small.value("select count(*) from rpg_secret", RPG_DB) == 2


def test_values_of_fifty_megabytes_arrive_as_they_are(small: World) -> None:
    """Text and bytes, with the signs that end a COPY or a statement in them."""
    small.sql(BIG)
    assert small.value("select length(v) > 50e6 from rpg_big") is True
    query = "select md5(v), md5(b), length(v), length(b) from rpg_big"
    before = small.sql(query)
    small.moved()
    assert small.sql(query, RPG_DB) == before


def test_a_terminal_sees_a_bar_for_each_phase(small: World) -> None:
    """On a terminal each phase has its bar, and a table of the answer follows."""
    ours, theirs = pty.openpty()
    environ = {**small.environ(), "PATH": os.environ["PATH"], "TERM": "xterm", "COLUMNS": "120"}
    environ["DATABASE_URL"] = small.server.url()
    argv = [sys.executable, "-I", "-m", "entrypoint", "transfer", RPG, "--yes"]
    actions = [(os.POSIX_SPAWN_DUP2, theirs, number) for number in (0, 1, 2)]
    pid = os.posix_spawn(argv[0], argv, environ, file_actions=actions)
    os.close(theirs)
    said = b""
    while True:
        try:
            more = os.read(ours, 1 << 16)
        except OSError:  # how a terminal whose other side is closed ends
            break
        said += more
    os.close(ours)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, said.decode()
    for phase in PHASES:
        assert phase.encode() in said
    assert "━".encode() in said
    assert b"rpg_items" in said


def test_an_event_tells_how_far_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    """Without a terminal, now and then, also where nothing is done: what it is at and how far."""
    log.configure(form="json", level="info")
    progress = Progress(every_s=0.2, total_bytes=100)
    said = ""

    def told() -> list[dict[str, Any]]:
        nonlocal said
        said += capfd.readouterr().err
        events = map(json.loads, said.splitlines())
        return [event for event in events if event["event"] == "transfer.progressed"]

    with progress.of("restore"):
        progress.advance(10)
        progress.advance(20)
        progress.at('INDEX "public.rpg_c"')
        until(lambda: len(told()) > 1, "two events")
    expected = {"phase": "restore", "tables": 2, "size_bytes": 30, "total_bytes": 100}
    expected["doing"] = 'INDEX "public.rpg_c"'
    for event in told()[:2]:
        assert {key: event[key] for key in expected} == expected
    ended = len(told())
    with progress.of("compare"):
        until(lambda: len(told()) > ended, "another event")
    assert {event["phase"] for event in told()[ended:]} == {"compare"}
    assert "doing" not in told()[-1]


def test_a_report_that_cannot_be_written_stops_it_before(small: World, tmp_path: Path) -> None:
    """A misspelt folder is told before anything is moved."""
    refused = small.transfer("--report", str(tmp_path / "missing" / "report.md"))
    assert refused.code == 10
    assert "--report" in refused.failed()["remedy"]
    assert (small.databases(), small.left()) == ({"postgres"}, [])


def test_a_report_that_fails_later_undoes_nothing(small: World) -> None:
    """A disk that is full at the end is told as a warning: what was moved is moved."""
    done = small.transfer("--report", "/dev/full")
    assert done.code == 0, done.err
    assert done.events[-1]["event"] == "transfer.report_not_written"
    assert small.value("select count(*) from rpg_items", RPG_DB) == 500


@pytest.mark.parametrize(
    "setting",
    [
        "quote_all_identifiers = on",
        "statement_timeout = 400",
        "idle_session_timeout = 400",
        "idle_in_transaction_session_timeout = 400",
    ],
)
def test_what_a_role_has_set_for_its_services_ends_nothing(small: World, setting: str) -> None:
    """A transfer with its rehearsal and its undo are done as if it were not set."""
    before = small.dump("postgres")
    small.sql(f"alter role postgres set {setting}")
    small.moved()
    undone = answer(
        small.operator.start("transfer", RPG, "--undo", "--yes", environ=small.environ())
    )
    assert undone.code == 0, undone.err
    small.sql("alter role postgres reset all")
    assert small.dump("postgres") == before
    assert small.left() == []


def test_a_service_does_not_move_out_of_its_own_database(small: World) -> None:
    """Nobody is told to stop sessions that are the transfer's own."""
    small.sql(f"create database {RPG_DB}")
    small.sql(SMALL, RPG_DB)
    failure = small.transfer("--from", RPG_DB).failed()
    assert "own database" in failure["error"]
    assert "--from" in failure["remedy"]
    assert failure["exit_code"] == 10
    assert small.transfer("--allow", "target").code == 0


def test_a_name_of_two_objects_moves_neither(small: World) -> None:
    """A bare name that is in two schemas is refused, and so is what goes with another only."""
    small.sql(
        "create schema game; create table game.notes (id serial); create table notes (id int)"
    )
    said = small.transfer("--with", "notes").failed()
    assert "game.notes, public.notes" in said["error"]
    assert said["exit_code"] == 10
    said = small.transfer("--with", "game.notes_id_seq").failed()
    assert "cannot move on its own" in said["error"]
    moved = small.moved("--with", "public.notes")
    assert {"notes"} == {each["object"] for each in moved["objects"]} & {"notes", "game.notes"}


def test_what_is_in_another_quarantine_is_called_so(small: World) -> None:
    """A second service's move names what needs it in the first one's; both can be undone."""
    small.sql("create table sso_log (item int references rpg_items)")
    before = small.dump("postgres")

    def sso(*words: str) -> Answer:
        environ = small.environ()
        return answer(small.operator.start("transfer", SSO, *words, "--yes", environ=environ))

    assert sso("--allow", "all").code == 0
    assert [*planned(small)] == ["quarantine:table moved_gaqno_sso_db_public.sso_log"]
    small.moved("--allow", "all")
    assert sso("--undo").code == 0
    undone = small.operator.start("transfer", RPG, "--undo", "--yes", environ=small.environ())
    assert answer(undone).code == 0
    assert small.dump("postgres") == before
