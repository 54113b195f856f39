"""Step 4: apply the schema with the service's own push-db, under the lock, and judge it."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Final, NamedTuple

from .. import log
from ..config.settings import Push
from ..errors import PushError, RefusedError, Terminated, UnreachableError
from ..postgres import guard, ledger, loss, ownership, sessions, snapshot
from ..postgres.session import Session
from ..process.child import Finished
from . import program
from .tool_output import OutputParser, ToolResult
from .verdict import Evidence, Wrong, blocking, damage, index_damage, judge, mend, standing

RAILS: Final = {"CI": "1", "NO_COLOR": "1"}
"""What makes a tool neither ask nor paint."""


class Expected(NamedTuple):
    """What a push is judged by, besides its settings."""

    prefixes: Collection[str]
    bookkeeping: Collection[str] | None
    before: ledger.Ledger
    who: ledger.Who
    at: str
    """When it was, for the ledger."""

    direct: bool
    """Whether it is certain that no pooler stands between the push and the server."""

    left: Callable[[Sequence[ledger.Damage]], None]
    """Called with what failed pushes left, this one or earlier ones, even where `run` raises."""


class Pushed(NamedTuple):
    """A push that ran, and what came of it."""

    elapsed_s: float
    catalog: str | None
    """The schema's fingerprint after it; None when somebody is changing the schema."""

    loss: loss.Loss
    emptied: bool
    """Whether it took a table's rows, as far as anybody knows: some may have been a seed's."""

    fields: dict[str, object]
    """What ``push.finished`` says of the evidence."""

    wrong: PushError | None


def run(
    push: Push,
    expected: Expected,
    catalog: str | None,
    context: program.ChildContext,
    guards: Callable[[], Iterator[Session]],
) -> Pushed:
    """Push, guarded against loss; idempotent as far as the service's program is.

    ``catalog`` is the schema's fingerprint before it; ``guards`` opens sessions one after the other
    for the guard, the mightiest first. A push is not one transaction: what it did before it failed
    stays, and the next one goes on from there. Raises `PushError` when it cannot be started or its
    guard is lost, `LockError`, `UnreachableError` and `Terminated`.
    """
    session = context.held.session
    before = snapshot.take(session)
    task = program.Task("push", PushError, push.command, push.timeout_s)
    parser = OutputParser(push.success, push.failure)
    added = {name: value for name, value in RAILS.items() if context.environ.get(name) is None}
    context = replace(context, added=added)
    name, others = program.named(context, task), frozenset[str]()
    try:
        with _guarded(push, name, before, session, guards) as armed:
            watches = [armed] if armed else []
            # What others lost until it was armed nobody told.
            before = snapshot.take(session).without_rows(before) if armed else before
            # A pooler hands one session to many, and a push may know one by another name.
            there, connected = sessions.before(session) if expected.direct else None, None
            ports: frozenset[int] | None = None
            try:
                finished = program.run(task, context, parser.feed, watches, name)
                ports = finished.ports
            finally:
                if armed:
                    others = armed.others(before.tables, ports)
            refused = armed is not None and armed.refused()
            if there and not task.failure(finished):
                connected = sessions.came(session, there)
    except (PushError, Terminated):
        with suppress(RefusedError, UnreachableError):
            after = snapshot.take(session, {table.oid for table in before.filled})
            lost = loss.compare(before, after)
            evidence = Evidence(
                None, ToolResult(), refused=False, before=before, after=after, loss=lost
            )
            _Judge(push, expected, before).held(evidence._replace(others=others))
        raise
    after = snapshot.take(session, {table.oid for table in before.filled})
    catalog_after = ledger.look(session).catalog
    lost = loss.compare(before, after, expected.prefixes)
    if told := lost.fields():
        if by_others := sorted(others & lost.of_rows.keys()):
            told["by_others"] = by_others
        log.event("warning" if lost.of_rows else "info", "push.loss_found", **told)
    if names := loss.not_validated(before, after):
        log.event(
            "warning",
            "push.constraints_not_validated",
            constraints=names,
            remedy="Run ALTER TABLE … VALIDATE CONSTRAINT when the rows that are there satisfy it.",
        )
    changed = _change(catalog, catalog_after)
    if changed == "changed":
        connected = True
    output = parser.result(connected=connected)
    fields: dict[str, object] = {
        "returncode": finished.returncode,
        "output": output.text,
        "connected": "unknown" if connected is None else connected,
        "catalog": changed,
        "tables": len(after.tables),
    }
    evidence = Evidence(task.failure(finished), output, refused, before, after, lost, connected)
    wrong = _Judge(push, expected, before).wrong(evidence._replace(others=others))
    error = _error(push, finished, _placed(wrong, evidence, session), fields) if wrong else None
    emptied = bool(lost.of_rows.keys() - {*lost.columns} - others)
    return Pushed(finished.elapsed_s, catalog_after, lost, emptied, fields, error)


class _Judge(NamedTuple):
    """Judges one push, and keeps the ledger's list of what failed ones left."""

    push: Push
    expected: Expected
    before: snapshot.Snapshot

    def held(self, evidence: Evidence) -> list[ledger.Damage]:
        """What is there of earlier pushes' damage; tells all of it, and this one's too."""
        on_loss, allowed = self.push.on_loss, self.push.allow_loss
        who, book = self.expected.who, self.expected.before
        new = [
            ledger.Damage(what, rows, who.fingerprint or "", who.release, self.expected.at)
            for what, rows in damage(evidence, on_loss=on_loss, allowed=allowed).items()
        ]
        names = {each.what for each in new}
        old = [d for d in book.damages if d.what not in names]
        still = standing(old, evidence.after, on_loss=on_loss, allowed=allowed)
        self.expected.left([*still, *new])
        return still

    def wrong(self, evidence: Evidence) -> Wrong | None:
        """Why it is not believed."""
        who, book = self.expected.who, self.expected.before
        still = self.held(evidence)
        proved = {push.fingerprint for push in book.of(who.service)} if who.fingerprint else ()
        held = blocking(still, who.fingerprint or "", proved)
        wrong = judge(
            evidence._replace(held=tuple(held)),
            prefixes=self.expected.prefixes,
            on_loss=self.push.on_loss,
            allowed=self.push.allow_loss,
            bookkeeping=self.expected.bookkeeping,
        )
        told = [each for each in still if each not in held]
        # A start that was killed could not say whose this is.
        old = set(self.before.invalid_indexes.values()) & set(
            evidence.after.invalid_indexes.values()
        )
        known = {each.what for each in still}
        nobodys = [d for d in map(index_damage, sorted(old)) if d.what not in known]
        tell_damages([*told, *nobodys])
        return wrong


def look_again(
    push: Push, session: Session, damages: Sequence[ledger.Damage]
) -> list[ledger.Damage]:
    """What is there still of what failed pushes left, where nothing is pushed; it is told.

    Raises `UnreachableError` and `RefusedError`.
    """
    if not damages:
        return []
    now = snapshot.take(session)
    still = standing(damages, now, on_loss=push.on_loss, allowed=push.allow_loss)
    tell_damages(still)
    return still


def tell_damages(damages: Sequence[ledger.Damage]) -> None:
    """Log what is held against nobody who starts now, and must be known all the same."""
    if damages:
        log.event(
            "warning",
            "damage.found",
            damages=[each.what for each in damages],
            pushed_release=damages[0].release,
            pushed_at=damages[0].at or None,
            remedy=mend(damages),
        )


@contextmanager
def _guarded(
    push: Push,
    name: str,
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
            "warning",
            "guard.not_armed",
            reason="a pooler stands between",
            remedy="Set ENTRYPOINT_DIRECT_URL to the server itself.",
        )
        yield None
        return
    armed = _arm(push, name, sessions, tables)
    done = False
    try:
        yield armed
        done = True
    finally:
        # A start that is being ended has no time to wait for a table.
        left = armed.disarm() if done else armed.disarm(0.0)
        if left:
            log.event("warning", "guard.not_removed", tables=left, remedy=_LEFT)


_LEFT: Final = "No action needed: the trigger is inert, and the next start removes it."


def _arm(
    push: Push,
    name: str,
    sessions: Callable[[], Iterator[Session]],
    tables: list[snapshot.Table],
) -> guard.Guard:
    armed: guard.Guard | None = None
    for session in sessions():
        if armed:
            armed.disarm()
        armed = guard.arm(session, tables, push.allow_loss, name, push.timeout_s)
        if armed.drops is None:
            break
    assert armed is not None  # noqa: S101  the last one is the service's own
    if armed.drops is None:
        log.event("info", "guard.armed", tables=len(tables))
    else:
        log.event(
            "warning",
            "guard.not_armed",
            reason=armed.drops,
            remedy="Set ENTRYPOINT_ADMIN_URL to a superuser's, or go on: what is dropped with rows "
            "in it is then told afterwards.",
        )
    if armed.unguarded:
        log.event("info", "guard.tables_skipped", truncate=armed.unguarded)
    return armed


def _change(before: str | None, after: str | None) -> str:
    if before is None or after is None:
        return "unknown"
    return "unchanged" if before == after else "changed"


def _placed(wrong: Wrong, evidence: Evidence, session: Session) -> Wrong:
    """Where the program failed by itself, and may create nothing: point to the schema."""
    by_itself = not evidence.ended.certain if evidence.ended else evidence.output.succeeded is False
    if by_itself and evidence.before.tables == evidence.after.tables:
        with suppress(RefusedError, UnreachableError):
            found = ownership.no_place(session)
            if found is None:
                return wrong
            remedy, certain = found
            if certain:
                return wrong._replace(remedy=f"R{remedy[1:]}")
            denied = "If they say that permission is denied for schema public"
            return wrong._replace(remedy=f"{wrong.remedy} {denied}, {remedy}")
    return wrong


def _error(push: Push, finished: Finished, wrong: Wrong, fields: dict[str, object]) -> PushError:
    return PushError(
        wrong.message,
        remedy=wrong.remedy,
        command=list(push.command),
        tail=list(finished.tail),
        **fields,
    )
