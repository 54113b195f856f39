"""Step 5: make the tenant's rows with the service's own seed, under the same lock."""

from ..errors import SeedError
from ..process import Finished
from . import child


def skip_reason(command: tuple[str, ...], when: str, tenant: str | None) -> str | None:
    """Why there is nothing to seed, or None."""
    if when == "never":
        return "seed.when is never"
    if not command:
        return "no seed.command"
    if when == "tenant" and tenant is None:
        return "SEED_TENANT_ID is not set"
    return None


def run(argv: tuple[str, ...], timeout_s: float, around: child.Surroundings) -> Finished:
    """Seed; the schema stays pushed if this fails, and the next start seeds again.

    Raises `SeedError`, `LockError` and `Terminated`, see `child.run`.
    """
    return child.run("seed", SeedError, argv, timeout_s, around)
