"""Step 5: make the tenant's rows with the service's own seed, under the same lock."""

from ..errors import SeedError
from ..process import Finished
from . import child


def run(argv: tuple[str, ...], timeout_s: float, around: child.Surroundings) -> Finished:
    """Seed; the schema stays pushed if this fails, and the next start seeds again.

    Raises `SeedError`, `LockError` and `Terminated`, see `child.run`.
    """
    return child.run("seed", SeedError, argv, timeout_s, around)
