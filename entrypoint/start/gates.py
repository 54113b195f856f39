"""Step 1: wait for all gates at once.

Each gate has a thread that asks, because the system's resolver knows neither a deadline nor a
signal. The main thread keeps the deadlines and logs.
"""

import gc
import time
from collections.abc import Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

from .. import http_client, log
from ..config import urls
from ..config.settings import Gate
from ..errors import RefusedError, UnreachableError
from ..retry import Backoff, Wait
from .steps import since

ATTEMPT_TIMEOUT_S: Final = 5.0
"""Seconds for one answer: a service that is well answers sooner."""

HASTE_S: Final = 0.25
"""Seconds below which no attempt is begun at the end."""

LOOK_S: Final = 1.0
"""Seconds between two looks at gates whose threads report nothing."""

CYCLE_S: Final = 60.0
"""Seconds after which a service that does not begin to listen may be waiting for ours."""


class _Shut(NamedTuple):
    """Why a gate is not open."""

    cause: str
    permanent: bool = False
    absent: bool = False
    """Whether nobody listens there, as before a service begins: some have no name until then."""


_Queue = SimpleQueue["tuple[_GateWait, _Shut | Exception | None]"]
"""From the threads: a gate, and why it is shut; an exception is a bug of ours."""


def wait(gates: tuple[Gate, ...], service: str | None) -> None:
    """Return when each gate has been open once.

    Raises `UnreachableError` at the first deadline that passes, with that gate's last cause, and
    `RefusedError` at once for what no waiting heals. Blocks until then; what still asks when a
    gate or a signal ends the start is left to end with the process.
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


def _all(
    outcomes: _Queue, timeout_s: float
) -> Iterator[tuple["_GateWait", _Shut | Exception | None]]:
    """All outcomes within that time: an open gate has no deadline any more."""
    with suppress(Empty):
        yield outcomes.get(timeout=timeout_s)
        while True:
            yield outcomes.get_nowait()


class _GateWait:
    """The wait for one gate: what its thread reported last."""

    def __init__(self, gate: Gate, service: str | None) -> None:
        self.gate = gate
        self.deadline = time.monotonic() + gate.longest_s
        self.asked: float | None = None
        """When the thread began to ask; None while it rests."""

        self._url = urls.safe(gate.url)
        parts = urlsplit(gate.url)
        self._host = parts.hostname if parts.scheme != "http+unix" else unquote(parts.netloc)
        self._service = service or "this service"
        self.backoff = Backoff(self.deadline)
        self._wait = Wait(
            "gate.retry_scheduled", self.backoff, about=f"{self._url}: ", url=self._url
        )
        self._hinted = False
        self._attempts = 0
        self._shut = _Shut(f"no answer within {gate.timeout_s:g} s", absent=True)

    def take(self, outcome: _Shut | Exception | None) -> None:
        """Take what came of one attempt; None is an open gate."""
        if isinstance(outcome, Exception):
            raise outcome
        self._attempts += 1
        if outcome is None:
            log.event("info", "gate.opened", url=self._url, elapsed_s=since(self._wait.started))
            return
        self._shut = outcome
        if outcome.permanent:
            raise RefusedError(
                f"the gate {self._url} will not open by waiting: {outcome.cause}",
                remedy="Correct the gate's url, or the certificate of its server.",
                url=self._url,
                attempts=self._attempts,
            )
        if self._attempts == 1:
            gc.enable()  # every attempt leaves cycles, and this may take long
        self._remind()

    def look(self) -> None:
        """Raise at the deadline; notice that not even the asking comes to an end."""
        now = time.monotonic()
        asked = self.asked
        if asked is not None and now > asked + ATTEMPT_TIMEOUT_S + LOOK_S:
            text = f"no answer from the name server for {self._host!r}"
            self._shut = _Shut(text, absent=True)
            self._remind()
        if now >= self.deadline:
            remedy = (
                f"Correct the certificate of {self._host}, or name its issuer's in SSL_CERT_FILE."
                if self._shut.cause.startswith("TLS")
                else f"Check that {self._host} runs and is well, correct the gate's url or status, "
                "or raise its timeout."
            )
            raise UnreachableError(
                f"the gate {self._url} was not open after {self._wait.waited_s:.1f} s: "
                f"{self._shut.cause}",
                remedy=remedy,
                url=self._url,
                attempts=self._attempts,
                **self._hint(),
            )

    def _remind(self) -> None:
        hint = self._hint()
        news = bool(hint) and not self._hinted
        cause = self._shut.cause
        told = self._wait.tell(cause, news=news, cause=cause, attempts=self._attempts, **hint)
        self._hinted = self._hinted or (told and bool(hint))

    def _hint(self) -> dict[str, Any]:
        """A service that does not listen for so long is often no further than ours."""
        if not self._shut.absent or self._wait.waited_s < CYCLE_S:
            return {}
        return {
            "hint": f"Likely cause: {self._host} waits for {self._service} in turn, and two "
            "services that wait for each other never start. Take one of the two gates away."
        }


def _ask_until_open(wait: _GateWait, outcomes: _Queue) -> None:
    """What a gate's thread does."""
    while True:
        wait.asked = time.monotonic()
        timeout_s = min(ATTEMPT_TIMEOUT_S, wait.deadline - wait.asked)
        outcome: _Shut | Exception | None
        try:
            outcome = _ask(wait.gate, timeout_s)
        except Exception as error:  # noqa: BLE001  raised again in the main thread
            outcome = error
        wait.asked = None
        outcomes.put((wait, outcome))
        if not isinstance(outcome, _Shut) or outcome.permanent:
            return
        # What has no time to answer is not asked: the cause would be the haste.
        delay = wait.backoff.next_delay(time.monotonic(), HASTE_S)
        if delay is None:
            return
        time.sleep(delay)


def _ask(gate: Gate, timeout_s: float) -> _Shut | None:
    """One attempt."""
    parts = urlsplit(gate.url)
    try:
        if parts.scheme == "tcp":
            http_client.reach(parts.hostname or "", parts.port or 0, timeout_s)
            return None
        answer = http_client.ask(gate.url, timeout_s)
    except http_client.RequestError as failure:
        return _Shut(failure.text, failure.permanent, failure.absent)
    if answer.status in (gate.status or range(200, 300)):
        return None
    text = f"answered {answer.status} {answer.reason}"[:80].rstrip()
    if answer.location and 300 <= answer.status < 400:  # noqa: PLR2004  HTTP's redirects
        text += f", which leads to {_place(gate.url, answer.location)}: redirects are not followed"
    return _Shut(text)


def _place(url: str, location: str) -> str:
    """Where a redirect leads, for people."""
    try:
        return urls.safe(urljoin(url, location))[:200]
    except ValueError:
        return "what is no URL"
