"""Judges a push by its exit code, its output and the schema; none is proof alone. Pure."""

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from ..config import tools
from ..config.keys import label
from ..postgres.ledger import Damage
from ..postgres.loss import Loss, invalid_indexes
from ..postgres.snapshot import MAX_ROWS, Snapshot, Table
from .endings import Ending
from .tool_output import ToolResult

_INDEX: Final = "index "
_NEARLY: Final = 0.9  # the share of an estimated number of rows that counts as all rows


class Evidence(NamedTuple):
    """The evidence about a push: its ending, its output, the schema and the guard."""

    ended: Ending | None  # how the program failed by itself; None if it exited with 0
    output: ToolResult
    refused: bool  # whether the guard refused something, even if no line says so
    before: Snapshot
    after: Snapshot
    loss: Loss
    connected: bool | None = None  # whether the push had a session in the database; None if unknown
    held: tuple[Damage, ...] = ()  # damage of earlier pushes that is still there
    others: frozenset[str] = frozenset()  # losses by sessions other than the push's


def judge(
    evidence: Evidence,
    *,
    prefixes: Collection[str],
    on_loss: str,
    allowed: Collection[str],
    bookkeeping: Collection[str] | None = None,
) -> Ending | None:
    """Return why a push failed, or None; ``bookkeeping`` None means the known tools' tables."""
    return (
        _refusal(evidence, allowed)
        or _end(evidence)
        or _absence(evidence)
        or _emptiness(evidence, prefixes, bookkeeping)
        or _half(evidence)
        or (_lost(evidence, {*allowed, *evidence.others}) if on_loss == "refuse" else None)
        or _held(evidence)
    )


def damage(evidence: Evidence, *, on_loss: str, allowed: Collection[str]) -> dict[str, int]:
    """What a failed push left: invalid indexes, and lost rows by label."""
    left = {f"{_INDEX}{name}": 0 for name in invalid_indexes(evidence.before, evidence.after)}
    if on_loss == "refuse":
        lost = evidence.loss.unallowed({*allowed, *evidence.others})
        left |= {label: evidence.loss.rows.get(label, 0) for label in lost}
    return left


def index_damage(name: str) -> Damage:
    """An invalid index of an unknown push."""
    return Damage(f"{_INDEX}{name}", 0, "", None, "")


def standing(
    damages: Collection[Damage], now: Snapshot, *, on_loss: str, allowed: Collection[str]
) -> list[Damage]:
    """The damage that nobody has repaired or allowed."""
    indexes = {f"{_INDEX}{name}" for name in now.invalid_indexes.values()}
    losses = [each for each in damages if not each.what.startswith(_INDEX)]
    lost = [each for each in losses if on_loss == "refuse" and not _mended(each, now, allowed)]
    return [each for each in damages if each.what in indexes or each in lost]


def _mended(lost: Damage, now: Snapshot, allowed: Collection[str]) -> bool:
    """Whether the rows or the column are back, or ``allowed`` names them."""
    for oid, table in now.tables.items():
        if table.label() == lost.what:
            return bool(table.names() & set(allowed)) or _back(table, lost.rows)
        if not lost.what.startswith(table.label("")):
            continue
        columns = [name for (of, _), name in now.columns.items() if of == oid]
        if lost.what in map(table.label, columns) or table.names() & set(allowed):
            return True
    unqualified = {name.removeprefix("public.") for name in allowed}
    return bool({lost.what, lost.what.removeprefix("public.")} & unqualified)


def _listed(names: Iterable[str]) -> str:
    return ",".join(map(label, names))


def _back(table: Table, lost: int) -> bool:
    """Whether the table has so many rows again; any rows if the number is unknown."""
    if not lost:
        return table.filled
    if table.rows is None or table.rows < min(lost, MAX_ROWS):
        return False
    # Above MAX_ROWS both numbers are estimates, and a restored table has no estimate yet.
    return lost < MAX_ROWS or table.estimate < MAX_ROWS or table.estimate >= lost * _NEARLY


def _refusal(evidence: Evidence, allowed: Collection[str]) -> Ending | None:
    if not evidence.refused and not evidence.output.refused:
        return None
    names = ", ".join(evidence.output.refused) or "a table or column that its lines do not name"
    # Includes what is already allowed, because one push may need several names.
    allow = _listed([*allowed, *(evidence.output.refused or ["NAME"])])
    return Ending(
        f"the guard refused the push, which would lose the rows of {names}; no row is lost",
        f"Correct the schema, or set ENTRYPOINT_ALLOW_LOSS={allow} for one start to lose the rows.",
    )


def _end(evidence: Evidence) -> Ending | None:
    output = evidence.output
    if evidence.ended:
        message, remedy, certain = evidence.ended
        if output.succeeded is False:
            return Ending(f"{message}: {output.text}", remedy if certain else output.remedy)
        return Ending(message, remedy)
    if output.succeeded is False:
        return Ending(f"the push command exited with code 0, but {output.text}", output.remedy)
    return None


def _absence(evidence: Evidence) -> Ending | None:
    if evidence.connected is not False:
        return None
    return Ending(
        "the push command exited with code 0, but never connected to the service's database",
        "Correct the URL that push.command uses: a .env file may name another database, or the "
        "program may end before it connects. Set push.command = [] if there is nothing to push, or "
        "ENTRYPOINT_DIRECT_URL if the push goes through a pooler by another variable.",
    )


def _emptiness(
    evidence: Evidence, prefixes: Collection[str], bookkeeping: Collection[str] | None
) -> Ending | None:
    names = []
    for oid, table in evidence.after.tables.items():
        columns = {name for (of, _), name in evidence.after.columns.items() if of == oid}
        known = table.names() & {*(bookkeeping or ())}
        if not (tools.keeps_books(table.names(), columns) if bookkeeping is None else known):
            names.append(table.name)
    if any(name.startswith(tuple(prefixes)) if prefixes else True for name in names):
        return None
    which = f"table whose name begins with {' or '.join(prefixes)}" if prefixes else "table"
    also = ", or the service's prefixes or names in the registry" if prefixes else ""
    return Ending(
        f"the push command exited with code 0, but there is no {which} in the database",
        f"Correct push.command, or the database that it connects to{also}.",
    )


def _half(evidence: Evidence) -> Ending | None:
    half = invalid_indexes(evidence.before, evidence.after)
    if not half:
        return None
    left = ", ".join(f"{_INDEX}{name}" for name in half)
    message = f"the push command exited with code 0, but left invalid: {left}"
    return Ending(message, _mend_indexes(half))


def _mend_indexes(names: Iterable[str]) -> str:
    drops = "; ".join(f"DROP INDEX {name}" for name in names)
    return f"Correct the data that the index refuses, run {drops}, and start again."


def _held(evidence: Evidence) -> Ending | None:
    if not evidence.held:
        return None
    first = evidence.held[0]
    who = f"release {first.release}" if first.release else "a release without a name"
    indexes, lost = _sorted(evidence.held)
    what = [f"left invalid: {', '.join(f'{_INDEX}{name}' for name in indexes)}"] * bool(indexes)
    what += [f"lost the rows of {', '.join(lost)}"] * bool(lost)
    message = f"an earlier push ({who}, {first.at}) {' and '.join(what)}; the damage is still there"
    return Ending(message, mend(evidence.held))


def mend(damages: Iterable[Damage]) -> str:
    """The remedy for what failed pushes left."""
    indexes, lost = _sorted(damages)
    remedies = [_mend_indexes(indexes)] * bool(indexes)
    if lost:
        remedies.append(
            "Restore the rows from a backup, or set "
            f"ENTRYPOINT_ALLOW_LOSS={_listed(lost)} for one start to go on without them."
        )
    return " ".join(remedies)


def _sorted(damages: Iterable[Damage]) -> tuple[list[str], list[str]]:
    names = [each.what for each in damages]
    indexes = [name.removeprefix(_INDEX) for name in names if name.startswith(_INDEX)]
    return indexes, [name for name in names if not name.startswith(_INDEX)]


def blocking(damages: Iterable[Damage], fingerprint: str, proved: Collection[str]) -> list[Damage]:
    """The damage that blocks a push: its own, and any if its inputs never succeeded.

    A release that succeeded before the damage did not cause it, and must be able to run.
    """
    return [d for d in damages if d.fingerprint == fingerprint or fingerprint not in proved]


def _lost(evidence: Evidence, allowed: Collection[str]) -> Ending | None:
    lost = evidence.loss.unallowed(allowed)
    if not lost:
        return None
    return Ending(
        f"the push lost the rows of {', '.join(sorted(lost))}, and no guard could refuse it",
        "Correct the schema and restore the rows from a backup, or set ENTRYPOINT_ALLOW_LOSS="
        f"{_listed(sorted(lost))} for one start to go on without them. With a superuser's "
        "ENTRYPOINT_ADMIN_URL the guard refuses the next push before it loses rows.",
    )
