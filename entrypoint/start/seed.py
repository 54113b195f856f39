"""Step 5: run the service's seed for one tenant under the lock, and judge it."""

from typing import Final

from ..config.settings import Seed
from ..errors import SeedError
from ..postgres.session import Session
from . import program
from .endings import Ending
from .seed_check import CHECK_LATE_S, is_there, waited_for
from .tool_output import SILENCE_SEED, OutputParser

_CHECKED: Final = {True: "found a row", False: "found no row", None: "got no answer"}


def run(seed: Seed, session: Session, context: program.ChildContext) -> dict[str, object]:
    """Seed; after a failure the schema stays pushed, and the next start seeds again.

    Returns the evidence as fields of an event: the exit code, the output, and ``seed.check``, which
    must now find a row. Raises `SeedError`, `LockError`, `UnreachableError` and `Terminated`; see
    `program.run`.
    """
    parser = OutputParser(if_right=SILENCE_SEED)
    task = program.Task("seed", SeedError, seed.argv, seed.timeout_s)
    finished = program.run(task, context, parser.feed)
    output = parser.result()
    found: dict[str, object] = {"returncode": finished.returncode, "output": output.text}
    wrong = task.failure(finished)
    if output.succeeded is False:
        message = wrong.message if wrong else "the seed command exited with code 0"
        remedy = wrong.remedy if wrong and wrong.certain else output.remedy
        wrong = Ending(f"{message}: {output.text}", remedy)
    elif not wrong and seed.check is not None:
        there = is_there(session, seed.check, seed.tenant, CHECK_LATE_S)
        found["check"] = _CHECKED[there]
        if there is None:
            wrong = Ending(
                "the seed command exited with code 0, but seed.check got no answer: "
                + waited_for(session),
                "End the session that locks the table, or make seed.check faster.",
            )
        elif not there:
            wrong = Ending(
                "the seed command exited with code 0, but seed.check finds no row",
                "Correct the seed, or seed.check.",
            )
    if wrong:
        tail = list(finished.tail)
        raise SeedError(wrong[0], remedy=wrong[1], command=list(seed.argv), tail=tail, **found)
    return found
