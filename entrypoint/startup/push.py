"""Step 4: apply the schema with the service's own push-db, under the lock, and judge it."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, NamedTuple

from .. import log
from ..errors import PushError
from ..postgres import guard, ledger, loss, snapshot
from ..postgres.session import Session
from ..process import Finished
from ..sections import Push
from . import child
from .verdict import Witnesses, Wrong, judge
from .words import Ear

RAILS: Final = {"CI": "1", "NO_COLOR": "1"}
"""What makes a tool neither ask nor paint."""


class Pushed(NamedTuple):
    """A push that ran, and what came of it."""

    elapsed_s: float
    catalog: str | None
    """The schema's fingerprint after it; None when somebody is changing the schema."""

    loss: loss.Loss
    fields: dict[str, object]
    """What the witnesses say."""

    wrong: PushError | None


def run(
    push: Push,
    prefixes: Collection[str],
    catalog: str | None,
    around: child.Surroundings,
    sessions: Callable[[], Iterator[Session]],
) -> Pushed:
    """Push, guarded against loss; idempotent as far as the service's program is.

    ``catalog`` is the schema's fingerprint before it; ``sessions`` opens one after the other for
    the guard, the mightiest first. A push is not one transaction: what it did before it failed
    stays, and the next one goes on from there. Raises `PushError` when it cannot be started or its
    guard is lost, `LockError`, `UnreachableError` and `Terminated`.
    """
    session = around.held.session
    before = snapshot.take(session)
    task = child.Task("push", PushError, push.command, push.timeout_s)
    ear = Ear(push.success, push.failure)
    added = {name: value for name, value in RAILS.items() if around.environ.get(name) is None}
    around = replace(around, added=added)
    with _guarded(push, before, session, sessions) as armed:
        watches = [armed] if armed else []
        finished = child.run(task, around, ear.hear, watches)
        refused = armed is not None and armed.refused()
    after = snapshot.take(session, {table.oid for table in before.filled})
    catalog_after = ledger.look(session).catalog
    lost = loss.compare(before, after, prefixes)
    if told := lost.fields():
        log.event("warning" if lost.of_rows else "info", "push.loss", **told)
    said = ear.said()
    fields: dict[str, object] = {
        "returncode": finished.returncode,
        "output": said.text,
        "catalog": _change(catalog, catalog_after),
        "tables": len(after.tables),
    }
    seen = Witnesses(task.failure(finished), said, refused, before, after, lost)
    wrong = judge(seen, prefixes=prefixes, on_loss=push.on_loss, allowed=push.allow_loss)
    error = _error(push, finished, wrong, fields) if wrong else None
    return Pushed(finished.elapsed_s, catalog_after, lost, fields, error)


@contextmanager
def _guarded(
    push: Push,
    before: snapshot.Snapshot,
    session: Session,
    sessions: Callable[[], Iterator[Session]],
) -> Iterator[guard.Guard | None]:
    """Refuse losses in the body, as far as the role may."""
    tables = before.filled
    if push.on_loss == "warn" or not tables:
        yield None
        return
    if session.pooled:
        log.event(
            "info",
            "guard.unavailable",
            reason="a pooler stands between",
            remedy="Set ENTRYPOINT_DIRECT_URL to the server itself.",
        )
        yield None
        return
    armed = _arm(sessions, tables, push.allow_loss)
    done = False
    try:
        yield armed
        done = True
    finally:
        # A start that is being ended has no time to wait for a table.
        left = armed.disarm() if done else armed.disarm(0.0)
        if left:
            log.event("warning", "guard.left", tables=left, remedy="Nothing: it never fires.")


def _arm(
    sessions: Callable[[], Iterator[Session]],
    tables: list[snapshot.Table],
    allowed: Collection[str],
) -> guard.Guard:
    armed: guard.Guard | None = None
    for session in sessions():
        if armed:
            armed.disarm()
        armed = guard.arm(session, tables, allowed)
        if armed.drops is None:
            break
    assert armed is not None  # noqa: S101  the last one is the service's own
    if armed.drops is None:
        log.event("info", "guard.armed", tables=len(tables))
    else:
        log.event(
            "info",
            "guard.unavailable",
            reason=armed.drops,
            remedy="Set ENTRYPOINT_ADMIN_URL to a superuser's, or go on: what is dropped with rows "
            "in it is then told afterwards.",
        )
    if armed.unguarded:
        log.event("info", "guard.incomplete", truncate=armed.unguarded)
    return armed


def _change(before: str | None, after: str | None) -> str:
    if before is None or after is None:
        return "unknown"
    return "unchanged" if before == after else "changed"


def _error(push: Push, finished: Finished, wrong: Wrong, fields: dict[str, object]) -> PushError:
    return PushError(
        wrong.message,
        remedy=wrong.remedy,
        command=list(push.command),
        tail=list(finished.tail),
        **fields,
    )
