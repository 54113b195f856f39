"""Calls the webhook of a start that fails: its container may be gone when people look."""

from datetime import UTC, datetime
from functools import partial
from typing import Final

from .. import http_client, log, timelimit
from ..config import endpoints
from ..config.environment import Environment
from ..errors import EntrypointError, Terminated
from ..postgres.opening import host

TIMEOUT_S: Final = 5.0  # seconds for everything, the name server included
_OK: Final = range(200, 300)
Failure = EntrypointError | Terminated | Exception


def tell(failure: Failure, code: int) -> None:
    """Send a start's failure to its webhook, if it has one, and log the outcome.

    Blocks up to `TIMEOUT_S` seconds; a signal ends it at once. Raises nothing, so that the start
    keeps its exit code.
    """
    try:
        _tell(failure, code)
    except Terminated:
        log.event("warning", "notify.failed", cause="a signal ended the request")
    except http_client.RequestError as problem:
        log.event("warning", "notify.failed", cause=problem.text)
    except TimeoutError:
        log.event("warning", "notify.failed", cause=f"no answer within {TIMEOUT_S:.0f} s")
    except Exception as error:  # noqa: BLE001  a bug here must not hide the start's failure
        log.event("warning", "notify.failed", cause=f"{type(error).__name__}: {error}")


def _tell(failure: Failure, code: int) -> None:
    webhook = endpoints.webhook(Environment.of_container())
    if webhook is None:
        return
    step, message, remedy = _words(failure)
    said = {
        "service": webhook.service,
        "step": step,
        "code": code,
        "message": message,
        "remedy": remedy,
        "lines": log.last_lines(),
        "release": webhook.release,
        "host": host(),
        "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    data = {key: log.masked(value) for key, value in said.items()}
    status = timelimit.run(partial(http_client.tell, webhook.url, data, TIMEOUT_S), TIMEOUT_S)
    if status in _OK:
        log.event("info", "notify.sent", status=status)
    else:
        log.event("warning", "notify.failed", cause=f"the receiver answered {status}")


def _words(failure: Failure) -> tuple[str, str, str | None]:
    if isinstance(failure, EntrypointError | Terminated):
        remedy = failure.remedy if isinstance(failure, EntrypointError) else None
        return failure.step, failure.message, remedy
    message = f"{type(failure).__name__}: {failure}"
    return "entrypoint", message, "Report this bug of entrypoint with its traceback."
