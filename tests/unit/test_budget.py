"""How long a start can take at most, as it says itself and as the page on health checks says."""

from __future__ import annotations

import re
import tomllib
from inspect import signature
from typing import TYPE_CHECKING

import pytest
import yaml

from entrypoint.config import registry as services
from entrypoint.postgres import databases, guard, leftovers, lock, opening, session, sessions
from entrypoint.process import child
from entrypoint.start import (
    budget,
    database,
    extensions,
    misplaced,
    notify,
    seed_check,
    tenant,
    under_lock,
)
from tests.support import docs
from tests.support.manifests import ROOT
from tests.unit.test_endpoints import load

if TYPE_CHECKING:
    from pathlib import Path

PUSH, SEED = "[push]\ncommand = 'x'\n", "[seed]\nwhen = 'always'\ncommand = 'x'\n"
LOOKUP = "tenant_lookup = { url = 'http://s/', timeout = 8 }\n"


@pytest.mark.parametrize(
    ("toml", "variables", "waits"),
    [
        ("", {}, {"server": 407}),
        (
            "[database]\nextensions = ['x']",
            {},
            {"server": 407, "lock": 917, "queries": 60, "extensions": 428, "connection": 6},
        ),
        (
            PUSH + SEED,
            {},
            {"server": 407, "lock": 917, "queries": 60, "push": 674, "seed": 632, "connection": 6},
        ),
        (PUSH, {"ENTRYPOINT_SKIP": "push"}, {"server": 407}),
        (
            PUSH + "on_loss = 'warn'",
            {},
            {"server": 407, "lock": 917, "queries": 60, "push": 650, "connection": 6},
        ),
        (
            PUSH,
            {"ENTRYPOINT_ADMIN_URL": "postgresql://a:pw@db/postgres"},
            {"server": 407, "lock": 917, "queries": 60, "push": 698, "connection": 6},
        ),
        (
            SEED + "check = 'select 1'",
            {},
            {"server": 407, "lock": 917, "queries": 60, "seed": 678, "connection": 6},
        ),
        (
            "",
            {"ENTRYPOINT_DIRECT_URL": "postgresql://u:pw@db/app"},
            {"server": 407, "connection": 71},
        ),
        (
            SEED + LOOKUP,
            {},
            {"server": 407, "lock": 917, "queries": 60, "tenant": 16, "seed": 632, "connection": 6},
        ),
        (
            "[[gates]]\nurl = 'tcp://a:1'\ntimeout = 50\n[[gates]]\nurl = 'tcp://a:2'\ntimeout = 9",
            {"ENTRYPOINT_WAIT_TIMEOUT": "1", "ENTRYPOINT_NOTIFY_URL": "http://hook/"},
            {"gates": 50, "server": 108, "last word": 5},
        ),
        ("[[gates]]\nurl = 'tcp://a:1'\ntimeout = 0", {}, {"gates": 1, "server": 407}),
        ("[[gates]]\nurl = 'tcp://a:1'", {"ENTRYPOINT_SKIP": "push,seed"}, {}),
    ],
)
def test_the_budget_is_the_sum_of_what_is_waited_for(
    tmp_path: Path, toml: str, variables: dict[str, str], waits: dict[str, float]
) -> None:
    """Gates are waited for at once, the rest in turn; what cannot run is not in it."""
    found = load(tmp_path, toml, **variables)

    assert budget.waits(found) == waits
    assert budget.longest_s(found) == sum(waits.values())


def test_what_is_added_is_what_the_waits_take() -> None:
    """The numbers that stand apart from the code that takes the time are its own, summed up."""
    attempt_s = 3 * opening.SHORTEST_TIMEOUT_S
    opened_s = under_lock.CLEANUP_S + attempt_s
    created_s = databases.RETRY_S + opening.PATIENCE_S + session.WORD_S
    armed_s = guard.LEAVE_S + leftovers.TRY_S + leftovers.TRY_S + guard.ARM_S
    disarmed_s = leftovers.TRY_S + guard.DISARM_S
    sessions_s = signature(sessions.end).parameters["timeout_s"].default

    assert attempt_s == budget.CONNECT_S
    checked_s = 2 * seed_check.CHECK_SOON_S + seed_check.CHECK_LATE_S + 3 * session.WORD_S

    assert 4 * attempt_s + database.AFTER_CREATE_S + created_s <= budget.DATABASE_S
    asked_s = 7 * session.WORD_S
    assert 5 * attempt_s + asked_s + database.AFTER_CREATE_S <= budget.DIRECT_S
    assert attempt_s + lock.POLL_S + lock.ANSWER_S <= budget.LOCK_S
    assert opening.PATIENCE_S == budget.QUERIES_S
    assert extensions.CREATE_S + session.WORD_S <= budget.EXTENSIONS_S
    assert misplaced.VERIFY_S + session.WORD_S <= budget.VERIFY_S
    assert checked_s <= budget.CHECK_S
    assert opened_s + armed_s + disarmed_s <= budget.GUARD_S
    ended_s = child.GRACE_S + 2 * child.DRAIN_S
    assert ended_s + sessions_s + opened_s + sessions_s <= budget.END_S
    assert attempt_s + 2 * tenant.SHORTEST_S <= budget.LOOKUP_S
    assert notify.TIMEOUT_S == budget.LAST_WORD_S


def test_the_page_has_the_same_parts(tmp_path: Path) -> None:
    """Its table has each part with what it takes beyond its timeout; the defaults are summed."""
    everything = (
        f"{PUSH}{SEED}check = 'x'\n{LOOKUP}[[gates]]\nurl = 'tcp://a:1'\ntimeout = 0\n"
        "[database]\nextensions = ['x']\n[notify]\nurl = 'http://hook/'"
    )
    zero = {f"ENTRYPOINT_{name}_TIMEOUT": "0" for name in ("WAIT", "LOCK", "PUSH", "SEED")}
    waits = budget.waits(load(tmp_path, everything, **zero)) | {"tenant": budget.LOOKUP_S}
    rows = re.findall(r"^\| (\w[\w ]+), .*\| .*?(\d+)(?: for |;| \|)", section(), re.MULTILINE)

    assert {name: float(seconds) for name, seconds in rows} == waits
    defaults = budget.waits(load(tmp_path, PUSH + SEED))
    told = re.search(r"\bis (\d+(?: \+ \d+)+) = (\d+) s", section())
    assert told
    assert [float(number) for number in told[1].split(" + ")] == list(defaults.values())
    assert float(told[2]) == sum(defaults.values())


def test_the_page_s_timeouts_fit_into_ten_minutes(tmp_path: Path) -> None:
    """What it says to set gives what it says, whatever else a service of this kind has."""
    variables = dict(re.findall(r"`(ENTRYPOINT_\w+)=(\d+)`", section()))
    [told] = re.findall(r"the budget is (\d+) s, which fits the 10 minutes", section())
    found = budget.longest_s(load(tmp_path, PUSH + SEED, **variables))

    assert found == float(told)
    assert found + budget.GUARD_S + budget.LAST_WORD_S < 600


def test_the_whole_stack_leaves_its_starts_their_budget(tmp_path: Path) -> None:
    """docker-compose.test.yml names the largest of its budgets, and is more patient than that."""
    text = (ROOT / "docker-compose.test.yml").read_text()
    stack = yaml.safe_load(text)
    plain = {name: str(value) for name, value in stack["x-environment"].items()}
    variables = {name: value for name, value in plain.items() if name.endswith("_TIMEOUT")}
    variables["ENTRYPOINT_ADMIN_URL"] = "postgresql://a:pw@db/postgres"
    variables["PORT"] = "4004"
    (tmp_path / "push-db.js").touch()
    registry, budgets = services.load(), []
    for path in (ROOT / "examples").glob("*-service/**/*.toml"):
        toml = path.read_text()
        row = registry.get(tomllib.loads(toml).get("service", path.name))
        if row:  # the other is a service of the demo, that waits for nobody
            url = f"postgresql://u:pw@db/{row.database}"
            urls = {"DATABASE_URL": url, "ENTRYPOINT_DIRECT_URL": url}
            found = load(tmp_path, toml, **urls, **variables)
            budgets.append(budget.longest_s(found))
    [told] = re.findall(r"`budget_s` of entrypoint.started: (\d+) s", text)
    patience = stack["x-service"]["healthcheck"]["start_period"]

    assert max(budgets) == float(told) < 60 * float(patience.removesuffix("m"))


def section() -> str:
    """What the page says about it."""
    return docs.section("docs/how-to/health-checks", "How long a start may take")
