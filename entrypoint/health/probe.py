"""``entrypoint health``: prints one line about the start or the service; exits 0 only if well.

Platforms run it every few seconds in every container, so it imports little of the standard
library, and of ours only `state` and `get`. It writes to stdout, which platforms show.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from . import state
from .get import Unwell, ask, shown

TIMEOUT_S = 3.0
_UNWELL, _USAGE = 1, 2

_HELP = """usage: entrypoint health [--url URL] [--timeout SECONDS]

Exits with 0 if the service answers 2xx at health.url, else with 1. Prints one line with the reason,
or with the progress of a start."""


def main(arguments: list[str]) -> int:
    """Print one line and return the exit code. Blocks no longer than the timeout."""
    try:
        url, timeout_s = _options(arguments)
        text, code = _within(timeout_s, url), 0
    except Unwell as reason:
        text, code = str(reason), _UNWELL
    except ValueError as problem:
        text, code = f"{problem}\n\n{_HELP}".lstrip(), _USAGE if str(problem) else 0
    # The text may quote a server, and stdout may be a terminal.
    text = "".join(each if each.isprintable() or each == "\n" else "?" for each in text)
    with suppress(OSError):  # without a reader the exit code still answers
        os.write(1, f"{text}\n".encode("utf-8", "backslashreplace"))
    return code


def _options(arguments: list[str]) -> tuple[str | None, float]:
    url, timeout_s = None, TIMEOUT_S
    words = [part for word in arguments for part in _halves(word)]
    while words:
        name = words.pop(0)
        if name in ("-h", "--help"):
            raise ValueError
        if name not in ("--url", "--timeout") or not words:
            raise ValueError(f"unknown option, or option without a value: {name}")
        value = words.pop(0)
        if name == "--url":
            url = value
            continue
        try:
            timeout_s = float(value)
        except ValueError:
            timeout_s = 0.0
        if not 0 < timeout_s <= 3600:  # noqa: PLR2004  a probe that takes an hour is a mistake
            raise ValueError(f"--timeout must be a number of seconds, not {value!r}")
    return url, timeout_s


def _halves(word: str) -> list[str]:
    return word.split("=", 1) if word.startswith("--") else [word]


def _within(timeout_s: float, url: str | None) -> str:
    """Probe in a thread, so that neither the resolver nor a slow server exceeds the timeout."""
    answers: list[str] = []
    reasons: list[Unwell] = []
    asked: list[str] = []

    def look() -> None:
        try:
            answers.append(_look(url, timeout_s, asked))
        except Unwell as reason:
            reasons.append(reason)
        except Exception as bug:  # noqa: BLE001  a probe always answers
            reasons.append(Unwell(f"unhealthy: the probe failed: {type(bug).__name__}: {bug}"))

    thread = threading.Thread(target=look, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the limit of processes counts threads
        _interrupted(look, timeout_s)
    else:
        thread.join(timeout_s)
    if reasons:
        raise reasons[0]
    if not answers:
        where = asked[0] if asked else "the state of the start"
        raise Unwell(f"unhealthy: {where}: no answer within {timeout_s:g} s")
    return answers[0]


def _interrupted(look: Callable[[], None], timeout_s: float) -> None:
    """Probe under SIGALRM instead of a thread; a resolver only obeys its own timeout."""
    import signal

    def over(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    with suppress(TimeoutError):
        look()
        signal.setitimer(signal.ITIMER_REAL, 0)


def _look(url: str | None, timeout_s: float, asked: list[str]) -> str:
    try:
        found = state.read()
    except PermissionError as error:
        raise Unwell(
            f"unhealthy: only root and the user of the start may read {error.filename}, "
            "because health.url has a password or a query; run the probe as one of them"
        ) from None
    if found is None:
        raise Unwell(
            "not started: entrypoint has written no state in this container. Does the platform "
            "replace the image's ENTRYPOINT (Dokploy's Command, compose's entrypoint, Kubernetes' "
            "command)?"
        )
    now = time.monotonic()
    _must_be_over(found, now)
    since = f"{found['phase']} {_seconds(found, now)} ago"
    if not url and (problem := found.get("url_problem")):
        raise Unwell(f"unhealthy: {problem}")
    url = url or found.get("url")
    if not url:
        return f"running: {since}; health.url is not set, so the probe asked no service"
    where = shown(url)
    asked.append(where)
    try:
        return f"healthy: {where}: {ask(url, timeout_s)}"
    except Unwell as reason:
        raise Unwell(f"unhealthy: {where}: {reason} ({since})") from None


def _must_be_over(found: dict[str, str], now: float) -> None:
    """Raise `Unwell` unless the start has finished and the service, if any, still runs."""
    phase, alive = found.get("phase", ""), state.lives(found)
    if phase == state.FAILED:
        step, code = found.get("step"), found.get("code")
        raise Unwell(f"failed: {step} (exit code {code}): {found.get('detail')}")
    if phase == state.PREPARED or (phase == state.STARTED and alive):
        return
    if phase == state.STARTED:
        raise Unwell(f"unhealthy: the service (PID {found.get('pid')}) has ended")
    if alive:
        raise Unwell(f"starting: {phase} {_seconds(found, now)}{_detail(found, now)}")
    raise Unwell(f"failed: the start ended in {phase} and reported no error; did a signal kill it?")


def _seconds(found: dict[str, str], now: float, key: str = "since") -> str:
    return f"{max(0, int(now - state.number(found, key)))} s"


def _detail(found: dict[str, str], now: float) -> str:
    detail = found.get("detail")
    if not detail:
        return ""
    since = f" since {_seconds(found, now, 'detail_since')}" if found.get("detail_since") else ""
    return f" ({detail}{since})"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
