"""Logs each step of a start: one event when it begins, one when it ends."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from .. import log
from ..errors import EntrypointError, Terminated
from ..health import progress
from ..process import signals


@contextmanager
def step(
    name: str, *, end: str = "finished", brief: bool = False, **begins_with: object
) -> Iterator[dict[str, object]]:
    """Log ``<name>.started`` and ``<name>.<end>``, the latter with the fields that the body adds.

    Reports the step to `entrypoint health` too, unless it is ``brief``, and over before anybody
    could look: each report writes a file, half a millisecond of a start. An exception leaves with
    the step's name and its seconds, for the one place that logs it.
    """
    started = time.monotonic()
    fields: dict[str, object] = {}
    try:
        log.event("info", f"{name}.started", **begins_with)
        if not brief:
            progress.entered(name)
        yield fields
        signals.check()
    except (EntrypointError, Terminated) as error:
        error.step, error.elapsed_s = name, since(started)
        raise
    except (OSError, RuntimeError, MemoryError, ImportError) as error:
        from ..process import kernel  # only a start that fails needs it

        refused = kernel.refusal(error)
        if refused is None:
            raise
        refused.step, refused.elapsed_s = name, since(started)
        raise refused from None
    log.event("info", f"{name}.{end}", **fields, elapsed_s=since(started))


def since(started: float) -> float:
    """Seconds since an instant of ``time.monotonic``."""
    return round(time.monotonic() - started, 3)
