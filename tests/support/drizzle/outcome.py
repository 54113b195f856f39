"""What a start is to tell of its push, and whether it did."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.drizzle.trial import Ended
    from tests.support.drizzle.world import Schema

LOSS = ("tables", "foreign_tables", "columns", "constraints", "enum_values", "rows")


class Outcome(NamedTuple):
    """What a start tells of its push; the exit code is 7 where there is an `error`."""

    returncode: int
    output: str
    error: str = ""
    left: Schema | None = None
    """The tables after a failure; None for those before."""

    loss: Mapping[str, object] = {}


def done(**loss: object) -> Outcome:
    return Outcome(0, "drizzle-kit: succeeded", loss=loss)


def failed(returncode: int, output: str, left: Schema | None = None) -> Outcome:
    return Outcome(returncode, output, f"exited with code {returncode}", left)


def asked(returncode: int, what: str) -> Outcome:
    return failed(returncode, f"asked a question and had no terminal: {what}")


def erred(returncode: int, what: str, left: Schema | None = None) -> Outcome:
    return failed(returncode, f"reported an error: {what}", left)


def refused(name: str, returncode: int = 0) -> Outcome:
    said = f"entrypoint refuses to lose the rows of {name};"
    return Outcome(returncode, said, f"would lose the rows of {name};")


def check(ended: Ended, outcome: Outcome) -> None:
    """Compare what was told with what should be told, and with what was done."""
    program = ended.program
    told = program.one("push.failed" if outcome.error else "push.finished")
    assert ended.code == (7 if outcome.error else 0)
    assert outcome.error in told.get("error", "")
    assert outcome.output in told["output"]
    assert told["returncode"] == outcome.returncode
    changed = ended.before.tables != ended.after.tables
    assert told["catalog"] == ("changed" if changed else "unchanged")
    assert told["tables"] == len(ended.after.tables)
    losses = [
        {key: loss[key] for key in LOSS if key in loss} for loss in program.all("push.loss_found")
    ]
    assert losses == ([outcome.loss] if outcome.loss else [])
    left = outcome.left if outcome.left is not None else ended.before.tables
    assert not outcome.error or ended.after.tables == left
