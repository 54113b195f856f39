"""The two rings of tests, as a plugin of pytest: `make test` runs one, `make test-all` both.

The long ring has what takes minutes and seldom fails alone: tests on an older PostgreSQL, tests
with the mark `long`, and, where tests start programs and servers, all but the first tests of a file
with their first parameters. A file opens with what its feature is known by, so the fast ring has a
test of every feature.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.versions import ALL

if TYPE_CHECKING:
    from collections.abc import Iterable

FIRST: Final = 2
"""Tests of a file that the fast ring has, where tests start programs and servers."""

OLDER: Final = set(ALL) - {max(ALL)}
"""Versions of PostgreSQL that only the long ring uses."""

_LEFT_OUT: Final = pytest.StashKey[int]()
"""How many tests of the long ring a run leaves out."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `make test` choose its ring."""
    told = "leave the long ring out, unless the command line names a path, or words with -k"
    parser.addoption("--fast", action="store_true", help=told)


def pytest_configure(config: pytest.Config) -> None:
    """Run the tests that somebody names, whatever their ring."""
    if config.args_source is pytest.Config.ArgsSource.ARGS or config.option.keyword:
        config.option.fast = False


@pytest.hookimpl(tryfirst=True)  # before pytest groups tests by their fixtures, and looks at -m
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests of the long ring; `--fast` leaves them out."""
    for item in _long(items):
        item.add_marker(pytest.mark.long)
    if config.option.fast:
        left_out = [item for item in items if item.get_closest_marker("long")]
        items[:] = [item for item in items if not item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)
        config.stash[_LEFT_OUT] = len(left_out)
    # Those that may take longest begin first: at the end, each would keep one worker of all.
    items.sort(key=_timeout_s, reverse=True)


def _timeout_s(item: pytest.Item) -> int:
    mark = item.get_closest_marker("timeout")
    return mark.args[0] if mark else 0


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let the controller of xdist know what a worker left out."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = session.config.stash.get(_LEFT_OUT, 0)


@pytest.hookimpl(optionalhook=True)  # xdist's
def pytest_testnodedown(node: Any) -> None:  # noqa: ANN401  xdist has no types
    """Keep what a worker left out: each one collects, and leaves out, the same."""
    node.config.stash[_LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", 0)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say what was left out, and how to run it."""
    if left_out := config.stash.get(_LEFT_OUT, 0):
        terminalreporter.line(f"The long ring has {left_out:,} tests more: make test-all")


def _long(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    found = []
    seen: defaultdict[pytest.Item | pytest.Collector | None, Counter[str]] = defaultdict(Counter)
    for item in items:
        if item.get_closest_marker("long"):
            continue
        long = _on_an_older(item)
        if not long and "tests/unit/" not in item.path.as_posix():
            of_file = seen[item.parent]
            test = item.name.partition("[")[0]
            of_file[test] += 1
            long = of_file[test] > 1 or len(of_file) > FIRST
        if long:
            found.append(item)
    return found


def _on_an_older(item: pytest.Item) -> bool:
    """Whether a parameter, or a part of one, is a version of PostgreSQL that is not the newest."""
    call = getattr(item, "callspec", None)
    return any(
        type(each) is int and each in OLDER
        for value in (call.params.values() if call else ())
        for each in (value if isinstance(value, tuple) else (value,))
    )
