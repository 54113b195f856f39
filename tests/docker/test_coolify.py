"""Coolify's wait over starts of 10, 50 and 120 s: what it shows, and when it rolls back."""

from __future__ import annotations

import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.support import coolify
from tests.support.coolify import Deployment, Patience
from tests.support.docs import page
from tests.support.engine import built, docker, running, unique, until

if TYPE_CHECKING:
    from collections.abc import Iterator

SLIM, ALPINE = "node:20-slim", "node:20-alpine"
CURL = "node:20-slim with curl"
WITH_CURL = "FROM {}\nUSER 0\nRUN apt-get update -qq && apt-get install -y -qq curl > /dev/null\n"
SERVE = "require('http').createServer((_, r) => r.end('ok')).listen(4003, '0.0.0.0')"

DEFAULTS = Patience()
DOCUMENTED = Patience(retries=120, interval_s=5, start_period_s=5)


class Case(NamedTuple):
    """One deployment: its image, what the push takes, the check, and the fields."""

    base: str
    start_s: int
    check: str
    patience: Patience


HTTP = coolify.http(4003, "/v1/health")
OURS = coolify.COMMAND

CASES = [
    *(Case(ALPINE, start_s, OURS, DEFAULTS) for start_s in (10, 50, 120)),
    *(Case(ALPINE, start_s, OURS, DOCUMENTED) for start_s in (50, 120)),
    Case(SLIM, 10, OURS, DEFAULTS),
    Case(SLIM, 120, OURS, DOCUMENTED),
    *(Case(ALPINE, start_s, HTTP, DEFAULTS) for start_s in (10, 50, 120)),
    Case(ALPINE, 120, HTTP, DOCUMENTED),
    Case(SLIM, 10, HTTP, DEFAULTS),
    *(Case(CURL, start_s, HTTP, DEFAULTS) for start_s in (10, 120)),
]


@pytest.fixture(scope="module")
def images(service_images: dict[str, str]) -> Iterator[dict[str, str]]:
    """Those of all container tests, and one whose team has installed curl."""
    with built(None, dockerfile=WITH_CURL.format(service_images[SLIM])) as curl:
        yield {**service_images, CURL: curl}


@pytest.fixture(scope="module")
def outcomes(images: dict[str, str]) -> Iterator[dict[Case, Deployment]]:
    """All deployments, made at the same time: they take two minutes, whatever their number."""
    network, password = unique("network"), secrets.token_hex(6)
    docker("network", "create", network)
    try:
        options = ["--network", network, "--env", f"POSTGRES_PASSWORD={password}"]
        with running("postgres:17", options=options) as server:
            url = f"postgresql://postgres:{password}@{server.name}"
            ready = ["exec", server.name, "pg_isready", "-h", "127.0.0.1"]
            until(lambda: docker(*ready, check=False).returncode == 0, "a server")
            # A push is not believed where there is no table after it, and these only sleep.
            made = "create database {0};\n\\c {0}\ncreate table demo (id int);\n"
            script = "".join(made.format(f"coolify_{number}") for number in range(len(CASES)))
            psql = ["psql", "-h", "127.0.0.1", "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-q"]
            words = ["exec", "--interactive", "--env", f"PGPASSWORD={password}", server.name]
            docker(*words, *psql, stdin=script)

            def deploy(number: int, case: Case) -> Deployment:
                options = case.patience.options(case.check)
                options += ["--network", network, "--env", "SERVICE_NAME=demo"]
                # With a direct URL nobody can tell that a push which only sleeps never connects.
                for variable in ("DATABASE_URL", "ENTRYPOINT_DIRECT_URL"):
                    options += ["--env", f"{variable}={url}/coolify_{number}"]
                options += ["--env", f"ENTRYPOINT_PUSH_COMMAND=sleep {case.start_s}"]
                options += ["--env", "ENTRYPOINT_HEALTH_URL=http://localhost:4003/v1/health"]
                with running(images[case.base], "node", "-e", SERVE, options=options) as container:
                    return coolify.deploy(container, case.patience)

            with ThreadPoolExecutor(len(CASES)) as pool:
                yield dict(zip(CASES, pool.map(deploy, range(len(CASES)), CASES), strict=True))
    finally:
        docker("network", "rm", network, check=False)


def said(deployment: Deployment) -> str:
    """The deployment's log as people read it."""
    return "\n".join(deployment.log)


def counted(deployment: Deployment) -> list[int]:
    """How long the push took at each look, as the deployment's log has it."""
    return [int(found) for found in re.findall(r"starting: push (\d+) s", said(deployment))]


@pytest.mark.parametrize(
    ("start_s", "patience", "goes_on"),
    [
        (10, DEFAULTS, True),
        (50, DEFAULTS, False),
        (120, DEFAULTS, False),
        (50, DOCUMENTED, True),
        (120, DOCUMENTED, True),
    ],
)
def test_the_documented_fields_prevent_a_rollback(
    outcomes: dict[Case, Deployment], start_s: int, patience: Patience, *, goes_on: bool
) -> None:
    """With Coolify's defaults a start of 50 s is rolled back, with those of the page none is."""
    deployment = outcomes[Case(ALPINE, start_s, OURS, patience)]
    assert deployment.goes_on is goes_on, said(deployment)


@pytest.mark.parametrize("start_s", [50, 120])
def test_a_rollback_shows_how_far_the_start_was(
    outcomes: dict[Case, Deployment], start_s: int
) -> None:
    """The log counts the seconds of the push up to the end, and our own events follow.

    A start of 50 s is ready while Coolify still makes up its mind, which its own log shows.
    """
    deployment = outcomes[Case(ALPINE, start_s, OURS, DEFAULTS)]

    assert counted(deployment)[-1] > 20
    assert "push.started" in coolify.events(deployment)
    assert ("push.finished" in coolify.events(deployment)) <= (start_s == 50)


@pytest.mark.parametrize("base", [SLIM, ALPINE])
def test_a_start_that_was_waited_for_is_shown_step_by_step(
    outcomes: dict[Case, Deployment], base: str
) -> None:
    """Over two minutes the log counts the push's seconds, and ends with the service's answer."""
    deployment = outcomes[Case(base, 120, OURS, DOCUMENTED)]

    assert counted(deployment) == sorted(counted(deployment))
    assert counted(deployment)[-1] > 100
    assert "healthy: http://localhost:4003/v1/health: 200 OK" in deployment.log[-1]


def test_coolifys_own_check_needs_curl_or_wget(outcomes: dict[Case, Deployment]) -> None:
    """Without either it rolls back a service that is well; ours asks the same and goes on."""
    deployment = outcomes[Case(SLIM, 10, HTTP, DEFAULTS)]

    assert not deployment.goes_on
    assert "curl: not found" in said(deployment)
    assert "wget: not found" in said(deployment)
    assert coolify.events(deployment)[-1] == "handoff.executed"
    assert outcomes[Case(SLIM, 10, OURS, DEFAULTS)].goes_on


@pytest.mark.parametrize(
    ("start_s", "patience", "goes_on"),
    [(10, DEFAULTS, True), (50, DEFAULTS, False), (120, DEFAULTS, False), (120, DOCUMENTED, True)],
)
def test_coolifys_own_check_says_nothing_of_the_start(
    outcomes: dict[Case, Deployment], start_s: int, patience: Patience, *, goes_on: bool
) -> None:
    """With busybox's wget it ends as ours does, but shows a refused connection and no step."""
    deployment = outcomes[Case(ALPINE, start_s, HTTP, patience)]

    assert deployment.goes_on is goes_on, said(deployment)
    shown = [line for line in deployment.log if line.startswith("Healthcheck logs: ")]
    assert [line for line in shown if "push" in line] == []


def test_with_curl_a_rollback_has_no_reason_at_all(outcomes: dict[Case, Deployment]) -> None:
    """`curl -s` finds a quick start well, and is silent about a slow one while it rolls it back."""
    assert outcomes[Case(CURL, 10, HTTP, DEFAULTS)].goes_on
    deployment = outcomes[Case(CURL, 120, HTTP, DEFAULTS)]
    assert not deployment.goes_on
    shown = [line for line in deployment.log if line.startswith("Healthcheck logs: ")]
    assert shown
    assert [line for line in shown if "curl: not found" in line or "push" in line] == []


def test_coolify_takes_our_check() -> None:
    """Its characters are all in the set that Coolify allows; those of the HTTP check are not."""
    assert coolify.CHARACTERS.fullmatch(coolify.COMMAND)
    assert not coolify.CHARACTERS.fullmatch(HTTP)


def test_the_page_documents_these_fields() -> None:
    """The fields that were tried are the ones that the pages tell people to fill in."""
    text = page("docs/how-to/coolify") + page("docs/how-to/health-checks")
    assert f"`{coolify.COMMAND}`" in text
    fields = f"retries {DOCUMENTED.retries}, interval {DOCUMENTED.interval_s}"
    assert f"{fields}, start period {DOCUMENTED.start_period_s}" in text
