"""Pushes that say one thing and do another: none is believed, and no service starts on it."""

from __future__ import annotations

import json
import shlex
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.support.program import CONNECT, PROGRAMS, Program, python, toml, until
from tests.support.stage import Stage, service

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DONE = "[✓] Changes applied"
"""What drizzle-kit says when it is done."""

SWORDS = [
    "sql",
    "create table if not exists rpg_items (id int, name text)",
    "sql",
    "insert into rpg_items select id, 'sword' from generate_series(1, 3) id",
]
OTHERS = ["sql", "create table others as select 1 as id"]
DROP = "drop table rpg_items"

QUICK = (str(PROGRAMS / "quick.py"),)


def superuser(stage: Stage) -> None:
    """The service's own URL is a superuser's."""
    stage.environ["DATABASE_URL"] = stage.server.url(stage.database)


def admin(stage: Stage) -> None:
    """The superuser is ENTRYPOINT_ADMIN_URL's."""
    stage.environ["ENTRYPOINT_ADMIN_URL"] = stage.server.url()


MIGHTY = pytest.mark.parametrize("who", [superuser, admin])


def release(stage: Stage, name: str, *words: str) -> None:
    """Another release, whose push does these words."""
    stage.environ["ENTRYPOINT_RELEASE"] = name
    stage.push = python("push", *words)


def pushed(stage: Stage, *words: str) -> None:
    """A first release is pushed; the next start is that of a second one."""
    release(stage, "v1", *words)
    believed(stage.start(command="prepare"))
    release(stage, "v2")


def registered(stage: Stage, *prefixes: str) -> None:
    """The service is in a registry, with prefixes for its tables."""
    row: dict[str, object] = {"database": stage.database, "prefixes": list(prefixes)}
    (stage.directory / "services.toml").write_text(toml({"demo": row}))
    stage.environ["ENTRYPOINT_SERVICES"] = "services.toml"


def believed(program: Program) -> dict[str, Any]:
    """It ended well, and pushed; its `push.finished`."""
    assert program.wait() == 0, program.output
    return program.one("push.finished")


def refused(program: Program) -> dict[str, Any]:
    """Exit 7, no seed and no service; its `push.failed`, whose code and remedy are there."""
    assert program.wait() == 7, program.output
    assert not {"push.finished", "seed.started", "handoff.executed"} & set(program.names())
    assert program.stdout == b""
    failure = program.one("push.failed")
    assert failure["exit_code"] == 7
    assert failure["remedy"]
    return failure


def lasting(stage: Stage, *argv: str) -> dict[str, Any]:
    """The same at the second start and the third; the first one's `push.failed`."""
    first, *_ = [refused(stage.start(*argv)) for _ in range(3)]
    return first


def swords(stage: Stage) -> int:
    """How many rows there are to lose."""
    with stage.connect() as connection:
        return connection.execute("select from rpg_items").rowcount


def recorded(stage: Stage) -> dict[str, Any]:
    """The ledger as it stands in the database's comment."""
    with stage.connect() as connection:
        query = "select shobj_description(oid, 'pg_database') from pg_database where datname = %s"
        row = connection.execute(query, [stage.database]).fetchone()
    ledger: dict[str, Any] = json.loads(((row and row[0]) or "{}").removeprefix("entrypoint:"))
    return ledger


@pytest.mark.long
def test_a_push_that_does_nothing_on_an_empty_database(stage: Stage) -> None:
    """Exit code 0 is no table."""
    stage.push = CONNECT
    failure = lasting(stage, *service())

    assert "there is no table in the database" in failure["error"]
    assert (failure["returncode"], failure["tables"]) == (0, 0)
    assert (failure["output"], failure["catalog"]) == ("not recognised", "unchanged")


@pytest.mark.long
def test_a_push_with_nothing_to_do(stage: Stage) -> None:
    """On a schema that is there, inputs may change and a push may change nothing."""
    pushed(stage)
    program = stage.start()
    said = believed(program)

    assert program.one("push.started")["reason"] == "changed"
    assert (said["catalog"], said["tables"]) == ("unchanged", 2)


def test_success_in_words_only(stage: Stage) -> None:
    """The exit code outweighs the tool's word."""
    stage.push = python("push", "say", DONE, "exit", "1")
    failure = lasting(stage, *service())

    assert failure["error"] == "the push command exited with code 1"
    assert failure["output"] == "drizzle-kit: succeeded"
    assert failure["catalog"] == "changed"


def test_an_error_after_the_success(stage: Stage) -> None:
    """The last word outweighs exit code and success, and is quoted."""
    problem = 'error: column "label" cannot be cast automatically to type integer'
    stage.push = python("push", "say", DONE, "say", problem)
    failure = lasting(stage, *service())

    assert failure["returncode"] == 0
    assert failure["output"] == f"drizzle-kit reported an error: {problem}"
    assert failure["error"] == f"the push command exited with code 0, but {failure['output']}"
    assert failure["tail"] == [DONE, problem]


@MIGHTY
def test_a_hidden_drop_is_refused(stage: Stage, who: Callable[[Stage], None]) -> None:
    """The guard knows that it refused, even if the push hides it and exits 0."""
    who(stage)
    pushed(stage, *SWORDS)
    release(stage, "v2", "try", DROP, "say", DONE)
    program = stage.start(*service())
    failure = refused(program)

    assert program.one("guard.armed")["tables"] == 3
    assert "that its lines do not name; no row is lost" in failure["error"]
    assert "ENTRYPOINT_ALLOW_LOSS" in failure["remedy"]
    assert swords(stage) == 3
    assert "push.loss_found" not in program.names()


@MIGHTY
def test_a_refusal_names_the_table_and_the_remedy(
    stage: Stage, who: Callable[[Stage], None]
) -> None:
    """What the remedy says lets the same push through, and what it cost is told."""
    who(stage)
    pushed(stage, *SWORDS)
    release(stage, "v2", "tell", DROP)
    failure = lasting(stage, *service())

    assert "would lose the rows of rpg_items; no row is lost" in failure["error"]
    assert "ENTRYPOINT_ALLOW_LOSS=rpg_items " in failure["remedy"]
    assert swords(stage) == 3

    stage.environ["ENTRYPOINT_ALLOW_LOSS"] = "rpg_items"
    program = stage.start()
    believed(program)
    lost = program.one("push.loss_found")
    assert (lost["level"], lost["tables"], lost["rows"]) == (
        "warning",
        ["rpg_items"],
        {"rpg_items": 3},
    )


def test_a_drop_that_nothing_could_refuse(stage: Stage) -> None:
    """A role that is no superuser has no guard: the loss is told and recorded, and ends it."""
    pushed(stage, *SWORDS)
    release(stage, "v2", "sql", DROP, "say", DONE)
    program = stage.start(*service())
    failure = refused(program)

    assert "lost the rows of rpg_items, and no guard could refuse it" in failure["error"]
    assert "ENTRYPOINT_ADMIN_URL" in failure["remedy"]
    unavailable = program.one("guard.not_armed")
    assert unavailable["level"] == "warning"
    assert unavailable["remedy"]
    lost = program.one("push.loss_found")
    assert (lost["level"], lost["tables"], lost["rows"]) == (
        "warning",
        ["rpg_items"],
        {"rpg_items": 3},
    )
    ledger = recorded(stage)
    assert [losses["lost"] for losses in ledger["losses"]] == [
        ["3 rows of rpg_items", "table rpg_items"]
    ]
    assert [push["releases"] for push in ledger["pushes"]] == [["v1"]]


def test_a_loss_that_is_only_told(stage: Stage) -> None:
    """`push.on_loss = "warn"` has no guard and no refusal, also for a superuser."""
    superuser(stage)
    pushed(stage, *SWORDS)
    release(stage, "v2", "sql", DROP)
    stage.sections["push"] = {"on_loss": "warn"}
    program = stage.start()
    believed(program)

    assert program.one("push.loss_found")["tables"] == ["rpg_items"]
    assert [name for name in program.names() if name.startswith("guard.")] == []


@pytest.mark.parametrize("word", ["tell", "try"])
def test_a_truncate_is_refused_for_any_role(stage: Stage, word: str) -> None:
    """The owner of a table may guard it against TRUNCATE, whether it is told or hidden."""
    pushed(stage, *SWORDS)
    release(stage, "v2", word, "truncate rpg_items")
    program = stage.start(*service())

    if word == "tell":
        failure = refused(program)
        assert "the rows of rpg_items; no row is lost" in failure["error"]
    else:
        program.wait()
    assert swords(stage) == 3
    assert "push.loss_found" not in program.names()


def test_a_table_that_is_not_the_services(stage: Stage) -> None:
    """One without its prefixes is told apart from its own."""
    registered(stage, "rpg_", "runs")
    pushed(stage, *SWORDS, *OTHERS)
    release(stage, "v2", "sql", "drop table others", "sql", DROP)
    program = stage.start(*service())
    failure = refused(program)

    assert {"others,", "rpg_items,"} < set(failure["error"].split())
    lost = program.one("push.loss_found")
    assert lost["tables"] == ["others", "rpg_items"]
    assert lost["foreign_tables"] == ["others"]


def test_an_empty_table_that_is_not_the_services(stage: Stage) -> None:
    """Nothing of value is lost with it: told, and no more."""
    registered(stage, "rpg_", "runs")
    pushed(stage, "sql", "create table others (id int)")
    release(stage, "v2", "sql", "drop table others")
    program = stage.start()
    believed(program)

    lost = program.one("push.loss_found")
    assert (lost["level"], lost["foreign_tables"]) == ("info", ["others"])
    assert "rows" not in lost


def test_no_table_of_the_services(stage: Stage) -> None:
    """A push into the wrong database leaves tables, but none with the service's prefix."""
    registered(stage, "shop_")
    failure = lasting(stage, *service())

    assert "no table whose name begins with shop_ in the database" in failure["error"]
    assert failure["tables"] == 2


def test_a_prefix_is_literal(stage: Stage) -> None:
    """Its `_` is a letter, so that rpgs is not rpg_."""
    registered(stage, "rp__")
    assert "begins with rp__ " in lasting(stage, *service())["error"]


@pytest.mark.parametrize("code", [0, 3])
def test_a_push_that_closes_its_pipes(stage: Stage, code: int) -> None:
    """The start waits for it all the same, and judges it by its end."""
    words = ["say", "bye", "close-pipes", "sql", "create table rpg_on (id int)"]
    stage.push = python("push", *words, "wait-for", str(stage.gate), "exit", str(code))
    program = stage.start(*service())
    program.until("push.printed", line="bye")
    query = "select from pg_class where relname = 'rpg_on'"
    until(lambda: exists(stage, query), "the push goes on without its pipes")
    assert "push.failed" not in program.names()
    stage.gate.touch()

    if code:
        assert refused(program)["returncode"] == code
    else:
        believed(program)


def exists(stage: Stage, query: str) -> bool:
    with stage.connect() as connection:
        return connection.execute(query).rowcount > 0


def test_half_a_line_and_silence(stage: Stage) -> None:
    """A push that hangs is ended at push.timeout, and its last words are not lost."""
    stage.push = python("push", "say", "one", "half", "Is rpg_items renamed to", "hang")
    stage.sections["push"] = {"timeout": 1}
    program = stage.start(*service())
    failure = refused(program)

    assert failure["tail"] == ["one", "Is rpg_items renamed to"]
    assert failure["returncode"] == -15
    assert "did not finish within 1 s" in failure["error"]
    assert stage.sessions() == []


def test_a_push_that_ignores_sigterm(stage: Stage) -> None:
    """It is killed, and so is what it says of success."""
    stage.push = python("push", "ignore-sigterm", "say", DONE, "hang")
    stage.sections["push"] = {"timeout": 1}
    failure = refused(stage.start(*service(), launcher=QUICK))

    assert failure["returncode"] == -9
    assert stage.sessions() == []


def test_a_push_that_quotes_the_password(stage: Stage) -> None:
    """What is quoted of its lines is masked in the error, the output and the tail."""
    # One pipe: what is said in two is read in either order.
    script = 'echo "Reading config file"; echo "error: no way to $DATABASE_URL"; exit 0'
    stage.push = ["sh", "-c", f"exec 2>&1; {shlex.join(python('push', 'say-url'))}; {script}"]
    program = stage.start(*service())
    failure = refused(program)

    for quote in (failure["error"], failure["output"], failure["tail"][-1]):
        assert "error: no way to " in quote
        assert "****" in quote
    for canary in (stage.password, "p%40ss%2Fword%231%25", "ss/word", "ss%2Fword"):
        assert canary not in program.output


INDEX = "create unique index concurrently rpg_items_name on rpg_items (name)"
NOT_VALID = "alter table rpg_items add constraint cheap check (id < 3) not valid"
BROKEN = [
    pytest.param(INDEX, "rpg_items_name", id="index"),
    pytest.param(NOT_VALID, "rpg_items.cheap", id="constraint"),
]


def test_what_is_left_half_made(stage: Stage) -> None:
    """Exit code 0 and a success do not make an index valid."""
    pushed(stage, *SWORDS)
    release(stage, "v2", "try", INDEX, "say", DONE)
    failure = lasting(stage, *service())

    assert "left invalid: " in failure["error"]
    assert failure["error"].endswith("rpg_items_name")
    assert failure["catalog"] == "changed"
    assert [push["releases"] for push in recorded(stage)["pushes"]] == [["v1"]]


@pytest.mark.parametrize(("statement", "_name"), BROKEN)
def test_what_was_half_made_before(stage: Stage, statement: str, _name: str) -> None:
    """It is not held against a push that did not make it."""
    pushed(stage, *SWORDS)
    with stage.connect() as connection, suppress(psycopg.errors.UniqueViolation):
        connection.execute(statement.encode())
    release(stage, "v2", "say", DONE)

    believed(stage.start())


def test_what_nobody_enforces_is_whole(stage: Stage) -> None:
    """A constraint that is NOT ENFORCED (PostgreSQL 18) was never to be validated."""
    pushed(stage, *SWORDS)
    with stage.connect() as connection:
        enforced = "not enforced" if connection.info.server_version >= 180000 else ""
    statement = f"alter table rpg_items add constraint some check (id > 0) {enforced}"
    release(stage, "v2", "try", statement, "say", DONE)

    believed(stage.start())


@pytest.mark.parametrize(
    ("patterns", "words", "output"),
    [
        ({"success": "^all (done|well)"}, ["say", "all done"], "push.success: succeeded"),
        ({"success": "done"}, ["say", "Reading config file", "say", "done"], "push.success: succ"),
        ({"failure": "broke"}, ["say", DONE], "drizzle-kit: succeeded"),
        ({"failure": "broke"}, ["say", "nothing to tell"], "not recognised"),
    ],
)
def test_words_of_the_services_own(
    stage: Stage, patterns: dict[str, object], words: list[str], output: str
) -> None:
    """`push.success` stands in for the known tools' words, `push.failure` stands beside them."""
    stage.sections["push"] = patterns
    stage.push = python("push", *words)

    assert believed(stage.start())["output"].startswith(output)


@pytest.mark.parametrize(
    ("patterns", "words", "output"),
    [
        ({"success": "done"}, ["say", "all well"], "no line matches push.success"),
        ({"success": "done"}, ["say", DONE], "no line matches push.success"),
        ({"failure": "broke"}, ["complain", "it broke"], "push.failure: it broke"),
        ({"failure": "broke"}, ["say", "broke", "say", DONE], "push.failure: broke"),
        (
            {"success": "done", "failure": "broke"},
            ["say", "broke", "say", "done"],
            "push.failure: broke",
        ),
    ],
)
def test_words_of_the_services_own_that_do_not_hold(
    stage: Stage, patterns: dict[str, object], words: list[str], output: str
) -> None:
    """Without its own success a push has failed, and its own failure wins over everything."""
    stage.sections["push"] = patterns
    stage.push = python("push", *words)
    failure = lasting(stage, *service())

    assert failure["output"] == output
    assert failure["error"] == f"the push command exited with code 0, but {output}"


def test_the_next_start_after_a_lie_pushes_again(stage: Stage) -> None:
    """Nothing is recorded for what was not proved; what is corrected is believed and recorded."""
    lie: Sequence[str] = ("say", DONE, "say", "error: half way")
    release(stage, "v1", *lie)
    for _ in range(2):
        program = stage.start(*service())
        refused(program)
        assert program.one("push.started")["reason"] == "first"
        assert recorded(stage) == {}

    release(stage, "v1", "say", DONE)
    believed(stage.start())
    assert [push["releases"] for push in recorded(stage)["pushes"]] == [["v1"]]
    warm = stage.start()
    assert warm.wait() == 0
    assert warm.one("push.skipped")["reason"] == "unchanged"
    assert len(stage.runs("push")) == 3


@pytest.mark.parametrize("end", ["\\r", "\\033[2K\\033[1G"])
@pytest.mark.parametrize(("word", "code"), [(DONE, 0), ("error: no", 7)])
def test_progress_on_one_line(stage: Stage, end: str, word: str, code: int) -> None:
    """However long a push draws its progress, what it says behind that on the same line counts."""
    frames = f"while [ $i -lt 9000 ]; do printf 'working on it {end}'; i=$((i+1)); done"
    push = shlex.join(python("push", "say", "Reading config file"))
    stage.push = ["sh", "-c", f"{push}; i=0; {frames}; echo '{word}'"]
    program = stage.start(*service())

    assert program.wait() == code, program.output
    told = program.one("push.failed" if code else "push.finished")
    assert told["output"].endswith(word if code else "succeeded")
    assert len(program.all("push.printed")) < 10


def peak(program: Program, step: str) -> int:
    """The kilobytes that the start said to have had at most."""
    lines = [event["line"] for event in program.all(f"{step}.printed")]
    return next(int(line.removeprefix("peak ")) for line in lines if line.startswith("peak "))


def test_a_flood(stage: Stage) -> None:
    """200 MB of output make neither a log nor a process of that size, and do not stop a start."""
    stage.push = python("push", "say-peak", "flood-mb", "200", "say", "the end")
    stage.seed = python("seed", "{tenant_id}", "say-peak")
    program = stage.start()

    assert program.wait(timeout=100) == 0
    assert len(program.all("push.printed")) == 10_000
    cut = program.one("push.output_truncated")
    assert cut["lines_logged"] == 10_000
    assert cut["lines"] > 100_000
    assert len(program.stderr) < 10_000_000
    assert peak(program, "seed") < peak(program, "push") + 32 * 1024


def test_a_daemon_is_gone_before_the_seed(stage: Stage) -> None:
    """One that left group, session and parent is ended with its server session."""
    path = str(stage.directory / "daemon")
    stage.push = python("push", "escape", path, "say", DONE)
    stage.seed = python("seed", "{tenant_id}", "witness", path)
    program = stage.start()
    believed(program)

    assert "daemon dead, 0 sessions" in [event["line"] for event in program.all("seed.printed")]


def test_the_statement_of_a_daemon_is_not_left_waiting(stage: Stage) -> None:
    """Its DDL, which waits for a table under a name of its own, never comes to pass."""
    pushed(stage, *SWORDS)
    stage.environ |= {
        "DATABASE_URL": f"{stage.url}?application_name=mine",
        "PGOPTIONS": "-c client_connection_check_interval=0",
        "ENTRYPOINT_SKIP": "seed",
    }
    stage.sections["push"] = {"on_loss": "warn"}  # a guard would wait for the table
    path = str(stage.directory / "daemon")
    words = ["ready", "wait-for", str(stage.gate), "escape-to", path]
    release(stage, "v2", *words, "alter table rpg_items add column late int", "ready")
    with stage.connect() as blocker:
        program = stage.start()
        program.until("push.printed")
        blocker.execute("begin; lock table rpg_items in share mode")
        stage.gate.touch()
        believed(program)
        assert len(program.all("push.printed")) == 2
        assert program.one("push.sessions_ended")["count"] == 1
        blocker.execute("commit")
    assert [row for row in stage.sessions() if row[1] == "mine"] == []
    assert not exists(stage, "select from pg_attribute where attname = 'late'")
