"""How a start tells its own course: one event when a step begins, one when it ends."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from .. import log
from ..errors import EntrypointError, Terminated
from ..health import progress
from ..process import signals


@contextmanager
def step(name: str, *, end: str = "finished", **begins_with: object) -> Iterator[dict[str, object]]:
    """Log ``<name>.started`` and ``<name>.<end>``, with the fields that the body put in.

    `entrypoint health` is told too. A failure carries the step's name and its seconds to the one
    place that logs it.
    """
    started = time.monotonic()
    fields: dict[str, object] = {}
    try:
        log.event("info", f"{name}.started", **begins_with)
        progress.entered(name)
        yield fields
        signals.check()
    except (EntrypointError, Terminated) as error:
        error.step, error.elapsed_s = name, since(started)
        raise
    except (OSError, RuntimeError, MemoryError, ImportError) as error:
        from ..process import kernel  # only a start that failed pays for it

        refused = kernel.refusal(error)
        if refused is None:
            raise
        refused.step, refused.elapsed_s = name, since(started)
        raise refused from None
    log.event("info", f"{name}.{end}", **fields, elapsed_s=since(started))


def since(started: float) -> float:
    """Seconds from an instant of ``time.monotonic`` until now."""
    return round(time.monotonic() - started, 3)
