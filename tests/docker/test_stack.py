"""The stack of docker-compose.test.yml from nothing to a second release, asked from outside."""

from __future__ import annotations

import json
import math
import shutil
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from psycopg import sql

from tests.support.compose import ROOT
from tests.support.engine import OPERATOR, Container, docker, once, running, until
from tests.support.server import rows
from tests.support.stack import PASSWORDS, SECRETS, SERVICES, Stack, health, healthy

if TYPE_CHECKING:
    from pathlib import Path

ROWS = {
    "gaqno_sso_db": {"sso_tenants": 1},
    "gaqno_ai_db": {"ai_authors": 0, "ai_notes": 0},
    "gaqno_finance_db": {"finance_categories": 3, "finance_entries": 0},
    "gaqno_pdv_db": {"pdv_authors": 0, "pdv_notes": 0},
    "gaqno_rpg_db": {
        "dnd_campaigns": 0,
        "dnd_classes": 4,
        "dnd_sessions": 0,
        "rpg_hero_items": 5,
        "rpg_heroes": 3,
        "rpg_items": 5,
        "rpg_quests": 0,
    },
    "gaqno_omnichannel_db": {"omni_categories": 3, "omni_entries": 0},
}
"""Every table of the stack, and its rows after one seed."""

RELEASE_2 = {
    "sso-service/src/database/schema.js": (
        "name: text('name').notNull(),",
        "name: text('name').notNull(),\n    plan: text('plan'),",
    ),
    "node-service/src/database/schema/rpg.js": (
        "level: integer('level').notNull().default(1),",
        "level: integer('level').notNull().default(1),\n    plan: text('plan'),",
    ),
    "tenant-service/src/database/schema.js": (
        "name: text('name').notNull(),",
        "name: text('name').notNull(),\n    plan: text('plan'),",
    ),
    "python-service/push_db.py": (
        '"name": "text not null",',
        '"name": "text not null", "plan": "text",',
    ),
}
"""What the next release changes: a column `plan` in each service."""

PLANS = {
    "gaqno_sso_db": "sso_tenants",
    "gaqno_ai_db": "ai_authors",
    "gaqno_finance_db": "finance_categories",
    "gaqno_pdv_db": "pdv_authors",
    "gaqno_rpg_db": "rpg_heroes",
    "gaqno_omnichannel_db": "omni_categories",
}
"""The table that gets it."""

CLIENT = """
const { Resolver } = require('node:dns/promises');
const http = require('node:http');
const ask = (host) => new Promise((resolve) => {
  const options = { host, port: 4003, path: '/v1/health', agent: false, timeout: 10000 };
  const request = http.get(options, (answer) => resolve(answer.resume().statusCode));
  request.on('error', () => resolve(0)).on('timeout', () => request.destroy(new Error('late')));
});
(async () => {
  for (;;) {
    const dns = new Resolver(); // a new one each time: it keeps what it was told
    const addresses = await dns.resolve4('rpg-service').catch(() => []);
    const whose = () => Promise.all(addresses.map((a) => dns.reverse(a).then(([n]) => n, () => a)));
    const at = Date.now();
    const before = await whose();
    const statuses = await Promise.all(addresses.map(ask));
    const after = await whose();
    const told = before.map((name, i) => [name, statuses[i], after[i]]);
    console.log(JSON.stringify([at, Object.fromEntries(told.filter(([b, , a]) => b === a))]));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
})();
"""
"""Asks every replica there is for its health, again and again: a line for each round.

By name, since a new replica may get the address of one that left, even while that one is asked. The
engine may then still give it the old name: a round begins with when it was begun, to tell.
"""


@pytest.fixture(scope="module")
def release_2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples with a new schema in each service."""
    examples = tmp_path_factory.mktemp("release") / "examples"
    leftovers = shutil.ignore_patterns("node_modules", "__pycache__")
    shutil.copytree(ROOT / "examples", examples, ignore=leftovers)
    for name, (before, after) in RELEASE_2.items():
        text = (examples / name).read_text()
        assert before in text
        (examples / name).write_text(text.replace(before, after, 1))
    return examples


def test_one_command_brings_six_services_up(stack: Stack, request: pytest.FixtureRequest) -> None:
    """Eight healthy replicas of six services, none started twice, none with too large a budget."""
    replicas = {service: stack.containers(service) for service in SERVICES}

    assert {service: len(found) for service, found in replicas.items()} == {
        **dict.fromkeys(SERVICES, 1),
        "rpg-service": 3,
    }
    for container in stack.replicas():
        assert health(container) == "healthy"
        assert container.inspect()["RestartCount"] == 0
        [started] = container.events("entrypoint.started")
        patience_s = container.inspect()["Config"]["Healthcheck"]["StartPeriod"] / 1e9
        assert started["budget_s"] < patience_s
    version = stack.compose("version", "--short").stdout.strip()
    assert version.startswith("1.") == ("docker-compose" in request.node.name)


def test_every_table_and_row_is_where_it_belongs(stack: Stack) -> None:
    """Six databases hold their services' tables, seeded once; `postgres` holds no table."""
    with stack.server.connect() as connection:
        query = "select datname from pg_database where not datistemplate"
        names = {name for (name,) in connection.execute(query).fetchall()}

    assert names == {"postgres", *SERVICES.values()}
    assert {name: rows(stack.server, name) for name in ROWS} == ROWS
    assert rows(stack.server, "postgres") == {}


def test_finance_and_omnichannel_have_the_tenant_that_sso_made(stack: Stack) -> None:
    """Found by HTTP in one and by SQL in the other, after SSO was healthy: no setting names it."""
    with stack.server.connect("gaqno_sso_db") as connection:
        [(tenant,)] = connection.execute("select id from sso_tenants").fetchall()
    for database in ("gaqno_finance_db", "gaqno_omnichannel_db"):
        with stack.server.connect(database) as connection:
            query = sql.SQL("select distinct tenant_id from {}")
            statement = query.format(sql.Identifier(PLANS[database]))
            assert connection.execute(statement).fetchall() == [(tenant,)]
    for container in stack.containers("finance-service", "omnichannel-service"):
        names = [event["event"] for event in container.events()]
        assert names.index("gates.finished") < names.index("wait.started")
        assert names.index("push.finished") < names.index("tenant.found")


def test_every_service_is_pushed_and_seeded_once(stack: Stack) -> None:
    """Also the one of three replicas: by their logs, and by the ledger."""
    for service, database in SERVICES.items():
        assert sum(len(c.events("push.finished")) for c in stack.containers(service)) == 1, service
        assert len(stack.ledger(database)["pushes"]) == 1
    for service in ("sso-service", "rpg-service", "finance-service", "omnichannel-service"):
        assert sum(len(c.events("seed.finished")) for c in stack.containers(service)) == 1, service


def test_verify_finds_nothing(stack: Stack) -> None:
    """The operator's image on the stack's network: exit code 0, no finding."""
    options = ["--network", stack.network, "--volume", f"{SECRETS}/admin_url:/run/admin_url:ro"]
    options += ["--env", "ENTRYPOINT_ADMIN_URL_FILE=/run/admin_url"]

    done = once(OPERATOR, "verify", "--json", options=options)

    answer = json.loads(done.stdout)
    assert answer["findings"] == []
    assert answer["failures"] == []
    assert set(SERVICES.values()) <= set(answer["databases"])


def test_pid_1_is_the_service(stack: Stack) -> None:
    """In every replica the container's only process is the service, under the name it was given."""
    for container in stack.replicas():
        argv = container.execute("cat", "/proc/1/cmdline").stdout.split("\0")
        assert argv in (["node", "server.js", ""], ["python3", "server.py", ""])
        # A probe has no arguments left in the moment in which it ends; what stays so is a zombie.
        until(partial(alone, container, " ".join(argv).strip()), "the service alone")


def alone(container: Container, service: str) -> bool:
    """Whether its only process but those of its health check is this one."""
    top = docker("top", container.name, "-eo", "pid,args").stdout.splitlines()[1:]
    programs = [line.split(None, 1)[1] for line in top]
    # The engine's health probe is the engine's own program until its exec.
    probes = [name for name in programs if "entrypoint health" in name or name == "runc init"]
    return [name for name in programs if name not in probes] == [service]


def test_no_password_is_to_be_seen(stack: Stack) -> None:
    """Not in a log, `docker inspect` or a process's arguments; the service has its own only."""
    for container in stack.containers():
        out, err = container.output()
        seen = [out, err, json.dumps(container.inspect())]
        if container.inspect()["State"]["Running"]:
            seen.append(docker("top", container.name, "-eo", "pid,args").stdout)
        assert [word for word in PASSWORDS if word in "".join(seen)] == [], container.name
    for container in stack.replicas():
        environ = container.execute("cat", "/proc/1/environ").stdout
        assert len([word for word in PASSWORDS if word in environ]) == 1
        assert "ENTRYPOINT_ADMIN_URL" not in environ


def test_up_again_pushes_nothing(stack: Stack) -> None:
    """Nothing has changed: no container is replaced; made anew, all skip push, seed and lock."""
    before = {container.name for container in stack.replicas()}

    stack.up()

    assert {container.name for container in stack.replicas()} == before

    stack.up("--force-recreate", "--no-deps", *SERVICES)

    assert before.isdisjoint(container.name for container in stack.replicas())
    for container in stack.replicas():
        names = [event["event"] for event in container.events()]
        assert "push.skipped" in names
        assert "seed.skipped" in names
        assert "lock.started" not in names
    assert {name: rows(stack.server, name) for name in ROWS} == ROWS


def test_a_preview_beside_the_stack(stack: Stack) -> None:
    """It has production's URLs and a database of its own; production is as it was."""
    name = "gaqno_rpg_db_pr_7"
    before = stack.ledger("gaqno_rpg_db")

    stack.compose("--profile", "preview", "up", "--detach", "--no-deps", "rpg-preview")

    [container] = stack.containers("rpg-preview")
    healthy(container)
    [found] = container.events("preview.found")
    assert found["changed"] == ["DATABASE_URL", "ENTRYPOINT_DIRECT_URL"]
    assert rows(stack.server, name) == ROWS["gaqno_rpg_db"]
    assert stack.ledger(name)["preview"]["preview"] == "7"
    environ = container.execute("cat", "/proc/1/environ").stdout
    assert f"pgbouncer:6432/{name}" in environ
    assert stack.ledger("gaqno_rpg_db") == before
    assert {each: rows(stack.server, each) for each in ROWS} == ROWS

    options = ["--network", stack.network, "--volume", f"{SECRETS}/admin_url:/run/admin_url:ro"]
    options += ["--env", "ENTRYPOINT_ADMIN_URL_FILE=/run/admin_url"]
    docker("rm", "--force", "--volumes", container.name)
    words = ("previews", "--service", "gaqno-rpg-service", "--drop", "7", "--force", "--yes")
    [row] = json.loads(once(OPERATOR, *words, "--json", options=options).stdout)["previews"]
    assert (row["database"], row["result"]) == (name, "dropped")


def test_a_new_release_leaves_no_gap(stack: Stack, release_2: Path) -> None:
    """Replicas replaced one by one, with a schema change: no healthy one misses a request."""
    old = stack.containers("rpg-service")
    told_to_go: dict[str, float] = {}
    stack.use(2, release_2)
    argv = ["--entrypoint", "node", "--no-healthcheck", "--network", stack.network]
    with running(stack.image("rpg-service"), "-e", CLIENT, options=argv) as client:
        client.until("200")
        for leaving in old:
            before = {container.name for container in stack.containers("rpg-service")}
            extra = ["--no-recreate", "--scale", "rpg-service=4", "rpg-service"]
            stack.compose("up", "--detach", *extra)
            [coming] = [c for c in stack.containers("rpg-service") if c.name not in before]
            healthy(coming)
            seen(client)
            told_to_go[leaving.inspect()["Name"].removeprefix("/")] = time.time() * 1000
            docker("stop", "--time", "60", leaving.name)
            assert leaving.inspect()["State"]["ExitCode"] == 0
            docker("rm", "--volumes", leaving.name)
        seen(client)
        times, rounds = zip(*map(json.loads, client.output()[0].splitlines()), strict=True)

    assert {len(each) for each in rounds} >= {3, 4}
    assert min(list(each.values()).count(200) for each in rounds) >= 3
    replicas = {name for each in rounds for name, status in each.items() if status == 200}
    assert len(replicas) == 6
    assert told_to_go.keys() < {name.split(".")[0] for name in replicas}
    for name in replicas:
        end = told_to_go.get(name.split(".")[0], math.inf)
        of_its_time = [each for at, each in zip(times, rounds, strict=True) if at < end]
        statuses = [each[name] for each in of_its_time if name in each]
        first, last = statuses.index(200), len(statuses) - statuses[::-1].index(200)
        assert set(statuses[first:last]) == {200}, name
    assert pushes(stack, "rpg-service") == 1


def test_up_with_a_new_release_pushes_once_per_service(stack: Stack, release_2: Path) -> None:
    """The ledger has a second push for each, the tables the new column, and every row is there.

    What is of no release, such as the pooler, stays as it is.
    """
    assert release_2.exists()
    pooler = [container.name for container in stack.containers("pgbouncer")]

    stack.up()

    assert [container.name for container in stack.containers("pgbouncer")] == pooler
    for service, database in SERVICES.items():
        assert pushes(stack, service) == 1
        assert stack.ledger(database)["pushes"][-1]["releases"] == [stack.release]
        with stack.server.connect(database) as connection:
            query = "select table_name from information_schema.columns where column_name = 'plan'"
            assert connection.execute(query).fetchall() == [(PLANS[database],)]
    assert {name: rows(stack.server, name) for name in ROWS} == ROWS


def pushes(stack: Stack, service: str) -> int:
    """How many pushes the replicas of a service have made."""
    return sum(len(container.events("push.finished")) for container in stack.containers(service))


def seen(client: Container) -> None:
    """Block until the client has made some more rounds."""
    count = client.output()[0].count("\n")
    until(lambda: client.output()[0].count("\n") >= count + 5, "the client asks on", 120)
