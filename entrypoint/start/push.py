"""Step 4: run the service's push under the lock, guard it against loss, and judge it."""

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
from .endings import Ending
from .tool_output import OutputParser, ToolResult
from .verdict import Evidence, blocking, damage, index_damage, judge, mend, standing

RAILS: Final = {"CI": "1", "NO_COLOR": "1"}  # keep tools from questions and colours


class Expected(NamedTuple):
    """What `run` needs to judge a push, besides its settings."""

    prefixes: Collection[str]
    bookkeeping: Collection[str] | None
    before: ledger.Ledger
    who: ledger.Who
    at: str  # the push's time, for the ledger
    direct: bool  # whether the push certainly connects without a pooler
    left: Callable[[Sequence[ledger.Damage]], None]  # gets all damage, also if `run` raises


class Pushed(NamedTuple):
    """The outcome of a push that ran."""

    elapsed_s: float
    after: ledger.Found  # the schema after it
    loss: loss.Loss
    emptied: bool  # whether it may have removed a table's rows, some of which may be a seed's
    fields: dict[str, object]  # the evidence, as fields of `push.finished`
    wrong: PushError | None


def run(
    push: Push,
    expected: Expected,
    catalog: str | None,
    context: program.ChildContext,
    guards: Callable[[], Iterator[Session]],
) -> Pushed:
    """Push, guarded against loss; as idempotent as the service's program is.

    ``catalog`` is the schema's fingerprint before the push; ``guards`` opens sessions for the guard
    one by one, the mightiest role first. A push is not one transaction: a failed one's changes
    stay, and the next push continues from there. Raises `PushError` if the program cannot be
    started or the guard is lost, `LockError`, `UnreachableError` and `Terminated`.
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
            # Nobody recorded what other sessions removed before the guard was armed.
            before = snapshot.take(session).without_rows(before) if armed else before
            # A pooler shares a session among clients, and a push may connect by another URL.
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
    schema = ledger.look(session, to_record=True)
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
            remedy="Run ALTER TABLE … VALIDATE CONSTRAINT when the existing rows satisfy it.",
        )
    changed = _change(catalog, schema.catalog)
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
    return Pushed(finished.elapsed_s, schema, lost, emptied, fields, error)


class _Judge(NamedTuple):
    """Judges one push, and updates the ledger's list of what failed pushes left."""

    push: Push
    expected: Expected
    before: snapshot.Snapshot

    def held(self, evidence: Evidence) -> list[ledger.Damage]:
        """Return the damage of earlier pushes that is still there; report it and this push's."""
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

    def wrong(self, evidence: Evidence) -> Ending | None:
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
        # A start that was killed recorded no owner of its invalid indexes.
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
    """Return and log what is left of the damage. Raises `UnreachableError`, `RefusedError`."""
    if not damages:
        return []
    now = snapshot.take(session)
    still = standing(damages, now, on_loss=push.on_loss, allowed=push.allow_loss)
    tell_damages(still)
    return still


def tell_damages(damages: Sequence[ledger.Damage]) -> None:
    """Warn of damage that does not block this start."""
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
    tables = before.filled
    if push.on_loss == "warn" or not tables:
        yield None
        return
    if session.pooled:
        log.event(
            "warning",
            "guard.not_armed",
            reason="the connection goes through a pooler",
            remedy="Set ENTRYPOINT_DIRECT_URL to a URL of the server itself.",
        )
        yield None
        return
    armed = _arm(push, name, sessions, tables)
    done = False
    try:
        yield armed
        done = True
    finally:
        # A start that a signal ends has no time to wait for a locked table.
        left = armed.disarm() if done else armed.disarm(0.0)
        if left:
            remedy = "No action needed: the trigger is inert, and the next start removes it."
            log.event("warning", "guard.not_removed", tables=left, remedy=remedy)


def _arm(
    push: Push, name: str, sessions: Callable[[], Iterator[Session]], tables: list[snapshot.Table]
) -> guard.Guard:
    armed: guard.Guard | None = None
    for session in sessions():
        if armed:
            armed.disarm()
        armed = guard.arm(session, tables, push.allow_loss, name, push.timeout_s)
        if armed.drops is None:
            break
    assert armed is not None  # noqa: S101  the service's own session is always the last
    if armed.drops is None:
        log.event("info", "guard.armed", tables=len(tables))
    else:
        log.event(
            "warning",
            "guard.not_armed",
            reason=armed.drops,
            remedy="Set ENTRYPOINT_ADMIN_URL to a superuser's URL; without one, the start reports "
            "dropped rows only after the push.",
        )
    if armed.unguarded:
        log.event("info", "guard.tables_skipped", truncate=armed.unguarded)
    return armed


def _change(before: str | None, after: str | None) -> str:
    if before is None or after is None:
        return "unknown"
    return "unchanged" if before == after else "changed"


def _placed(wrong: Ending, evidence: Evidence, session: Session) -> Ending:
    """Add the remedy for a role that may create nothing, if the program failed by itself."""
    by_itself = not evidence.ended.certain if evidence.ended else evidence.output.succeeded is False
    if by_itself and evidence.before.tables == evidence.after.tables:
        with suppress(RefusedError, UnreachableError):
            if found := ownership.no_place(session):
                remedy, certain = found
                denied = "If they report 'permission denied for schema public'"
                whole = f"R{remedy[1:]}" if certain else f"{wrong.remedy} {denied}, {remedy}"
                return wrong._replace(remedy=whole)
    return wrong


def _error(push: Push, finished: Finished, wrong: Ending, fields: dict[str, object]) -> PushError:
    told = {"command": list(push.command), "tail": list(finished.tail), **fields}
    return PushError(wrong.message, remedy=wrong.remedy, **told)
