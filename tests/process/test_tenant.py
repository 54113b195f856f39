"""A tenant that another service knows: waited for, seeded once, and never asked for again."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import sql

from tests.process.test_health import health
from tests.support.program import Program, python, until
from tests.support.site import CA, HANG, Site, http
from tests.support.stage import TENANT, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from tests.conftest import RoleFactory
    from tests.support.server import Server

OTHER = "00000000-0000-4000-8000-000000000001"
QUERY = "select id from sso_tenants where name = 'gaqno-development'"


def look_up(stage: Stage, **keys: object) -> None:
    """Set seed.tenant_lookup by its variable."""
    pairs = ", ".join(f"{key} = {json.dumps(value)}" for key, value in keys.items())
    stage.environ["ENTRYPOINT_SEED_TENANT_LOOKUP"] = f"{{ {pairs} }}"


def found(tenant: str = TENANT) -> bytes:
    """An answer with one tenant in it."""
    return http(body=json.dumps([{"id": tenant, "name": "gaqno-development"}]).encode())


@pytest.fixture
def site() -> Iterator[Site]:
    """An SSO service that knows the tenant."""
    with Site(found()) as sso:
        yield sso


@pytest.fixture
def asking(stage: Stage, site: Site) -> Stage:
    """A stage whose starts can be proved, with a lookup in place of a tenant."""
    for name in ("schema.ts", "seed.js"):
        (stage.directory / name).write_text("v1")
    stage.sections["push"] = {"inputs": ["schema.ts"]}
    stage.sections["seed"] = {"inputs": ["seed.js"]}
    stage.environ["SEED_TENANT_ID"] = ""
    stage.environ["SSO_PORT"] = str(site.port)
    look_up(stage, url="http://127.0.0.1:${SSO_PORT}/v1/sso/tenants?name=x", timeout=30)
    return stage


@pytest.fixture
def sso(asking: Stage) -> Iterator[str]:
    """The name of a second database, not made yet, in which the stage looks for its tenant."""
    name = f"{asking.database}_sso"
    look_up(asking, database=name, query=QUERY, timeout=30)
    yield name
    with asking.server.connect() as connection:
        statement = sql.SQL("drop database if exists {} with (force)")
        connection.execute(statement.format(sql.Identifier(name)))


def create_sso(stage: Stage, name: str) -> psycopg.Connection[Any]:
    """Make the second database, empty."""
    with stage.server.connect() as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    return stage.server.connect(name)


def fill_sso(connection: psycopg.Connection[Any], *tenants: str) -> None:
    """Its table, for all to read, and its rows."""
    connection.execute("create table sso_tenants (id uuid, name text)")
    connection.execute("grant select on sso_tenants to public")
    for tenant in tenants:
        insert = "insert into sso_tenants values (%s, 'gaqno-development')"
        connection.execute(insert, [tenant])


def done(program: Program) -> Program:
    """It ended well."""
    assert program.wait() == 0, program.output
    return program


def failed(program: Program, code: int) -> dict[str, Any]:
    """How the seed ended."""
    assert program.wait() == code, program.output
    return program.one("seed.failed")


def heroes(stage: Stage) -> list[str]:
    """Whose rows there are."""
    with stage.connect() as connection:
        rows = connection.execute("select tenant_id::text from rpg_heroes order by 1").fetchall()
    return [tenant for (tenant,) in rows]


def test_a_tenant_that_is_there_is_seeded(asking: Stage, site: Site) -> None:
    """It is asked for just before the seed, which gets it in argv and environment."""
    asking.seed = python("seed", "{tenant_id}", "say-environ", "SEED_TENANT_ID")
    program = done(asking.start("env"))

    seen = [name for name in program.names() if name.startswith(("seed.", "tenant."))]
    assert seen[:2] == ["seed.started", "tenant.found"]
    event = program.one("tenant.found")
    assert event["tenant_id"] == program.one("seed.finished")["tenant_id"] == TENANT
    assert event["source"] == f"http://127.0.0.1:{site.port}/v1/sso/tenants"
    assert event["elapsed_s"] >= 0
    assert f"SEED_TENANT_ID {TENANT}" in [e["line"] for e in program.all("seed.printed")]
    assert b"SEED_TENANT_ID=\n" in program.stdout
    assert heroes(asking) == [TENANT]
    assert site.requests[0].startswith(b"GET /v1/sso/tenants?name=x HTTP/1.1\r\n")


READS = """
import os, psycopg
with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
    tenant = os.environ.get("TENANT_ID")
    insert = "insert into rpg_heroes values (%s, 'Ada') on conflict do nothing"
    if tenant:
        connection.execute(insert, [tenant])
"""
"""A seed that knows its tenant by TENANT_ID, and does nothing without one."""


def test_a_seed_that_reads_another_variable(stage: Stage) -> None:
    """It gets SEED_TENANT_ID's tenant there, the service and the push do not; no second seed."""
    stage.environ["ENTRYPOINT_RELEASE"] = "v1"
    stage.push = python("push", "say-environ", "TENANT_ID")
    stage.seed = [sys.executable, "-c", READS]
    unread = done(stage.start("env"))
    assert ("seed.finished" in unread.names(), heroes(stage)) == (True, [])

    stage.sections["seed"] = {"tenant_variable": "TENANT_ID"}
    first = done(stage.start("env"))
    second = done(stage.start("env"))

    assert first.one("seed.started")["reason"] == "changed"
    assert heroes(stage) == [TENANT]
    assert second.one("seed.skipped")["reason"] == "seeded"
    assert b"\nTENANT_ID=" not in first.stdout + second.stdout
    assert "TENANT_ID is not set" in [e["line"] for e in unread.all("push.printed")]


def test_a_seed_that_reads_another_variable_of_a_lookup(asking: Stage) -> None:
    """The tenant that was found is there, too, and in SEED_TENANT_ID; a CR makes no other one."""
    asking.environ["TENANT_ID"] = f"{TENANT}\r"
    asking.seed = [sys.executable, "-c", READS + "print(os.environ['SEED_TENANT_ID'])"]
    asking.sections["seed"] |= {"tenant_variable": "TENANT_ID"}
    first = done(asking.start())

    assert heroes(asking) == [TENANT]
    assert [e["line"] for e in first.all("seed.printed")] == [TENANT]
    assert done(asking.start()).one("seed.skipped")["reason"] == "seeded"


def test_a_container_with_another_tenant(stage: Stage) -> None:
    """Exit 3 before any connection; both remedies mend it, and the seed gets the one tenant."""
    stage.seed = [sys.executable, "-c", READS]
    stage.sections["seed"] = {"tenant_variable": "TENANT_ID"}
    stage.environ["TENANT_ID"] = OTHER
    refused = stage.start()

    assert refused.wait() == 3
    error = refused.one("settings.failed")["error"]
    assert "TENANT_ID and SEED_TENANT_ID are two tenants" in error
    assert OTHER not in refused.output
    assert "wait.started" not in refused.names()

    stage.environ["TENANT_ID"] = f"{TENANT}\r"
    done(stage.start())
    assert heroes(stage) == [TENANT]
    del stage.environ["TENANT_ID"]
    done(stage.start())


def test_a_container_with_another_tenant_than_the_lookup_s(asking: Stage) -> None:
    """Exit 8 before the seed runs, at every start; both remedies mend it."""
    asking.seed = [sys.executable, "-c", READS]
    asking.sections["seed"] |= {"tenant_variable": "TENANT_ID"}
    asking.environ["TENANT_ID"] = OTHER
    for _ in range(2):
        program = asking.start()
        assert program.wait() == 8
        failed = program.one("seed.failed")
        assert (
            "TENANT_ID names another tenant than the one that seed.tenant_lookup found"
            in (failed["error"])
        )
        assert failed["remedy"].startswith("Unset TENANT_ID in the container")
        assert (heroes(asking), OTHER in program.output) == ([], False)

    unset = dict(asking.environ)
    del unset["TENANT_ID"]
    asking.environ = unset | {"SEED_TENANT_ID": OTHER, "TENANT_ID": OTHER}
    done(asking.start())
    asking.environ = unset
    done(asking.start())
    assert heroes(asking) == [OTHER, TENANT]


def test_a_second_start_asks_nobody(asking: Stage, site: Site) -> None:
    """The ledger knows the tenant: no request, no lock, not even when the SSO service is gone."""
    done(asking.start())
    asked = len(site.requests)

    for _ in range(2):
        second = done(asking.start())
        assert second.one("seed.skipped")["reason"] == "seeded"
        assert second.one("seed.skipped")["tenant_id"] == TENANT
        assert "lock.started" not in second.names()
        assert len(site.requests) == asked == 1
        site.close()


def test_a_tenant_that_appears_late_is_waited_for(asking: Stage, site: Site) -> None:
    """404, 503 and an empty list are no tenant yet; what was answered is told at once."""
    site.answer = http("404 Not Found")
    program = asking.start()
    awaited = program.until("tenant.retry_scheduled")
    site.answer = http("503 Service Unavailable")
    asked = len(site.requests)
    until(lambda: len(site.requests) > asked + 1, "another request")
    site.answer = http(body=b"[]")
    asked = len(site.requests)
    until(lambda: len(site.requests) > asked + 1, "one more request")
    site.answer = found()
    done(program)

    assert (awaited["level"], awaited["cause"]) == ("warning", "answered 404")
    assert (awaited["attempts"], awaited["timeout_s"]) == (1, 30)
    assert awaited["waited_s"] >= 0
    assert heroes(asking) == [TENANT]


def test_a_probe_shows_what_the_seed_waits_for(asking: Stage, site: Site) -> None:
    """A platform's deployment log says where the tenant is awaited, and why; then no more."""
    site.answer = http("404 Not Found")
    asking.seed = python("seed", "{tenant_id}", "wait-for", str(asking.gate))
    asking.environ["ENTRYPOINT_STATE_DIR"] = str(asking.directory)
    program = asking.start()
    program.until("tenant.retry_scheduled")
    shown = health(asking.directory)

    cause = rf"the tenant at {re.escape(site.url())}v1/sso/tenants: answered 404"
    assert re.fullmatch(rf"starting: seed \d+ s \({cause}\)", shown.line), shown
    assert shown.code == 1

    site.answer = found()
    until(lambda: asking.runs("seed"), "it seeds")
    assert re.fullmatch(r"starting: seed \d+ s", health(asking.directory).line)
    asking.gate.touch()
    done(program)


def test_a_service_that_is_not_there_is_waited_for(asking: Stage, site: Site) -> None:
    """As in a stack that starts all at once."""
    site.close()
    program = asking.start()
    assert "refused" in program.until("tenant.retry_scheduled")["cause"]

    with Site(found(), port=site.port):
        done(program)
    assert heroes(asking) == [TENANT]


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (http("404 Not Found"), "answered 404"),
        (http("301 Moved", Location="http://["), "answered 301; the lookup follows no redirect"),
        (http(body=b""), "the answer is empty"),
        (HANG, "no answer within"),
        (b"SSH-2.0\r\n", "no valid HTTP answer"),
    ],
    ids=["404", "redirect", "empty", "hangs", "garbage"],
)
def test_at_the_deadline_the_last_cause_is_told(
    asking: Stage, site: Site, answer: bytes | None, cause: str
) -> None:
    """Exit 4, what is pushed stays recorded, and the variable is the way out."""
    site.answer = answer
    look_up(asking, url=site.url("/tenants?token=c4n4ry"), timeout=4)
    program = asking.start()
    failure = failed(program, 4)

    assert cause in failure["error"]
    assert f"{site.url()}tenants" in failure["error"]
    assert failure["remedy"].startswith("Set SEED_TENANT_ID")
    assert "c4n4ry" not in program.output
    asking.environ["SEED_TENANT_ID"] = OTHER
    assert "push.skipped" in done(asking.start()).names()
    assert heroes(asking) == [OTHER]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'[{"id": "a"}, {"id": "b"}]', "more than one tenant"),
        (b'{"id": "gaqno"}', "'gaqno' is not a UUID"),
        (b'{"name": "gaqno"}', "no field 'id'"),
        (b"<html>", "not JSON"),
    ],
)
def test_a_wrong_answer_ends_the_start_at_once(
    asking: Stage, site: Site, body: bytes, words: str
) -> None:
    """Exit 8 without a second request: waiting would not heal it."""
    site.answer = http(body=body)
    failure = failed(asking.start(), 8)

    assert words in failure["error"]
    assert "seed.tenant_lookup" in failure["remedy"]
    assert len(site.requests) == 1


def test_a_certificate_for_another_name_ends_the_start_at_once(asking: Stage) -> None:
    """Exit 5: nobody knows who answers there."""
    with Site(found(), certificate="elsewhere") as other:
        asking.environ["SSL_CERT_FILE"] = str(CA)
        look_up(asking, url=other.url(scheme="https", host="localhost"), timeout=30)
        failure = failed(asking.start(), 5)

    assert "seed.tenant_lookup" in failure["remedy"]


def test_sigterm_while_waiting_for_the_tenant(asking: Stage, site: Site) -> None:
    """Ends at once, also under an answer that never comes; the push is recorded."""
    site.answer = HANG
    program = asking.start()
    program.until("seed.started")
    until(lambda: site.requests, "a request")

    program.signal(signal.SIGTERM)

    assert program.wait(timeout=2) == 143
    assert program.one("seed.failed")["error"] == "ended by SIGTERM"
    site.answer = found()
    assert done(asking.start()).one("push.skipped")["reason"] == "unchanged"


def test_replicas_ask_and_seed_once(asking: Stage, site: Site) -> None:
    """Who waits for the lock finds the tenant in the ledger."""
    site.answer = http("404 Not Found")
    programs = [asking.start() for _ in range(3)]
    for program in programs:
        program.until("lock.started")
    site.answer = found()

    assert [program.wait() for program in programs] == [0, 0, 0]
    assert sum(len(program.all("tenant.found")) for program in programs) == 1
    skipped = [event for program in programs for event in program.all("seed.skipped")]
    assert [event["tenant_id"] for event in skipped] == [TENANT, TENANT]
    assert len(asking.runs("seed")) == 1


def test_another_lookup_may_find_another_tenant(asking: Stage, site: Site) -> None:
    """It is part of what the seed works on; going back to the first one asks nobody."""
    done(asking.start())
    before = asking.environ["ENTRYPOINT_SEED_TENANT_LOOKUP"]
    site.answer = http(body=json.dumps({"uuid": OTHER}).encode())
    look_up(asking, url=site.url("/v1/sso/tenants?name=x"), field="uuid")

    second = done(asking.start())

    assert second.one("seed.started")["reason"] == "changed"
    assert second.one("seed.finished")["tenant_id"] == OTHER
    assert heroes(asking) == [OTHER, TENANT]
    asking.environ["ENTRYPOINT_SEED_TENANT_LOOKUP"] = before
    assert done(asking.start()).one("seed.skipped")["tenant_id"] == TENANT
    assert len(site.requests) == 2


def test_what_somebody_emptied_is_seeded_for_the_same_tenant(asking: Stage, site: Site) -> None:
    """`seed.check` asks with the tenant that the ledger knows, and nobody else is asked."""
    asking.sections["seed"]["check"] = "select from rpg_heroes where tenant_id = %(tenant_id)s"
    done(asking.start())
    site.close()
    assert done(asking.start()).one("seed.skipped")["reason"] == "seeded"
    with asking.connect() as connection:
        connection.execute("delete from rpg_heroes")

    again = done(asking.start())

    assert again.one("seed.started")["reason"] == "seed.check found no row"
    assert again.one("seed.finished")["tenant_id"] == TENANT
    assert heroes(asking) == [TENANT]


def test_force_asks_again(asking: Stage, site: Site) -> None:
    """ENTRYPOINT_FORCE=seed believes no ledger; of two tenants the later one counts then."""
    done(asking.start())
    site.answer = found(OTHER)
    asking.environ["ENTRYPOINT_FORCE"] = "seed"

    assert done(asking.start()).one("seed.finished")["tenant_id"] == OTHER
    assert len(site.requests) == 2
    assert heroes(asking) == [OTHER, TENANT]


def test_the_variable_makes_the_lookup_needless(asking: Stage, site: Site) -> None:
    """Nobody is asked, and the seed's fingerprint is the one without a lookup."""
    asking.environ["SEED_TENANT_ID"] = TENANT
    lookup = asking.environ.pop("ENTRYPOINT_SEED_TENANT_LOOKUP")
    done(asking.start())
    asking.environ["ENTRYPOINT_SEED_TENANT_LOOKUP"] = lookup

    assert done(asking.start()).one("seed.skipped")["reason"] == "seeded"
    assert site.requests == []


@pytest.mark.parametrize("section", [{"when": "never"}, {"when": "tenant"}])
def test_without_a_seed_nobody_is_asked(
    asking: Stage, site: Site, section: dict[str, object]
) -> None:
    """Neither where it never runs nor where ENTRYPOINT_SKIP leaves it out."""
    asking.sections["seed"] |= section
    if section["when"] == "tenant":
        asking.environ["ENTRYPOINT_SKIP"] = "seed"

    assert "seed.skipped" in done(asking.start()).names()
    assert site.requests == []


def test_a_database_is_asked_as_soon_as_it_is_there(asking: Stage, sso: str) -> None:
    """Database, table and row may all come later: the SSO service pushes at the same time."""
    program = asking.start()
    assert "3D000" in program.until("tenant.retry_scheduled")["cause"]
    with create_sso(asking, sso) as connection:
        fill_sso(connection, TENANT)
    event = done(program).one("tenant.found")

    assert (event["tenant_id"], event["source"]) == (TENANT, sso)
    assert heroes(asking) == [TENANT]


@pytest.mark.parametrize(
    ("statement", "cause"),
    [
        ("select", "42P01"),
        ("create table sso_tenants (name text); grant select on sso_tenants to public", "42703"),
        (
            "create table sso_tenants (id uuid, name text); grant all on sso_tenants to public",
            "there is no tenant yet",
        ),
    ],
    ids=["no-table", "no-column", "no-row"],
)
def test_a_database_that_is_being_made_is_waited_for(
    asking: Stage, sso: str, statement: str, cause: str
) -> None:
    """Exit 4 at the deadline, with what is missing."""
    with create_sso(asking, sso) as connection:
        connection.execute(statement)
    look_up(asking, database=sso, query=QUERY, timeout=1)
    failure = failed(asking.start(), 4)

    assert cause in failure["error"]
    assert failure["remedy"].startswith("Set SEED_TENANT_ID")


def test_a_second_start_needs_no_second_database(asking: Stage, sso: str) -> None:
    """Even if it is gone: one connection, no lock."""
    with create_sso(asking, sso) as connection:
        fill_sso(connection, TENANT)
    done(asking.start())
    with asking.server.connect() as connection:
        drop = sql.SQL("drop database {} with (force)")
        connection.execute(drop.format(sql.Identifier(sso)))

    second = done(asking.start())

    assert second.one("seed.skipped")["tenant_id"] == TENANT
    assert "lock.started" not in second.names()


def test_a_role_that_may_not_look_is_told_what_to_grant(
    asking: Stage, sso: str, role: RoleFactory
) -> None:
    """Exit 5 at once, for the database and for the table; ENTRYPOINT_LOOKUP_URL is another way."""
    with create_sso(asking, sso) as connection:
        fill_sso(connection, TENANT)
        connection.execute("revoke select on sso_tenants from public")
        failure = failed(asking.start(), 5)
        assert "(42501)" in failure["error"]
        assert f'TO "{asking.user}"' in failure["remedy"]

        revoke = sql.SQL("revoke connect on database {} from public")
        connection.execute(revoke.format(sql.Identifier(sso)))
    failure = failed(asking.start(), 5)
    assert "(42501)" in failure["error"]
    assert f'GRANT CONNECT ON DATABASE "{sso}"' in failure["remedy"]
    assert "ENTRYPOINT_LOOKUP_URL" in failure["remedy"]

    reader = role()
    with asking.server.connect(sso) as connection:
        connection.execute(f'grant connect on database "{sso}" to {reader.name}')
        connection.execute(f"grant select on sso_tenants to {reader.name}")
    url = asking.server.url(sso, reader.name, reader.password)
    asking.environ["ENTRYPOINT_LOOKUP_URL"] = url
    assert done(asking.start()).one("seed.finished")["tenant_id"] == TENANT


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("select id from sso_tenants", "more than one tenant"),
        ("select name from sso_tenants limit 1", "'gaqno-development' is not a UUID"),
        ("selekt", "42601"),
        ("delete from sso_tenants returning id", "42601"),
        ("select nextval('sso_seen')", "25006"),
        ("select from sso_tenants limit 1", "the query has no column"),
        ("select 'infinity'::date", "date too large"),
    ],
)
def test_a_wrong_query_ends_the_start_at_once(
    asking: Stage, sso: str, query: str, words: str
) -> None:
    """Exit 8; nothing is written in a database that belongs to somebody else."""
    with create_sso(asking, sso) as connection:
        fill_sso(connection, TENANT, OTHER)
        connection.execute("grant all on sso_tenants to public; create sequence sso_seen")
        connection.execute("grant all on sequence sso_seen to public")
    look_up(asking, database=sso, query=query)
    failure = failed(asking.start(), 8)

    assert words in failure["error"]
    assert "seed.tenant_lookup" in failure["remedy"]
    with asking.server.connect(sso) as connection:
        assert connection.execute("select from sso_tenants").rowcount == 2


def asked(connection: psycopg.Connection[Any]) -> int:
    """The backend's pid, once the start's query is under way there."""
    running = "select pid from pg_stat_activity where query like 'FETCH%' and state = 'active'"
    until(lambda: connection.execute(running).rowcount, "the query")
    [(pid,)] = connection.execute(running).fetchall()
    return int(pid)


def test_a_query_that_takes_too_long_is_given_up(asking: Stage, sso: str) -> None:
    """The server ends it at the lookup's deadline, and says so."""
    create_sso(asking, sso).close()
    look_up(asking, database=sso, query="select pg_sleep(60)", timeout=2)
    failure = failed(asking.start(), 4)

    assert "(57014)" in failure["error"]
    assert failure["elapsed_s"] < 8


def test_a_server_that_freezes_under_the_query_holds_nobody_up(
    asking: Stage, own_server: Server
) -> None:
    """Exit 4 soon after the deadline, though not a byte comes: the lock is for other replicas."""
    with own_server.connect() as connection:
        connection.execute("create role own login createdb password 'own'")
        asking.server, asking.user, asking.password = own_server, "own", "own"
        look_up(asking, database="postgres", query="select pg_sleep(60)", timeout=3)
        program = asking.start()
        pid = asked(connection)
        os.kill(pid, signal.SIGSTOP)
        try:
            failure = failed(program, 4)
            assert asking.locks() == 0
        finally:
            os.kill(pid, signal.SIGCONT)

    assert "no answer to the query within 3 s" in failure["error"]
    assert failure["elapsed_s"] < 20


def test_sigterm_while_the_query_runs(asking: Stage, own_server: Server) -> None:
    """Ends at once, and leaves no session behind that still asks."""
    with own_server.connect() as connection:
        connection.execute("create role own login createdb password 'own'")
        asking.server, asking.user, asking.password = own_server, "own", "own"
        look_up(asking, database="postgres", query="select pg_sleep(60)", timeout=30)
        program = asking.start()
        asked(connection)
        program.signal(signal.SIGTERM)

        assert program.wait(timeout=2) == 143
        assert program.one("seed.failed")["error"] == "ended by SIGTERM"


def test_a_lock_that_is_lost_while_waiting_ends_the_start(asking: Stage, site: Site) -> None:
    """Exit 6: somebody else may seed by now."""
    site.answer = http("404 Not Found")
    program = asking.start()
    program.until("tenant.retry_scheduled")
    with asking.server.connect() as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s",
            [asking.database],
        )

    failure = failed(program, 6)

    assert "lock has ended" in failure["error"]
    assert asking.runs("seed") == []
