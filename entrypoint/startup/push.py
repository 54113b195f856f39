"""Step 4: apply the schema with the service's own push-db, under the lock."""

from ..errors import PushError
from ..process import Finished
from . import child


def run(argv: tuple[str, ...], timeout_s: float, around: child.Surroundings) -> Finished:
    """Push; idempotent as far as the service's program is.

    A push is not one transaction: what it did before it failed stays, and the next one goes on
    from there. Raises `PushError`, `LockError` and `Terminated`, see `child.run`.
    """
    return child.run("push", PushError, argv, timeout_s, around)
