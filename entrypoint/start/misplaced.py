"""Looks for misplaced objects after a push."""

from collections.abc import Callable
from contextlib import closing
from typing import Final

from .. import log
from ..config.settings import Settings
from ..errors import MisplacedError, RefusedError, UnreachableError, plural
from ..postgres import objects, placement
from ..postgres.session import Session

VERIFY_S: Final = 10.0  # seconds for the look at the default database
MAX_FINDINGS: Final = 20  # how many findings have their own event


def run(config: Settings, session: Session, default: Callable[[], Session]) -> None:
    """Look at the service's database and at the default one, and log misplaced objects.

    ``default`` opens a session in the default database; `run` skips that one if it fails. Raises
    `MisplacedError` if ``verify.at_start`` is "fail" and an object is misplaced; the pushed schema
    stays, and the next start looks again.
    """
    settings, registry = config.verify, config.registry
    found = objects.find(session, settings.bookkeeping)
    strays = placement.in_own(found, session.database, config.registered, registry)
    try:
        with closing(default()) as other, other.transaction(timeout_s=VERIFY_S):
            strays += placement.in_default(objects.find(other, settings.bookkeeping), registry)
    except (RefusedError, UnreachableError) as error:
        log.event(
            "debug", "verify.database_skipped", database=placement.DEFAULT, error=error.message
        )
    for stray in strays[:MAX_FINDINGS]:
        log.event(
            "warning",
            "verify.found",
            finding=stray.message(),
            database=stray.database,
            object=stray.object.label(),
            owner=stray.service.name if stray.service else None,
            remedy=stray.remedy(),
        )
    if len(strays) > MAX_FINDINGS:
        log.event(
            "warning",
            "verify.findings_truncated",
            findings=len(strays),
            findings_logged=MAX_FINDINGS,
        )
    misplaced = [stray for stray in strays if stray.misplaced]
    if misplaced and settings.at_start == "fail":
        first = misplaced[0]
        failure = MisplacedError(
            f"{plural(len(misplaced), 'object')} in the wrong database, such as "
            f"{first.object.label()!r} in {first.database!r}",
            remedy='Run `entrypoint verify` to list them, or set verify.at_start = "warn".',
        )
        failure.step = "verify"
        raise failure
