"""Many starts at once, and a lock that is lost."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from tests.support.program import python, until

if TYPE_CHECKING:
    from tests.support.stage import Stage


def overlap(runs: list[tuple[object, object]]) -> bool:
    """Whether one run began before the one before it ended."""
    return any(later[0] < earlier[1] for earlier, later in itertools.pairwise(runs))  # type: ignore[operator]


def test_eight_starts_on_a_server_without_the_database(stage: Stage) -> None:
    """All succeed, one push and one seed at a time, one creates, nothing goes wrong."""
    programs = [stage.start() for _ in range(8)]

    assert [program.wait(60) for program in programs] == [0] * 8
    assert len(stage.runs("push")) == len(stage.runs("seed")) == 8
    assert not overlap(sorted(stage.runs("push") + stage.runs("seed")))
    assert sum(len(program.all("database.created")) for program in programs) == 1
    wrong = {e["event"] for p in programs for e in p.events if e["level"] in ("error", "warning")}
    # Nobody registered it, and later pushes find rows that the role may not guard.
    assert wrong == {"settings.gap_found", "guard.not_armed"}
    with stage.connect() as connection:
        assert connection.execute("select from rpg_heroes").rowcount == 1


def test_the_holder_is_named_to_who_waits(stage: Stage) -> None:
    """pid, application name, address and since when."""
    stage.push = python("push", "ready", "wait-for", str(stage.gate))
    leader = stage.start()
    leader.until("push.printed")
    follower = stage.start()

    event = follower.until("lock.contended")

    assert event["holder_application_name"].startswith("entrypoint/demo/")
    assert event["holder_client_addr"] == "127.0.0.1"
    assert event["holder_pid"] in [row[0] for row in stage.sessions()]
    assert event["holder_since"].endswith("Z")
    stage.gate.touch()
    assert leader.wait() == follower.wait() == 0
    assert len(follower.all("lock.contended")) == 1


def test_a_lock_that_stays_taken_exits_6(stage: Stage) -> None:
    """With the holder and the query that shows it; nothing was run."""
    stage.push = python("push", "ready", "wait-for", str(stage.gate))
    leader = stage.start()
    leader.until("push.printed")
    stage.environ["ENTRYPOINT_LOCK_TIMEOUT"] = "0.5"
    follower = stage.start()

    assert follower.wait() == 6
    failure = follower.one("lock.failed")
    assert "entrypoint/demo/" in failure["error"]
    assert "pg_locks" in failure["remedy"]
    assert "push.started" not in follower.names()
    stage.gate.touch()
    assert leader.wait() == 0


def test_the_lock_waits_out_a_short_lock_timeout(stage: Stage) -> None:
    """lock_timeout and statement_timeout of the role do not end the wait or the lock."""
    with stage.server.connect() as connection:
        for setting in (
            "lock_timeout",
            "statement_timeout",
            "idle_in_transaction_session_timeout",
        ):
            connection.execute(f"alter role {stage.user} set {setting} = '300ms'")
    stage.push = python("push", "sql", "set statement_timeout = 0", "ready", "sleep", "1")
    leader = stage.start()
    leader.until("push.printed")
    follower = stage.start()

    assert leader.wait() == 0, leader.output
    assert follower.wait() == 0, follower.output


def test_a_lost_lock_stops_the_push(stage: Stage) -> None:
    """The lock's session is terminated in mid-push: child stopped, exit 6, no exec."""
    stage.push = python("push", "ready", "sleep", "60")
    program = stage.start()
    program.until("push.printed")
    [(pid, *_)] = [row for row in stage.sessions() if "/push-" not in row[1]]

    with stage.server.connect() as connection:
        connection.execute("select pg_terminate_backend(%s)", [pid])

    assert program.wait(timeout=5) == 6
    assert "held the lock has ended" in program.one("push.failed")["error"]
    assert "handoff.executed" not in program.names()
    assert stage.runs("push")[0][1] is None
    until(lambda: stage.sessions() == [], "no session of the child is left")


def test_the_lock_is_lost_after_the_seed(stage: Stage) -> None:
    """Lost before the commit means exit 6 as well: what was done was not alone."""
    stage.seed = python("seed", "{tenant_id}", "sql", END_THE_HOLDER)
    program = stage.start()

    assert program.wait() == 6
    assert "handoff.executed" not in program.names()


END_THE_HOLDER = (
    "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
    " and application_name like 'entrypoint/%' and application_name not like '%/seed-%'"
)


def test_create_index_concurrently_finishes_while_others_wait(stage: Stage) -> None:
    """Neither the lock nor five waiters hold a snapshot that it would wait for."""
    stage.push = python(
        "push",
        "ready",
        "wait-for",
        str(stage.gate),
        "sql",
        "create index concurrently if not exists rpg_heroes_name on rpg_heroes (name)",
    )
    leader = stage.start()
    leader.until("push.printed")
    followers = [stage.start() for _ in range(5)]
    for follower in followers:
        follower.until("lock.contended")
    stage.gate.touch()

    assert leader.wait(20) == 0
    assert [follower.wait(40) for follower in followers] == [0] * 5
    with stage.connect() as connection:
        query = "select indisvalid from pg_index where indexrelid = 'rpg_heroes_name'::regclass"
        assert connection.execute(query).fetchall() == [(True,)]
