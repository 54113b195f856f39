"""Writes the start's progress for ``entrypoint health``.

If no folder can take the state, one warning says so and the start goes on. Only a start writes; an
operator's command in the same container leaves the state alone.
"""

import time
from contextlib import suppress
from typing import Final

from .. import log
from . import state

_PHASES: Final = {"lock": "push", "extensions": "push"}  # people wait for the push
_MAX_DETAIL: Final = 500  # characters of a reason; platforms cut a probe's output at 4096 bytes
_SAME_S: Final = 2.0  # seconds by which two measurements of one instant may differ


class _Phase:
    folder: str | None = None  # of the state; None before `begin`, or if this process may not write
    values: dict[str, str]
    warned = False


_phase = _Phase()


def begin() -> None:
    """Write the first state to the first folder that takes it.

    Does nothing, and lets later calls do nothing, if the container's state belongs to another
    start: a `prepare` exec'd into a running container must not replace the service's state.
    """
    own = state.writer()
    found = None
    with suppress(PermissionError):  # another user's state says nothing about us
        found = state.read()
    if found and state.is_of_another(found, own):
        return
    _phase.values = {**own, "phase": "settings", "since": _now()}
    if _save(state.folders()):
        state.forget_former_lives(str(_phase.folder))
    else:
        _warn()


def service(url: str | None, problem: str | None) -> None:
    """Record the URL of the service's health, or the problem with it."""
    _write(url=url or "", url_problem=problem or "")


def entered(step: str) -> None:
    """Record that a step began; its clock continues if it shares a phase with the step before."""
    if _phase.folder is None:
        return
    name = _PHASES.get(step, step)
    goes_on = name == _phase.values.get("phase")
    _write(phase=name, detail="", detail_since="", **({} if goes_on else {"since": _now()}))


def detail(text: str, since_s: float | None = None) -> None:
    """Record what the step waits for, and for how many seconds; an empty text clears it."""
    text = _shown(text)
    since = None if since_s is None else time.monotonic() - since_s
    if _phase.folder is None or (text == _phase.values.get("detail") and _is_since(since)):
        return
    _write(detail=text, detail_since="" if since is None else f"{since:.1f}")


def _is_since(since: float | None) -> bool:
    """Whether the state has this instant already, give or take a measurement's error."""
    written = _phase.values.get("detail_since")
    if since is None or not written:
        return since is None and not written
    return abs(since - float(written)) < _SAME_S


def over(end: str) -> None:
    """Record that the start is over: `state.STARTED`, just before the handoff, or `PREPARED`."""
    _write(phase=end, since=_now(), detail="", detail_since="")


def failed(step: str, exit_code: int, message: str) -> None:
    """Record why the start failed."""
    _write(phase=state.FAILED, since=_now(), step=step, code=str(exit_code), detail=_shown(message))


def _shown(text: str) -> str:
    return " ".join(log.mask(text).split())[:_MAX_DETAIL]


def _now() -> str:
    return f"{time.monotonic():.1f}"


def _write(**values: str) -> None:
    """Update the state; move it to another folder if its own is full."""
    before = _phase.folder
    if before is None or all(_phase.values.get(k, "") == v for k, v in values.items()):
        return
    _phase.values |= values
    if _save([before]):
        return
    moved = _save([each for each in state.folders() if each != before])
    state.remove(before)  # a stale state would stay for ever
    if not moved and not _save([before]):  # the removal may have made room
        _warn()


def _save(folders: list[str]) -> bool:
    for folder in folders:
        with suppress(OSError):
            state.replace(folder, _phase.values)
            _phase.folder = folder
            return True
    return False


def _warn() -> None:
    if _phase.warned:
        return
    _phase.warned = True
    log.event(
        "warning",
        "state.not_written",
        folders=state.folders(),
        remedy="Mount a writable folder and set ENTRYPOINT_STATE_DIR to it; without one, "
        "`entrypoint health` cannot report the progress of a start.",
    )
