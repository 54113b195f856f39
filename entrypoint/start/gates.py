"""Step 1: wait for all gates at once.

Each gate has its own thread, because the system's resolver knows neither deadlines nor signals. The
main thread keeps the deadlines and logs.
"""

import gc
import time
from collections.abc import Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final
from urllib.parse import unquote, urljoin, urlsplit

from .. import http_client, log
from ..config import urls
from ..config.settings import Gate
from ..errors import RefusedError, UnreachableError
from ..http_client import RequestError
from ..retry import Backoff, Wait
from .steps import since

ATTEMPT_TIMEOUT_S: Final = 5.0  # seconds of one attempt: a healthy service responds sooner
HASTE_S: Final = 0.25  # seconds before the deadline in which no attempt begins
LOOK_S: Final = 1.0  # seconds between two looks at gates whose threads report nothing
CYCLE_S: Final = 60.0  # seconds without a listener before we suspect that it waits for us


_Queue = SimpleQueue["tuple[_GateWait, Exception | None]"]
"""From the threads: a gate, and a `RequestError` if it is shut; any other exception is a bug."""


def wait(gates: tuple[Gate, ...], service: str | None) -> None:
    """Block until each gate has been open once.

    Raises `UnreachableError` at the first deadline that passes, with that gate's last cause, and
    `RefusedError` at once if waiting cannot help. Threads that still wait then end with the
    process.
    """
    outcomes: _Queue = SimpleQueue()
    waits = [_GateWait(gate, service) for gate in gates]
    for each in waits:
        Thread(target=_ask_until_open, args=(each, outcomes), daemon=True).start()
    while waits:
        deadline = min(each.deadline for each in waits)
        timeout_s = max(0.0, min(LOOK_S, deadline - time.monotonic()))
        for waiting, outcome in _all(outcomes, timeout_s):
            waiting.take(outcome)
            if outcome is None:
                waits.remove(waiting)
        for each in waits:
            each.look()


def _all(outcomes: _Queue, timeout_s: float) -> Iterator[tuple["_GateWait", Exception | None]]:
    """Yield all outcomes within the time, so that an open gate cannot miss its deadline."""
    with suppress(Empty):
        yield outcomes.get(timeout=timeout_s)
        while True:
            yield outcomes.get_nowait()


class _GateWait:
    def __init__(self, gate: Gate, service: str | None) -> None:
        self.gate = gate
        self.deadline = time.monotonic() + gate.longest_s
        self.asked: float | None = None  # when the thread's attempt began; None between attempts

        self._url = urls.safe(gate.url)
        parts = urlsplit(gate.url)
        self._host = parts.hostname if parts.scheme != "http+unix" else unquote(parts.netloc)
        self._service = service or "this service"
        self.backoff = Backoff(self.deadline)
        about = f"{self._url}: "
        self._wait = Wait("gate.retry_scheduled", self.backoff, about=about, url=self._url)
        self._hinted = False
        self._attempts = 0
        self._shut = RequestError(f"no answer within {gate.timeout_s:g} s", absent=True)

    def take(self, outcome: Exception | None) -> None:
        """Handle the outcome of one attempt; None means that the gate is open."""
        self._attempts += 1
        if outcome is None:
            log.event("info", "gate.opened", url=self._url, elapsed_s=since(self._wait.started))
            return
        if not isinstance(outcome, RequestError):
            raise outcome
        self._shut = outcome
        if outcome.permanent:
            raise RefusedError(
                f"waiting will not open the gate {self._url}: {outcome.text}",
                remedy="Correct the gate's url, or the certificate of its server.",
                url=self._url,
                attempts=self._attempts,
            )
        if self._attempts == 1:
            gc.enable()  # each attempt leaves reference cycles, and the wait may be long
        self._remind()

    def look(self) -> None:
        """Raise at the deadline; report an attempt that the name server holds up."""
        now = time.monotonic()
        asked = self.asked
        if asked is not None and now > asked + ATTEMPT_TIMEOUT_S + LOOK_S:
            text = f"no answer from the name server for {self._host!r}"
            self._shut = RequestError(text, absent=True)
            self._remind()
        if now >= self.deadline:
            remedy = (
                f"Correct the certificate of {self._host}, or add its issuer's to SSL_CERT_FILE."
                if self._shut.text.startswith("TLS")
                else f"Check that {self._host} is up and well, correct the gate's url or status, "
                "or raise its timeout."
            )
            raise UnreachableError(
                f"the gate {self._url} was not open after {self._wait.waited_s:.1f} s: "
                f"{self._shut.text}",
                remedy=remedy,
                url=self._url,
                attempts=self._attempts,
                **self._hint(),
            )

    def _remind(self) -> None:
        hint = self._hint()
        news = bool(hint) and not self._hinted
        cause = self._shut.text
        told = self._wait.tell(cause, news=news, cause=cause, attempts=self._attempts, **hint)
        self._hinted = self._hinted or (told and bool(hint))

    def _hint(self) -> dict[str, Any]:
        """A hint at two services that wait for each other, after a long wait for a listener."""
        if not self._shut.absent or self._wait.waited_s < CYCLE_S:
            return {}
        return {
            "hint": f"Likely cause: {self._host} waits for {self._service} in turn, and two "
            "services that wait for each other never start. Remove one of the two gates."
        }


def _ask_until_open(wait: _GateWait, outcomes: _Queue) -> None:
    while True:
        wait.asked = time.monotonic()
        timeout_s = min(ATTEMPT_TIMEOUT_S, wait.deadline - wait.asked)
        outcome: Exception | None = None
        try:
            _ask(wait.gate, timeout_s)
        except Exception as error:  # noqa: BLE001  raised again in the main thread
            outcome = error
        wait.asked = None
        outcomes.put((wait, outcome))
        if not isinstance(outcome, RequestError) or outcome.permanent:
            return
        # A shorter attempt would fail for lack of time, and hide the real cause.
        delay = wait.backoff.next_delay(time.monotonic(), HASTE_S)
        if delay is None:
            return
        time.sleep(delay)


def _ask(gate: Gate, timeout_s: float) -> None:
    """Raise `RequestError` if a gate is shut."""
    parts = urlsplit(gate.url)
    if parts.scheme == "tcp":
        http_client.reach(parts.hostname or "", parts.port or 0, timeout_s)
        return
    answer = http_client.ask(gate.url, timeout_s)
    if answer.status in (gate.status or range(200, 300)):
        return
    text = f"answered {answer.status} {answer.reason}"[:80].rstrip()
    if answer.location and 300 <= answer.status < 400:  # noqa: PLR2004  HTTP's redirects
        text += f", which leads to {_place(gate.url, answer.location)}; a gate follows no redirect"
    raise RequestError(text)


def _place(url: str, location: str) -> str:
    try:
        return urls.safe(urljoin(url, location))[:200]
    except ValueError:
        return "an invalid URL"
