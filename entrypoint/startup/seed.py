"""Step 5: make the tenant's rows with the service's own seed, under the same lock, and judge it."""

from ..errors import SeedError
from ..postgres.session import Session
from ..sections import Seed
from . import child
from .check import is_there
from .words import Ear


def run(seed: Seed, session: Session, around: child.Surroundings) -> dict[str, object]:
    """Seed; the schema stays pushed if this fails, and the next start seeds again.

    Returns what the witnesses say: the exit code, the output, and ``seed.check``, which must find a
    row in the session now. Raises `SeedError`, `LockError`, `UnreachableError` and
    `Terminated`, see `child.run`.
    """
    ear = Ear()
    task = child.Task("seed", SeedError, seed.argv, seed.timeout_s)
    finished = child.run(task, around, ear.hear)
    said = ear.said()
    fields: dict[str, object] = {"returncode": finished.returncode, "output": said.text}
    wrong = task.failure(finished)
    if said.succeeded is False:
        message = wrong[0] if wrong else "the seed command exited with code 0"
        wrong = f"{message}: {said.text}", said.remedy
    elif not wrong and seed.check is not None:
        found = is_there(session, seed.check, seed.tenant)
        fields["check"] = "found a row" if found else "found no row"
        if not found:
            wrong = (
                "the seed command exited with code 0, but seed.check finds no row",
                "Correct the seed, or seed.check.",
            )
    if wrong:
        tail = list(finished.tail)
        raise SeedError(wrong[0], remedy=wrong[1], command=list(seed.argv), tail=tail, **fields)
    return fields
