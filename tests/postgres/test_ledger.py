"""The ledger in the database's comment: what is written is read back, and people's words stay."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import closing
from threading import Thread
from typing import TYPE_CHECKING

import psycopg
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from psycopg import sql

from entrypoint.config.conninfo import Conninfo
from entrypoint.errors import RefusedError, UnreachableError
from entrypoint.postgres import ledger
from entrypoint.postgres.ledger import (
    LONGEST_S,
    MARK,
    MAX_BRANCH,
    Damage,
    Found,
    Ledger,
    Losses,
    Mark,
    PushRecord,
    Seen,
    parse,
    render,
    split,
)
from entrypoint.postgres.session import Session, open_session
from entrypoint.postgres.sql import load_sql

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.rows import TupleRow

    from tests.conftest import RoleFactory
    from tests.support.server import Endpoint, Server

PUSH = PushRecord("f" * 64, "c" * 64, ("1.2.3",), "pod-1", "2026-01-02T03:04:05Z", 1.25)
DAMAGE = Damage("rpg_items", 3, "f" * 64, "1.2.3", "2026-01-02T03:04:08Z")
LOSSES = Losses(("3 rows of a", "table a", "column b.c"), "1.2.3", "pod-1", "2026-01-02T03:04:07Z")
FULL = Ledger(
    (PUSH, PUSH._replace(fingerprint="g", releases=(), service="rpg", older=True)),
    {"-": ("s" * 64, "2026-01-02T03:04:06Z")},
    (LOSSES, LOSSES._replace(lost=(), release=None)),
    (DAMAGE, DAMAGE._replace(what="index i", rows=0, release=None)),
    Mark("rpg", "7", "fix", "2026-01-02T03:04:09Z"),
    Seen("12:345", "c" * 64),
)
UNSEEN = FULL._replace(seen=None)
"""The same for tests that write it: the server decides about a part of what a start has seen."""

HUMAN = [
    "",
    "The finance team's database.",
    "Two lines,\nand a third:\n",
    "\n\n  leading and trailing blanks  \n\n",
    "naïve - 表 \U0001f600 'quoted' \"twice\" \\ back % $1 {}",
    "entrypoint: node dist/main.js",
    "See entrypoint:{ below.\nentrypoint:{}\nThat was the mark on a line of its own.",
    "\tentrypoint:{}",
    "Windows\r\nlines\r\n",
]


@pytest.mark.parametrize("text", HUMAN)
def test_human_text_stays(text: str) -> None:
    """People's text stands above the ledger as it was, however often that is written."""
    once = render(text, FULL)
    kept, line = split(once)
    assert kept in (text, text + "\n")
    assert once == kept + MARK + line
    assert parse(once) == FULL
    assert render(once, FULL) == once
    assert split(render(once, Ledger()))[0] == kept


@pytest.mark.parametrize(
    ("comment", "text", "line"),
    [
        ("", "", ""),
        ("words", "words", ""),
        ("words\n", "words\n", ""),
        ("entrypoint:{}", "", "{}"),
        ("words\nentrypoint:{}", "words\n", "{}"),
        ("words\n\nentrypoint:{}\r\n \n", "words\n\n", "{}"),
        ("words\r\nentrypoint:{}\r\n", "words\r\n", "{}"),
        ("entrypoint:{}\nwords", "entrypoint:{}\nwords", ""),
        ("words entrypoint:{}", "words entrypoint:{}", ""),
        (" entrypoint:{}", " entrypoint:{}", ""),
    ],
)
def test_split(comment: str, text: str, line: str) -> None:
    """The ledger is the last line that is not blank, if that begins with the mark."""
    assert split(comment) == (text, line)


def line(**changes: object) -> str:
    """A ledger's line with other values in it."""
    good = json.loads(render("", FULL).removeprefix(MARK))
    return MARK + json.dumps(good | changes)


def with_push(**changes: object) -> str:
    return line(pushes=[PUSH._asdict() | changes])


def with_damage(**changes: object) -> str:
    return line(damages=[DAMAGE._asdict() | changes])


def with_losses(**changes: object) -> str:
    return line(losses=[LOSSES._asdict() | changes])


@pytest.mark.parametrize(
    "comment",
    [
        MARK + "{",
        MARK + "{}",
        MARK + "[]",
        MARK + "null",
        MARK + "1",
        MARK + '"v"',
        MARK + "nonsense",
        MARK + "[" * 100_000,
        MARK + '{"v":1,"pushes":' + "[" * 100_000,
        MARK + '{"v":' + "9" * 5_000 + "}",
        MARK + '{"v":1}',
        line(pushes=None),
        line(pushes={}, seeds=None),
        line(pushes=[None]),
        line(pushes=["text"]),
        line(pushes=[[]]),
        line(pushes=[{}]),
        line(pushes="text"),
        with_push(more=1),
        with_push(fingerprint=None),
        with_push(fingerprint=["f"]),
        with_push(catalog=1),
        with_push(releases=0),
        with_push(releases=[0]),
        with_push(releases=None),
        with_push(service=1),
        with_push(older=None),
        with_push(host={}),
        with_push(at=None),
        with_push(elapsed_s="1"),
        with_push(elapsed_s=float("nan")),
        with_push(elapsed_s=float("inf")),
        with_push(elapsed_s=-1.0),
        with_push(elapsed_s=10**400),
        line(seeds=[]),
        line(seeds=[1]),
        line(seeds={"-": None}),
        line(seeds={"-": "ab"}),
        line(seeds={"-": ["f"]}),
        line(seeds={"-": ["f", 1]}),
        line(seeds={"-": ["f", "at", "more"]}),
        line(losses=None),
        line(losses=1),
        line(losses=[None]),
        line(losses=["text"]),
        line(losses=[{}]),
        with_losses(more=1),
        with_losses(lost=None),
        with_losses(lost=[1]),
        with_losses(lost=["a", None]),
        with_losses(release=1),
        with_losses(host=None),
        with_losses(at={}),
        line(damages=None),
        line(damages=[{}]),
        with_damage(more=1),
        with_damage(what=None),
        with_damage(rows="1"),
        with_damage(release=1),
        line(v=1),
        line(v=None),
        line(v="1"),
        line(v=0),
        line(v=[]),
    ],
    ids=lambda comment: comment[:60],
)
def test_unreadable_is_empty(comment: str) -> None:
    """What cannot be read is a problem, counts as nothing, and may be replaced by the owner."""
    found = parse("words\n" + comment)
    assert found.problem
    assert len(found.problem) < 100
    assert (found.pushes, found.seeds, found.losses, found.last) == ((), {}, (), None)
    assert found.writable
    assert not parse("words\n" + comment, owner=False).writable
    assert render("words\n" + comment, FULL).startswith("words\n")


@pytest.mark.parametrize("version", [3, 3.5, 10**30])
def test_future_is_neither_believed_nor_overwritten(version: float) -> None:
    """A ledger of a later format is a problem, counts as nothing, and is not ours to write."""
    found = parse(line(v=version))
    assert found == Ledger(problem=f"its format is {version}", writable=False)
    assert parse(line(v=version, pushes={"of": "another kind"})) == found


@pytest.mark.parametrize("comment", [None, "", "words", "words\n"])
def test_no_ledger_is_no_problem(comment: str | None) -> None:
    """Without a ledger there is an empty one; only the owner may write it."""
    assert parse(comment) == Ledger()
    assert parse(comment, owner=False) == Ledger(writable=False)


def test_last_line_that_is_no_ledger_stays() -> None:
    """Words of people's that begin as the mark does are not overwritten."""
    assert render("entrypoint: node main.js", FULL).startswith("entrypoint: node main.js\n")


def test_huge_ledger_is_read() -> None:
    """A thousand tenants and a release of a megabyte are no problem."""
    seeds = {f"tenant-{number}": ("f" * 64, "at") for number in range(1000)}
    huge = Ledger((PUSH._replace(releases=("x" * 1_000_000,)),), seeds)
    assert parse(render("words", huge)) == huge


def test_last_pushes_are_kept() -> None:
    """Of many distinct pushes the last 20 stay, the newest last, and the original as it was."""
    found = Ledger()
    for number in range(25):
        found = found.pushed(PUSH._replace(fingerprint=str(number)))
    assert [push.fingerprint for push in found.pushes] == [str(n) for n in range(5, 25)]
    assert found.last == found.pushes[-1]
    assert Ledger().pushed(PUSH).pushes == (PUSH,)
    assert Ledger().last is None


def test_one_push_is_one_however_often() -> None:
    """It moves to the end, with the latest catalog, and with every release that carried it."""
    other = PUSH._replace(fingerprint="g")
    found = Ledger().pushed(PUSH).pushed(other)
    for number in range(25):
        found = found.pushed(PUSH._replace(releases=(str(number),), catalog=str(number)))
    assert [push.fingerprint for push in found.pushes] == ["g", PUSH.fingerprint]
    assert found.pushes[-1].catalog == "24"
    assert found.pushes[-1].releases == tuple(str(number) for number in range(5, 25))
    assert found.pushed(PUSH._replace(releases=("7",))).pushes[-1].releases[-2:] == ("24", "7")
    assert found.pushed(PUSH._replace(releases=())).pushes == (
        other,
        found.pushes[-1]._replace(catalog=PUSH.catalog),
    )


def test_services_have_pushes_of_their_own() -> None:
    """Neither takes the other's place; where a name is missing, nothing tells whose it is."""
    ours, theirs, nobodys = (PUSH._replace(service=name) for name in ("rpg", "hr", None))
    found = Ledger().pushed(ours).pushed(theirs)
    assert found.pushes == (ours, theirs)
    assert (found.of("rpg"), found.of("hr")) == ((ours,), (theirs,))
    assert found.of(None) == found.pushes
    assert (found.others("rpg"), found.others("hr"), found.others(None)) == (["hr"], ["rpg"], [])
    assert Ledger().pushed(nobodys).of("rpg") == (nobodys,)
    assert Ledger().pushed(nobodys).pushed(ours).pushes == (ours,)


def test_the_first_format_is_read() -> None:
    """Its pushes had one release each, and were as many as there were."""
    push = {"fingerprint": "f", "catalog": "c", "host": "h", "at": "at", "elapsed_s": 1}
    pushes = [
        push | {"release": "a"},
        push | {"fingerprint": "g", "release": None},
        push | {"release": "b", "catalog": "d"},
    ]
    old = MARK + json.dumps({"v": 1, "pushes": pushes, "seeds": {"-": ["s", "at"]}})
    found = parse(old)
    assert found.problem is None
    assert found.pushes == (
        PushRecord("g", "c", (), "h", "at", 1),
        PushRecord("f", "d", ("a", "b"), "h", "at", 1),
    )
    assert found.seeds == {"-": ("s", "at")}
    assert parse(render(old, found)) == found


def test_last_losses_are_kept() -> None:
    """Of the pushes that lost something the last 10 stay, and say nothing of who succeeded."""
    found = Ledger().pushed(PUSH)
    for number in range(15):
        found = found.with_losses(LOSSES._replace(host=str(number)))
    assert [losses.host for losses in found.losses] == [str(number) for number in range(5, 15)]
    assert found.pushes == (PUSH,)
    assert Ledger().with_losses(LOSSES).pushed(PUSH).losses == (LOSSES,)


def test_losses_are_told_where_there_are_some() -> None:
    """A ledger of a program that knew of none is read, and one without is written as it was."""
    older = Ledger((PUSH,), {"-": ("f", "at")})
    text = render("", older)
    assert "losses" not in text
    assert parse(text) == older
    assert parse(render(text, older.with_losses(LOSSES))).losses == (LOSSES,)


@pytest.mark.parametrize(
    "seen", [None, 1, "1:2", [], {}, {"state": "1:2"}, {"state": 1, "catalog": "c"}, {"more": 1}]
)
def test_seen_is_believed_as_a_start_writes_it(seen: object) -> None:
    """Anything else counts as nothing, and spoils nothing."""
    text = render("", Ledger((PUSH,)))
    data = {**json.loads(text.removeprefix(MARK)), "seen": seen}
    assert parse(MARK + json.dumps(data)) == Ledger((PUSH,))


def test_a_state_is_one_before_and_after() -> None:
    """A fingerprint that was computed while the schema changed has no state."""
    begin = [(), (None, True, None), (False,)]
    assert ledger.found([*begin, ("1:2", "c"), ("1:2",)]).seen == Seen("1:2", "c")
    assert ledger.found([*begin, ("1:2", "c"), ("1:3",)]).state is None
    assert ledger.found([*begin, (None, "c"), (None,)]).state is None
    assert ledger.found([*begin, ("c",)]).state is None
    with pytest.raises(RefusedError):
        ledger.found([*begin, ()])


def test_a_guards_remains_are_looked_for_again() -> None:
    """A start that leaves some leaves no state either, so that the next one finds them."""
    found = Found(Ledger(), "c", state="1:2")
    assert found.seen == Seen("1:2", "c")
    assert found._replace(leftovers=True).seen is None
    assert found._replace(catalog=None).seen is found._replace(state=None).seen is None


def test_seeds_are_by_tenant() -> None:
    """A tenant's later seed replaces its earlier one, and no other."""
    found = Ledger().seeded("a", "1", "then").seeded("b", "1", "then").seeded("a", "2", "now")
    assert found.seeds == {"a": ("2", "now"), "b": ("1", "then")}


words = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
anything = st.text()
pushes = st.builds(
    PushRecord,
    fingerprint=anything,
    catalog=anything,
    releases=st.lists(anything).map(tuple),
    host=anything,
    at=anything,
    elapsed_s=st.floats(0, LONGEST_S),
    service=st.none() | anything,
    older=st.booleans(),
)
losses = st.builds(
    Losses,
    lost=st.lists(anything).map(tuple),
    release=st.none() | anything,
    host=anything,
    at=anything,
)
damages = st.builds(
    Damage,
    what=anything,
    rows=st.integers(),
    fingerprint=anything,
    release=st.none() | anything,
    at=anything,
)
marks = st.builds(
    Mark,
    service=anything,
    preview=anything,
    branch=st.none() | st.text(max_size=MAX_BRANCH),
    at=st.floats(0, 2e9).map(ledger.stamp),
)
ledgers = st.builds(
    Ledger,
    pushes=st.lists(pushes, max_size=20).map(tuple),
    seeds=st.dictionaries(anything, st.tuples(anything, anything)),
    losses=st.lists(losses, max_size=10).map(tuple),
    damages=st.lists(damages).map(tuple),
    preview=st.none() | marks,
    seen=st.none() | st.builds(Seen, state=anything, catalog=anything),
    problem=st.none(),
    writable=st.just(True),  # noqa: FBT003 - the value itself
)


@settings(deadline=None)
@given(text=words, first=ledgers, second=ledgers)
def test_round_trip(text: str, first: Ledger, second: Ledger) -> None:
    """Whatever people wrote, a ledger is read as it was written, and writes over no word."""
    assume(not split(text)[1])
    comment = render(render(text, first), second)
    assert parse(comment) == second
    kept, json_line = split(comment)
    assert kept in (text, text + "\n")
    assert json_line.isascii()


@settings(deadline=None)
@given(comment=words)
def test_parse_never_raises(comment: str) -> None:
    """Any text after the mark is read as one thing or another."""
    assert parse(f"{MARK}{comment}").last is None


@pytest.fixture
def session(server: Endpoint, database: str) -> Iterator[Session]:
    """A session of the superuser in a new database, no transaction open."""
    with server.connect() as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(database)))
    with closing(connect(server.url(database))) as opened:
        yield opened


def connect(url: str, probe: str = "") -> Session:
    params = {key: str(value) for key, value in psycopg.conninfo.conninfo_to_dict(url).items()}
    return open_session(Conninfo(params), 5, application_name="test", probe=probe)


def describe(server: Endpoint, database: str, text: str) -> None:
    """Write a comment as people do, in a session of its own."""
    statement = sql.SQL("comment on database {} is {}")
    with server.connect() as connection:
        connection.execute(statement.format(sql.Identifier(database), sql.Literal(text)))


def comment(server: Endpoint, database: str) -> str:
    with server.connect() as connection:
        row = connection.execute(
            "select shobj_description(oid, 'pg_database') from pg_database where datname = %s",
            [database],
        ).fetchone()
    assert row is not None
    assert isinstance(row[0], str)
    return row[0]


def test_written_is_found(server: Endpoint, session: Session) -> None:
    """What is written in a transaction is found after its commit, by the probe too, not before."""
    session.connection.execute("begin")
    before = ledger.look(session)
    assert before.ledger == Ledger()
    ledger.write(session, UNSEEN)
    assert ledger.look(session).ledger == UNSEEN
    with closing(connect(server.url(session.database), load_sql("postgres/probe"))) as other:
        assert ledger.found(other.probed) == before
    session.connection.execute("commit")
    with closing(connect(server.url(session.database), load_sql("postgres/probe"))) as other:
        assert ledger.found(other.probed) == before._replace(ledger=UNSEEN)


def test_rolled_back_is_not_found(session: Session) -> None:
    """What is written in a transaction that fails was never written."""
    session.connection.execute("begin")
    ledger.write(session, UNSEEN)
    session.connection.execute("rollback; begin")
    assert ledger.look(session).ledger == Ledger()


@pytest.mark.parametrize("text", [text for text in HUMAN if text])
def test_human_comment_is_kept(server: Endpoint, session: Session, text: str) -> None:
    """What people wrote, also between our reading and our writing, stays byte for byte."""
    describe(server, session.database, "an older text")
    session.connection.execute("begin")
    found = ledger.look(session).ledger
    describe(server, session.database, text)
    ledger.write(session, found.pushed(PUSH))
    session.connection.execute("commit")
    written = comment(server, session.database)
    assert written.startswith(text)
    assert split(written)[0] in (text, text + "\n")
    assert parse(written).last == PUSH


def test_odd_database_name(server: Endpoint, session: Session, database: str) -> None:
    """A name that needs quotes is written to as any other."""
    odd = f'{database} "Ünd" %s {{}}'
    session.close()
    rename = sql.SQL("alter database {} rename to {}")
    with server.connect() as connection:
        connection.execute(rename.format(sql.Identifier(database), sql.Identifier(odd)))
    try:
        with closing(connect(server.url(odd))) as renamed:
            renamed.connection.execute("begin")
            ledger.write(renamed, UNSEEN)
            renamed.connection.execute("commit; begin")
            assert ledger.look(renamed).ledger == UNSEEN
    finally:
        with server.connect() as connection:
            connection.execute(rename.format(sql.Identifier(odd), sql.Identifier(database)))


def test_thousand_tenants(session: Session) -> None:
    """A ledger with the seeds of a thousand tenants comes back whole."""
    full = UNSEEN
    for number in range(1000):
        full = full.seeded(f"00000000-0000-4000-8000-{number:012}", "f" * 64, PUSH.at)
    session.connection.execute("begin")
    ledger.write(session, full)
    session.connection.execute("commit; begin")
    assert ledger.look(session).ledger == full


def test_look_leaves_the_transaction_as_it_was(session: Session) -> None:
    """Settings, cursors and what was done in an open transaction outlive any number of looks."""
    connection = session.connection
    connection.execute(
        "begin; set local search_path = pg_temp, public; set local timezone = 'Asia/Tokyo';"
        "create temporary table mine (id int); insert into mine values (1);"
        "declare c cursor for select 5"
    )
    state = "select current_setting('search_path'), current_setting('timezone'), id from mine"
    before = connection.execute(state).fetchone()
    ledger.look(session)
    ledger.look(session)
    assert connection.execute(state).fetchone() == before
    assert connection.execute("fetch c").fetchone() == (5,)
    with pytest.raises(psycopg.errors.InvalidSavepointSpecification):
        connection.execute("rollback to look")


def test_probe_leaves_the_session_as_it_was(server: Endpoint, session: Session) -> None:
    """Behind a pooler nobody inherits the probe's settings."""
    url = server.url(session.database)
    with closing(connect(url, load_sql("postgres/probe"))) as other, closing(connect(url)) as plain:
        query = "select name, setting from pg_settings where source = 'session' order by name"
        rows = other.connection.execute(query).fetchall()
        assert rows == plain.connection.execute(query).fetchall()


def blocked(connection: psycopg.Connection[TupleRow], pid: int) -> bool:
    query = "select wait_event_type = 'Lock' from pg_stat_activity where pid = %s"
    return connection.execute(query, [pid]).fetchone() == (True,)


@pytest.mark.parametrize("lock_timeout", ["0", "100ms"])
def test_look_survives_what_vanishes(server: Endpoint, session: Session, lock_timeout: str) -> None:
    """A look at a view that is being dropped is taken again, and the lock is still held."""
    connection = session.connection
    connection.execute("begin; select pg_advisory_xact_lock(42)")
    connection.execute(f"set local lock_timeout = '{lock_timeout}'")
    with server.connect(session.database) as other:
        other.execute("create view v as select 1")
        with other.transaction():
            other.execute("drop view v")
            found: list[ledger.Found] = []
            looking = Thread(target=lambda: found.append(ledger.look(session)))
            looking.start()
            pid = connection.info.backend_pid
            while not blocked(other, pid):
                assert looking.is_alive()
        looking.join()
        assert other.execute("select pg_try_advisory_lock(42)").fetchone() == (False,)
    assert found == [ledger.look(session)]


def test_a_name_that_changes_during_a_look_leaves_no_state(
    server: Endpoint, session: Session
) -> None:
    """The server tells an index's newest name, whatever the snapshot of the query."""
    connection = session.connection
    with server.connect(session.database) as other:
        other.execute("create table t (id int); create index a on t (id); create view v as table t")
        connection.execute("begin")
        assert ledger.look(session, to_record=True).state
        with other.transaction():
            other.execute("lock table t in access exclusive mode")
            found: list[ledger.Found] = []
            looking = Thread(target=lambda: found.append(ledger.look(session, to_record=True)))
            looking.start()
            while not blocked(other, connection.info.backend_pid):
                assert looking.is_alive()
            other.execute("alter index a rename to b")
        looking.join()
    assert found[0].state is None


def test_look_gives_up(server: Endpoint, session: Session) -> None:
    """A schema that stays locked is unknown; the ledger is read all the same."""
    connection = session.connection
    connection.execute("begin; select pg_advisory_xact_lock(42)")
    with server.connect(session.database) as other:
        other.execute("create view v as select 1")
        with other.transaction():
            other.execute("drop view v")
            assert ledger.look(session) == ledger.UNKNOWN
        assert other.execute("select pg_try_advisory_lock(42)").fetchone() == (False,)


def owned(server: Endpoint, database: str, owner: str) -> None:
    statement = sql.SQL("alter database {} owner to {}")
    with server.connect() as connection:
        connection.execute(statement.format(sql.Identifier(database), sql.Identifier(owner)))


def test_not_the_owner(server: Endpoint, session: Session, role: RoleFactory) -> None:
    """Who may not write is told so, and loses neither the transaction nor the lock in it."""
    guest = role()
    url = server.url(session.database, guest.name, guest.password)
    with closing(connect(url)) as other:
        connection = other.connection
        connection.execute("begin; select pg_advisory_xact_lock(42); create temporary table t ()")
        assert ledger.look(other).ledger == Ledger(writable=False)
        with pytest.raises(RefusedError, match=r"owner.*42501") as caught:
            ledger.write(other, UNSEEN)
        assert caught.value.remedy
        lock = "select pg_try_advisory_lock(42)"
        assert session.connection.execute(lock).fetchone() == (False,)
        connection.execute("select from t; commit")
        assert session.connection.execute(lock).fetchone() == (True,)
    session.connection.execute("begin")
    assert ledger.look(session).ledger == Ledger()


def test_owner_and_members_of_the_owner(
    server: Endpoint, session: Session, role: RoleFactory
) -> None:
    """The owner, no superuser, may write, and so may a role that was granted the owner."""
    owner, member = role(), role()
    owned(server, session.database, owner.name)
    with server.connect() as connection:
        statement = sql.SQL("grant {} to {}")
        connection.execute(
            statement.format(sql.Identifier(owner.name), sql.Identifier(member.name))
        )
    for each in (owner, member):
        url = server.url(session.database, each.name, each.password)
        with closing(connect(url)) as other:
            other.connection.execute("begin")
            found = ledger.look(other).ledger
            assert found.writable
            ledger.write(other, found.pushed(PUSH._replace(host=each.name)))
            other.connection.execute("commit")
    written = parse(comment(server, session.database))
    assert [push.host for push in written.pushes] == [member.name]


def test_lost_connection(session: Session, server: Endpoint) -> None:
    """A session that is gone is unreachable, not refused."""
    session.connection.execute("begin")
    with server.connect() as connection:
        connection.execute("select pg_terminate_backend(%s)", [session.connection.info.backend_pid])
    with pytest.raises(UnreachableError):
        ledger.look(session)
    with pytest.raises(UnreachableError):
        ledger.write(session, UNSEEN)


def test_dump_carries_it(own_server: Server) -> None:
    """A database restored from pg_dump --create in another server has ledger and fingerprint."""
    with own_server.connect() as connection:
        connection.execute("create database service")
    with own_server.connect("service") as connection:
        connection.execute("create table t (id serial, s varchar(9) check (s in ('a', 'b')))")
    describe(own_server, "service", "words")
    with closing(connect(own_server.url("service"))) as session:
        session.connection.execute("begin")
        before = ledger.look(session, to_record=True)
        book = UNSEEN._replace(seen=before.seen)
        ledger.write(session, book)
        session.connection.execute("commit")
    environment = {"PATH": os.defpath}

    def run(program: str, *arguments: str, text: bytes = b"") -> bytes:
        command = [str(own_server.pg_bin / program), *arguments]
        done = subprocess.run(
            command, check=True, input=text, stdout=subprocess.PIPE, env=environment, timeout=60
        )
        return done.stdout

    dump = run("pg_dump", "--create", own_server.url("service"))
    with own_server.connect() as connection:
        connection.execute("drop database service with (force)")
    run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", own_server.url(), text=dump)
    with closing(connect(own_server.url("service"), load_sql("postgres/probe"))) as session:
        after = ledger.found(session.probed)
    assert after.ledger._replace(seen=None) == UNSEEN
    assert after == before._replace(ledger=after.ledger, state=None)
    # Its rows are others, and may have the same OIDs and transaction numbers all the same.
    with closing(connect(own_server.url("service"), load_sql("postgres/look"))) as session:
        rows = session.probed
        assert ledger.recognized(rows) is None
        *_, (state,) = rows
        assert after.ledger.seen
        seen = after.ledger.seen._replace(state=state)
        *_, entry = rows[1]
        for one in (seen, seen._replace(entry=entry)):
            words = render("", UNSEEN._replace(seen=one))
            found = ledger.recognized([(), (words, True, True, entry), (state,)])
            assert (found is not None) == (one.entry == entry)
    assert comment(own_server, "service").startswith("words\n")
