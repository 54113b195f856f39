"""`--json` of a command that fails: stdout has an object that says why, as the log does."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.operator.conftest import RPG, RPG_DB, answer
from tests.support.program import until

if TYPE_CHECKING:
    from tests.operator.conftest import Answer, Operator

CANARY = "hunter2-canary"
COMMANDS = [["verify"], ["create"], ["status"], ["transfer", RPG]]


def failed(found: Answer, code: int) -> dict[str, Any]:
    """What stdout says of the failure, which is what the event says."""
    assert found.code == code
    assert found.json.keys() == {"format", "failed"}
    told: dict[str, Any] = found.json["failed"]
    event = found.failed()
    assert (told["error"], told["remedy"]) == (event["error"], event.get("remedy", ""))
    assert told["exit_code"] == event["exit_code"] == code
    assert told["details"].items() <= event.items()
    return told


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_a_server_that_says_no(operator: Operator, words: list[str]) -> None:
    """A wrong password, which is in no word of it."""
    url = operator.server.url("postgres", "postgres", CANARY)
    found = operator.run(*words, "--json", environ={"DATABASE_URL": url})
    failed(found, 5)
    assert CANARY not in found.out + found.err


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_a_server_that_is_not_there(operator: Operator, words: list[str]) -> None:
    """Nobody listens at its port."""
    url = f"postgresql://someone:{CANARY}@127.0.0.1:1/postgres"
    found = operator.run(*words, "--json", environ={"DATABASE_URL": url})
    failed(found, 4)
    assert CANARY not in found.out + found.err


def test_settings_that_are_wrong(operator: Operator) -> None:
    """All of them, as a list."""
    found = operator.run("verify", "--service", "x", "--json", environ={"DATABASE_URL": ""})
    told = failed(found, 3)
    assert [problem.split()[0] for problem in told["details"]["problems"]] == ["no", "the"]


def test_watching_a_server_that_says_no(operator: Operator) -> None:
    """Where there was no answer yet, it is a failure of the first one."""
    url = operator.server.url("postgres", "postgres", CANARY)
    found = operator.run("status", "--watch", "--json", environ={"DATABASE_URL": url})
    failed(found, 5)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["verify", "--json", "--flaw"], "unrecognized arguments: --flaw"),
        (["verify", "--service", "--json"], "argument --service: expected one argument"),
        (["status", "--js", "--watch", "0"], "argument --watch: must be a number of seconds from"),
        (["url", "a", "--json"], "unrecognized arguments: --json"),
        (["transfer", "--json"], "the following arguments are required: SERVICE"),
    ],
)
def test_wrong_usage(operator: Operator, words: list[str], error: str) -> None:
    """What argparse says on stderr is on stdout as an object, and `--help` helps."""
    found = operator.run(*words)
    assert found.code == 2
    told = found.json["failed"]
    assert told["error"].startswith(error)
    assert told["error"] in found.err
    assert (told["exit_code"], told["details"]) == (2, {})
    assert found.out.count("format") == 1
    help_ = told["remedy"].removeprefix("Read entrypoint ").removesuffix(".").split()
    assert operator.run(*help_).out.startswith("usage: entrypoint")


IMPORTING = """
import os, signal, sys
from importlib.abc import MetaPathFinder

class Finder(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == MODULE and not Finder.sent:
            Finder.sent = True
            os.kill(os.getpid(), signal.SIGTERM)

MODULE = sys.argv.pop(1)
Finder.sent = False
sys.meta_path.insert(0, Finder())
from entrypoint.__main__ import main
main()
"""


@pytest.mark.parametrize(
    "module",
    [
        "cli.main",
        "health.progress",
        "config.environment",
        "cli.parser",
        "cli.operate",
        "operator.render",
        "config.registry",
    ],
)
def test_a_signal_at_the_very_beginning(operator: Operator, module: str) -> None:
    """While a module is imported, whichever: it is told on both, as later."""
    words = f"entrypoint.{module}", "verify", "--json"
    found = answer(operator.start(*words, launcher=("-c", IMPORTING)))
    assert failed(found, 143)["error"] == "ended by SIGTERM"


def test_a_signal_before_the_first_look_of_a_watch(stranger: Operator) -> None:
    """There is no answer yet, so stdout has the failure."""
    with stranger.server.connect() as connection, connection.transaction():
        connection.execute("lock table pg_catalog.pg_database")
        program = stranger.start("status", "--watch", "--json")
        query = "select 1 from pg_locks where not granted and relation = 'pg_database'::regclass"
        until(lambda: connection.execute(query).fetchall(), "it waits for the catalog")
        program.process.send_signal(signal.SIGTERM)
        found = answer(program)
    assert failed(found, 143)["error"] == "ended by SIGTERM"


@pytest.mark.parametrize("command", ["verify", "status"])
def test_a_signal_does_not_wait_for_a_frozen_server(operator: Operator, command: str) -> None:
    """A process of the server's that does nothing any more is left alone at the first Ctrl-C."""
    find = (
        "select pid from pg_stat_activity where application_name = 'entrypoint/operator'"
        " and datname = %s and wait_event_type = 'Lock'"
    )
    with (
        operator.server.connect(RPG_DB) as holder,
        holder.transaction(),
        operator.server.connect() as looking,
    ):
        holder.execute("lock table pg_catalog.pg_depend")
        program = operator.start(command, "--json")
        pids: list[int] = []

        def waits() -> bool:
            pids.extend(pid for (pid,) in looking.execute(find, [RPG_DB]).fetchall())
            return bool(pids)

        until(waits, "it waits in the database", every_s=0.001)
        [pid] = pids
        os.kill(pid, signal.SIGSTOP)
        try:
            program.process.send_signal(signal.SIGINT)
            found = answer(program)
        finally:
            os.kill(pid, signal.SIGCONT)
    assert failed(found, 130)["error"] == "ended by SIGINT"


@pytest.mark.parametrize("command", ["verify", "url"])
def test_the_nearest_name(operator: Operator, command: str) -> None:
    """A service's name of which a word was left out: the remedy is to write it, and no server."""
    words = ["--service", "rpg"] if command == "verify" else ["rpg"]
    found = operator.run(command, *words)
    assert found.code == 3
    event = found.failed()
    assert event["error"] == f"the registry has no service 'rpg'; the nearest is {RPG}"
    assert event["remedy"] == "Use the name of a service in the registry."
    assert operator.run("url", RPG).code == 0


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal(stranger: Operator, signum: signal.Signals) -> None:
    """Who ends it gets the object, too."""
    with stranger.server.connect() as connection, connection.transaction():
        connection.execute("lock table pg_catalog.pg_database")
        program = stranger.start("verify", "--json")
        query = "select 1 from pg_locks where not granted and relation = 'pg_database'::regclass"
        until(lambda: connection.execute(query).fetchall(), "it waits for the catalog")
        program.process.send_signal(signum)
        found = answer(program)
    assert failed(found, 128 + signum)["error"] == f"ended by {signum.name}"


def tools(operator: Operator) -> dict[str, str]:
    """Those of the server's version."""
    return {"PG_BINDIR": str(operator.server.pg_bin)}


def test_a_refusal_has_the_plan(operator: Operator) -> None:
    """What stands in the way, the line that agrees to it, and that it was refused."""
    operator.execute(
        "create table rpg_x (id int primary key); create table sso_x (id int references rpg_x)"
    )
    found = operator.run("transfer", RPG, "--yes", "--json", environ=tools(operator))
    assert found.code == 10
    assert found.json["result"] == "refused"
    assert found.json["failed"]["error"] == found.failed()["error"]
    assert [each["name"] for each in found.json["obstacles"]] == found.obstacles
    [line] = found.json["next"]
    assert "--allow" in line


def test_an_answer_has_no_failure(operator: Operator) -> None:
    """Of what was done nothing failed."""
    operator.execute("create table rpg_x (id int primary key)")
    found = operator.run("transfer", RPG, "--dry-run", "--json", environ=tools(operator))
    assert (found.code, found.json["failed"]) == (0, None)
