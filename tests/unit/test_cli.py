"""The command line: what it understands, where it writes, and with which code it ends."""

from __future__ import annotations

import json
import re
import signal
from typing import Any, NoReturn

import pytest

from entrypoint import __version__, errors
from entrypoint.cli import main
from entrypoint.cli.parser import commands, parser
from entrypoint.config.environment import Environment
from entrypoint.errors import EntrypointError, ExecError, SettingsError, Terminated
from entrypoint.start import forecast, shapes
from entrypoint.start import run as start


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The container has no variables."""
    monkeypatch.setattr(Environment, "of_container", lambda: Environment({}))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The argv of every start, and ("prepare",) of every preparation; none happens."""
    calls: list[tuple[str, ...]] = []

    def run(argv: tuple[str, ...]) -> NoReturn:
        calls.append(argv)
        raise Terminated(signal.SIGTERM)

    monkeypatch.setattr(start, "run", run)
    monkeypatch.setattr(start, "prepare", lambda: calls.append(("prepare",)))
    return calls


@pytest.mark.parametrize(
    "arguments",
    [
        ["--unknown"],
        ["verify", "gaqno-rpg-service"],
        ["verify", "--service"],
        ["verify", "--watch"],
        ["create", "--ignore", "x"],
        ["status", "--strict"],
        ["status", "--watch", "0"],
        ["status", "--watch", "-1"],
        ["status", "--watch", "nan"],
        ["status", "--watch", "inf"],
        ["status", "--watch", "1e9"],
        ["status", "--watch", "often"],
        ["url"],
        ["url", "a", "b"],
        ["completion"],
        ["completion", "tcsh"],
        ["completion", "bash", "zsh"],
    ],
)
def test_usage_errors(
    capfd: pytest.CaptureFixture[str], started: list[tuple[str, ...]], arguments: list[str]
) -> None:
    """Wrong usage ends with 2, says so on stderr only, and starts nothing."""
    assert main.main(arguments) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("usage: entrypoint")
    assert "error:" in err
    assert started == []


@pytest.mark.parametrize("seconds", ["0", "1e9", "nan", "often", ""])
def test_seconds_between_two_looks(capfd: pytest.CaptureFixture[str], seconds: str) -> None:
    """What is no such number is told in words that a person understands."""
    assert main.main(["status", "--watch", seconds]) == 2
    assert "must be a number of seconds from 0.1 to 3600" in capfd.readouterr().err


@pytest.mark.parametrize("jobs", ["0", "65", "1.5", "many", ""])
def test_jobs_of_a_transfer(capfd: pytest.CaptureFixture[str], jobs: str) -> None:
    """The same for how many at once."""
    assert main.main(["transfer", "gaqno-rpg-service", "--jobs", jobs]) == 2
    assert "must be a number from 1 to 64" in capfd.readouterr().err


@pytest.mark.parametrize("command", ["create", "verify", "status", "url", "transfer"])
def test_operators_help(capfd: pytest.CaptureFixture[str], command: str) -> None:
    """Every operator's command shows where the server comes from, and examples that work."""
    assert main.main([command, "--help"]) == 0
    shown = " ".join(capfd.readouterr().out.split())
    assert "in --server, ENTRYPOINT_ADMIN_URL and DATABASE_URL, in this order" in shown
    assert shown.count(f" entrypoint {command}") >= 3
    words = shown.partition("examples: ")[2].partition(" exit codes")[0].split()
    ends = [index for index, word in enumerate(words) if word == "entrypoint"]
    for begin, end in zip(ends, [*ends[1:], len(words)], strict=True):
        line = [word for word in words[begin + 1 : end] if "=" not in word]
        parser().parse_args(line[: line.index(">>")] if ">>" in line else line)


@pytest.mark.parametrize(
    "arguments", [["verify"], ["status"], ["create"], ["url", "gaqno-rpg-service"]]
)
def test_an_operator_without_a_server(
    capfd: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """Nothing to look at is a wrong setting, under the command's own name."""
    assert main.main(arguments) == 3
    event = only_event(capfd)
    assert (event["event"], event["error"]) == (f"{arguments[0]}.failed", "no server is configured")


@pytest.mark.parametrize(
    ("arguments", "argv"),
    [
        (["run", "--", "node"], ("node",)),
        (["run", "--", "node", "--inspect", "x.js"], ("node", "--inspect", "x.js")),
        (["run", "--", "--", "x"], ("--", "x")),
        (["run", "--", "--help"], ("--help",)),
        (["run", "--", ""], ("",)),
        (["run", "--", "a", "--", "b"], ("a", "--", "b")),
        (["run", "node", "x.js"], ("node", "x.js")),
        (["run", "node", "--inspect"], ("node", "--inspect")),
        (["run", "--"], ()),
        (["run"], ()),
    ],
)
def test_service_s_words(
    capfd: pytest.CaptureFixture[str],
    started: list[tuple[str, ...]],
    arguments: list[str],
    argv: tuple[str, ...],
) -> None:
    """What follows -- is the service's, word for word."""
    assert main.main(arguments) == 143
    assert started == [argv]
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("arguments", [[], ["start"], ["RUN", "--", "node"], [""], ["-x"]])
def test_a_person_at_a_terminal_is_shown_the_usage(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """What a container is told by an event, who typed it is told by the list of commands."""
    monkeypatch.setattr(main, "_is_terminal", lambda _: True)
    assert main.main(arguments) == 2
    assert "usage: entrypoint" in capfd.readouterr().err


def test_the_commands_of_containers_are_those_of_people() -> None:
    """What is taken for a command of ours where one is missing is what the parser knows."""
    assert {*commands()} == {*shapes.COMMANDS}


def test_prepare(capfd: pytest.CaptureFixture[str], started: list[tuple[str, ...]]) -> None:
    """Preparing ends with 0 and writes nothing on stdout."""
    assert main.main(["prepare"]) == 0
    assert started == [("prepare",)]
    assert capfd.readouterr().out == ""


def test_every_help_has_examples_and_exit_codes() -> None:
    """Each command's, and the codes are those of an error."""
    known = {str(each.exit_code) for each in EntrypointError.__subclasses__()}
    known |= {"0", "1", str(forecast.WORK), "126", "127"}
    assert len(commands()) > 8
    for name, command in commands().items():
        epilog = command.epilog or ""
        assert f"examples:\n  entrypoint {name}" in epilog, name
        told = re.findall(r"^  (\d+) ", epilog.split("exit codes")[1], re.MULTILINE)
        assert told, name
        assert set(told) <= known, name


def test_version(capfd: pytest.CaptureFixture[str]) -> None:
    """The version is one line on stdout."""
    assert main.main(["--version"]) == 0
    assert capfd.readouterr() == (f"entrypoint {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--help"], ["run", "prepare", "entrypoint.toml"]),
        (["--help"], ["create", "verify", "status", "url", "completion"]),
        (["-h"], ["run", "prepare"]),
        (["run", "--help"], ["COMMAND"]),
        (["prepare", "--help"], ["usage: entrypoint prepare"]),
    ],
)
def test_help(capfd: pytest.CaptureFixture[str], arguments: list[str], words: list[str]) -> None:
    """Help is on stdout, because it was asked for."""
    assert main.main(arguments) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert [word for word in words if word not in out] == []


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def prepare() -> None:
        raise error

    monkeypatch.setattr(start, "prepare", prepare)


def only_event(capfd: pytest.CaptureFixture[str]) -> dict[str, Any]:
    out, err = capfd.readouterr()
    assert out == ""
    event: dict[str, Any] = json.loads(err)
    return event


@pytest.mark.parametrize(
    "error",
    [
        errors.UnreachableError("m", remedy="r"),
        errors.RefusedError("m", remedy="r"),
        errors.LockError("m", remedy="r"),
        errors.PushError("m", remedy="r"),
        errors.SeedError("m", remedy="r"),
        ExecError("m", code=126, remedy="r"),
        ExecError("m", code=127, remedy="r"),
        SettingsError(["m"], remedy="r"),
    ],
    ids=repr,
)
def test_failure(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: EntrypointError
) -> None:
    """Each expected failure is one event under its step's name, and ends with its code."""
    error.step, error.elapsed_s = "wait", 1.5
    failing(monkeypatch, error)
    assert main.main(["prepare"]) == error.exit_code
    event = only_event(capfd)
    del event["timestamp"]
    assert event == {
        "level": "error",
        "event": "wait.failed",
        "error": "m",
        "remedy": "r",
        "exit_code": error.exit_code,
        "elapsed_s": 1.5,
    }


def test_failure_with_fields(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an error carries is logged beside it, and cannot replace the exit code."""
    failing(monkeypatch, errors.RefusedError("m", remedy="r", sqlstate="28P01", exit_code=0))
    assert main.main(["prepare"]) == 5
    event = only_event(capfd)
    assert (event["event"], event["sqlstate"]) == ("entrypoint.failed", "28P01")
    assert event["exit_code"] == 5
    assert "elapsed_s" not in event


def test_several_problems(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong settings are all listed."""
    failing(monkeypatch, SettingsError(["A is wrong", "B is missing"], remedy="r"))
    assert main.main(["prepare"]) == 3
    event = only_event(capfd)
    assert event["problems"] == ["A is wrong", "B is missing"]
    assert event["error"] == "2 settings are missing or wrong"


def test_terminated(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal is a warning with its name, and ends with 128+n."""
    failing(monkeypatch, Terminated(signal.SIGTERM))
    assert main.main(["prepare"]) == 143
    event = only_event(capfd)
    assert (event["level"], event["event"]) == ("warning", "entrypoint.failed")
    assert (event["error"], event["exit_code"]) == ("ended by SIGTERM", 143)


def test_bug(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug of ours ends with 1 and its traceback, in which no URL's password is."""
    failing(monkeypatch, ZeroDivisionError("postgres://u:hunter2-pass@h/d"))
    assert main.main(["prepare"]) == 1
    event = only_event(capfd)
    assert event["event"] == "entrypoint.crashed"
    assert event["error"] == "ZeroDivisionError: postgres://u:****@h/d"
    assert "ZeroDivisionError" in event["traceback"]
    assert "hunter2" not in json.dumps(event)


@pytest.mark.parametrize(
    ("variables", "first"),
    [
        ({}, "{"),
        ({b"ENTRYPOINT_LOG_FORMAT": b"json"}, "{"),
        ({b"ENTRYPOINT_LOG_FORMAT": b"console"}, "2"),
        ({b"ENTRYPOINT_LOG_FORMAT": b"xml"}, "{"),
        ({b"ENTRYPOINT_LOG_LEVEL": b"loud"}, "{"),
    ],
)
def test_log_settings(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[bytes, bytes],
    first: str,
) -> None:
    """The log has its form before the settings are checked, even if they are wrong."""
    monkeypatch.setattr(Environment, "of_container", lambda: Environment(variables))
    failing(monkeypatch, SettingsError(["m"], remedy="r"))
    assert main.main(["prepare"]) == 3
    assert capfd.readouterr().err[0] == first
