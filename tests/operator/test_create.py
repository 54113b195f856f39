"""`entrypoint create`: the registry's databases, each once, whoever else is creating them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.operator.conftest import RPG, RPG_DB, SERVICES, answer, create_database, create_role

if TYPE_CHECKING:
    from tests.operator.conftest import Operator

AT_ONCE = 8


def databases(operator: Operator) -> list[tuple[Any, ...]]:
    """What is on the server but templates and `postgres`: name, owner, open to PUBLIC, encoding."""
    return operator.execute(
        "select datname, pg_get_userbyid(datdba), has_database_privilege('public', oid, 'connect'),"
        " pg_encoding_to_char(encoding) from pg_database"
        " where not datistemplate and datname <> 'postgres' order by oid"
    )


def results(operator: Operator, *words: str, **environ: str) -> dict[str, str]:
    """Run it; the result for each database."""
    rows = operator.run("create", "--json", *words, environ=environ).json["databases"]
    assert all((row["result"] == "failed") == bool(row["failure"]) for row in rows)
    return {row["database"]: row["result"] for row in rows}


def test_every_missing_database(stranger: Operator) -> None:
    """Created in the registry's order, as UTF8, closed to PUBLIC; the second time all exist."""
    create_database(stranger.server, RPG_DB)
    created = {name: "exists" if name == RPG_DB else "created" for name in SERVICES.values()}
    assert results(stranger) == created
    assert databases(stranger) == [
        (RPG_DB, "postgres", False, "UTF8"),
        *((name, "postgres", False, "UTF8") for name in SERVICES.values() if name != RPG_DB),
    ]
    assert results(stranger) == dict.fromkeys(SERVICES.values(), "exists")
    assert stranger.run("verify", "--strict").code == 0


def test_a_line_for_each(stranger: Operator) -> None:
    """For people: database, service, what was done."""
    stranger.run("create", "--service", RPG)

    lines = stranger.run("create").out.splitlines()

    rows = {tuple(line.split()) for line in lines if "-service" in line}
    assert rows == {
        (database, service, "exists" if database == RPG_DB else "created")
        for service, database in SERVICES.items()
    }


def test_a_dry_run_creates_nothing(stranger: Operator) -> None:
    """It says which are missing, and exits 0."""
    create_database(stranger.server, RPG_DB)
    missing = {name: "exists" if name == RPG_DB else "missing" for name in SERVICES.values()}

    assert results(stranger, "--dry-run") == missing
    assert stranger.run("create", "--dry-run").out.count("would be created") == 5
    assert stranger.run("create", "--dry-run", "--json").json["dry_run"] is True
    assert [row[0] for row in databases(stranger)] == [RPG_DB]


def test_one_service_only(stranger: Operator) -> None:
    """`--service` narrows it, in the order in which they are named."""
    words = ["--service", "gaqno-sso-service", "--service", RPG]

    assert list(results(stranger, *words)) == ["gaqno_sso_db", RPG_DB]
    assert [row[0] for row in databases(stranger)] == ["gaqno_sso_db", RPG_DB]


def test_open_to_others(stranger: Operator) -> None:
    """`--no-isolate` leaves what it created as the server makes it; what is there stays closed."""
    create_database(stranger.server, RPG_DB)
    stranger.run("create", "--no-isolate", "--service", RPG, "--service", "gaqno-sso-service")

    assert [row[:3] for row in databases(stranger)] == [
        (RPG_DB, "postgres", False),
        ("gaqno_sso_db", "postgres", True),
    ]


def test_what_is_there_stays_as_it_is(stranger: Operator) -> None:
    """Neither its owner nor who may connect is touched."""
    create_role(stranger.server, "somebody")
    stranger.execute(
        f"create database {RPG_DB} owner somebody encoding 'SQL_ASCII' template template0"
    )

    assert results(stranger, "--service", RPG) == {RPG_DB: "exists"}
    assert databases(stranger) == [(RPG_DB, "somebody", True, "SQL_ASCII")]


def test_the_registry_s_owner(stranger: Operator) -> None:
    """Owns what is created, and may connect to it; others may not."""
    create_role(stranger.server, "Demo's owner")
    other = create_role(stranger.server, "other")
    environ = stranger.registry(("demo", "demo_db", ["demo_"]), owner="Demo's owner")

    assert results(stranger, **environ) == {"demo_db": "created"}
    assert databases(stranger) == [("demo_db", "Demo's owner", False, "UTF8")]
    for user, code in (("Demo's owner", 0), ("other", 5)):
        url = stranger.server.url("postgres", user, "its-password")
        answer = stranger.run("verify", environ={**environ, "DATABASE_URL": url})
        assert answer.code == code, other


def test_a_role_that_creates_for_another(stranger: Operator) -> None:
    """A plain role with CREATEDB that is a member of the owner."""
    create_role(stranger.server, "owner")
    url = create_role(stranger.server, "admin", "createdb in role owner")
    environ = stranger.registry(("demo", "demo_db", ["demo_"]), owner="owner")

    assert results(stranger, **environ, DATABASE_URL=url) == {"demo_db": "created"}
    assert databases(stranger) == [("demo_db", "owner", False, "UTF8")]


def test_an_owner_that_does_not_exist(stranger: Operator) -> None:
    """Exit 5 for this database; the remedy does not send anybody to the role's privileges."""
    environ = stranger.registry(("demo", "demo_db", ["demo_"]), owner="no such role")

    answer = stranger.run("create", "--json", environ=environ)

    [row] = answer.json["databases"]
    assert (answer.code, row["result"]) == (5, "failed")
    assert '"no such role" does not exist' in row["failure"]["message"]
    assert "CREATE ROLE" in row["failure"]["remedy"]
    assert databases(stranger) == []


def test_a_role_that_may_not(stranger: Operator) -> None:
    """Exit 5 and the privilege to grant; what is there and what is missing is still told."""
    url = create_role(stranger.server, "plain")
    create_database(stranger.server, "gaqno_pdv_db")

    answer = stranger.run("create", "--json", environ={"DATABASE_URL": url})

    assert answer.code == 5
    rows = {row["database"]: row for row in answer.json["databases"]}
    assert list(rows) == list(SERVICES.values())
    assert rows.pop("gaqno_pdv_db")["result"] == "exists"
    for row in rows.values():
        assert row["result"] == "failed"
        assert row["failure"]["exit_code"] == 5
        assert 'ALTER ROLE "plain" CREATEDB' in row["failure"]["remedy"]
        assert "ENTRYPOINT_ADMIN_URL" in row["failure"]["remedy"]
    shown = stranger.run("create", environ={"DATABASE_URL": url})
    assert shown.code == 5
    assert shown.out.count("ALTER ROLE") == 5
    stranger.execute("alter role plain createdb")
    assert stranger.run("create", environ={"DATABASE_URL": url}).code == 0


def test_one_that_fails_spoils_no_other(stranger: Operator) -> None:
    """The databases before and after it are created all the same."""
    environ = stranger.registry(
        ("one", "one_db", []), ("owned", "owned_db", []), ("two", "two_db", [])
    )
    path = stranger.directory / "services.toml"
    path.write_text(path.read_text().replace('"owned_db"', '"owned_db"\nowner = "absent"'))

    answer = stranger.run("create", "--json", environ=environ)

    found = [row["result"] for row in answer.json["databases"]]
    assert (answer.code, found) == (5, ["created", "failed", "created"])
    assert [row[0] for row in databases(stranger)] == ["one_db", "two_db"]


def test_eight_at_once(stranger: Operator) -> None:
    """Nobody fails, every database is there once, and each was created by exactly one."""
    programs = [stranger.start("create", "--json") for _ in range(AT_ONCE)]

    answers = [answer(program) for program in programs]

    assert [each.code for each in answers] == [0] * AT_ONCE
    for name in SERVICES.values():
        told = [
            row["result"]
            for each in answers
            for row in each.json["databases"]
            if row["database"] == name
        ]
        assert sorted(told) == ["created", *["exists"] * (AT_ONCE - 1)]
    assert [row[0] for row in databases(stranger)] == list(SERVICES.values())
    assert not any(row[2] for row in databases(stranger))


def test_names_of_the_registry_are_no_sql(stranger: Operator) -> None:
    """Quotes, semicolons, spaces, newlines and other alphabets are part of a database's name."""
    names = [
        'a"; drop database victim; --',
        "b' or true; --",
        "c d\ne\tf",
        "üñí\u202ecode",
        "%s %(x)s",
    ]
    create_database(stranger.server, "victim")
    environ = stranger.registry(*((f"s{i}", name, [f"s{i}_"]) for i, name in enumerate(names)))
    told = {}
    for command, answers in (
        ("create", "databases"),
        ("verify", "databases"),
        ("status", "services"),
    ):
        answer = stranger.run(command, "--json", environ=environ)
        assert answer.code == 0
        assert answer.out.isascii()
        told[command] = answer.json[answers]

    assert [(row["database"], row["result"]) for row in told["create"]] == [
        (name, "created") for name in names
    ]
    assert told["verify"] == ["postgres", *names]
    assert [(row["database"], row["exists"]) for row in told["status"]] == [
        (name, True) for name in names
    ]
    assert {row[0] for row in databases(stranger)} == {"victim", *names}
