"""Whether a push can be believed: its exit code, its words, and the schema before and after. Pure.

Neither alone is proof. An exit code of 0 is what drizzle-kit 0.31 gives for half a schema.
"""

from collections.abc import Collection
from typing import NamedTuple

from ..postgres.loss import Loss, half_made
from ..postgres.snapshot import Snapshot
from .words import Said


class Wrong(NamedTuple):
    """Why a push is not believed, and what to do."""

    message: str
    remedy: str


class Witnesses(NamedTuple):
    """What speaks for a push, and against it."""

    ended: tuple[str, str] | None
    """How the program failed by its own word, and the remedy."""

    said: Said
    refused: bool
    """Whether the guard refused something, even if no line says so."""

    before: Snapshot
    after: Snapshot
    loss: Loss


def judge(
    seen: Witnesses, *, prefixes: Collection[str], on_loss: str, allowed: Collection[str]
) -> Wrong | None:
    """The first reason not to believe a push; None when every witness speaks for it."""
    return (
        _refusal(seen, allowed)
        or _end(seen)
        or _emptiness(seen, prefixes)
        or _half(seen)
        or (_lost(seen, allowed) if on_loss == "refuse" else None)
    )


def _refusal(seen: Witnesses, allowed: Collection[str]) -> Wrong | None:
    if not seen.refused and not seen.said.refused:
        return None
    names = ", ".join(seen.said.refused) or "a table or column that its lines do not name"
    # With what was allowed before: one push may have to be allowed more than one thing.
    allow = ",".join([*allowed, *(seen.said.refused or ["NAME"])])
    return Wrong(
        f"the push wanted to lose the rows of {names} and was refused; nothing of them is lost",
        f"Set ENTRYPOINT_ALLOW_LOSS={allow} for one start if they may go, or correct the schema.",
    )


def _end(seen: Witnesses) -> Wrong | None:
    said = seen.said
    if seen.ended:
        message, remedy = seen.ended
        if said.succeeded is False:
            return Wrong(f"{message}: {said.text}", said.remedy)
        return Wrong(message, remedy)
    if said.succeeded is False:
        return Wrong(f"the push command exited with code 0, but {said.text}", said.remedy)
    return None


def _emptiness(seen: Witnesses, prefixes: Collection[str]) -> Wrong | None:
    names = [table.name for table in seen.after.tables.values()]
    if any(name.startswith(tuple(prefixes)) if prefixes else True for name in names):
        return None
    which = f"table whose name begins with {' or '.join(prefixes)}" if prefixes else "table"
    return Wrong(
        f"the push command exited with code 0, but there is no {which} in the database",
        "Correct push.command, or the database that it connects to"
        + (", or the service's prefixes in the registry." if prefixes else "."),
    )


def _half(seen: Witnesses) -> Wrong | None:
    half = half_made(seen.before, seen.after)
    if not half:
        return None
    return Wrong(
        f"the push command exited with code 0, but left half made: {', '.join(half)}",
        "Drop what is invalid (or VALIDATE the constraint), correct the data, and start again.",
    )


def _lost(seen: Witnesses, allowed: Collection[str]) -> Wrong | None:
    lost = seen.loss.unallowed(allowed)
    if not lost:
        return None
    return Wrong(
        f"the push lost the rows of {', '.join(sorted(lost))}, which nothing could refuse",
        "Restore them from a backup; set ENTRYPOINT_ADMIN_URL to a superuser's, so that the next "
        'push is refused before, or push.on_loss = "warn" if they may go.',
    )
