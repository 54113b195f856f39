"""How far the start is, told to ``entrypoint health``.

Nothing here stops a start: where no folder can be written to, one warning says so. Only a start
writes; an operator's command in the same container leaves its state alone.
"""

import time
from contextlib import suppress
from typing import Final

from .. import log
from . import state

_PHASES: Final = {"lock": "push", "extensions": "push"}
"""Steps that are shown as a part of another one: what people wait for is the push."""

_MAX_DETAIL: Final = 500
"""Characters of a reason that are kept; a probe's output is cut at 4096 bytes."""

_SAME_S: Final = 2.0
"""Seconds by which two measurements of one instant may differ."""


class _Phase:
    folder: str | None = None
    """Where the state is; None before `begin` and where there is nothing for us to write."""

    values: dict[str, str]
    warned = False


_phase = _Phase()


def begin() -> None:
    """Write the first state, in the first folder that takes it; who wrote it is this process.

    Nothing is written, now or later, where the container's state is another start's: a `prepare`
    exec'd in a container that serves says nothing of the service.
    """
    own = state.writer()
    found = None
    with suppress(PermissionError):  # another user's, of whom nothing is known
        found = state.read()
    if found and state.is_of_another(found, own):
        return
    _phase.values = {**own, "phase": "settings", "since": _now()}
    if _save(state.folders()):
        state.forget_former_lives(str(_phase.folder))
    else:
        _warn()


def service(url: str | None, problem: str | None) -> None:
    """Say where the service answers when it is well, or why nobody knows."""
    _write(url=url or "", url_problem=problem or "")


def entered(step: str) -> None:
    """Say that a step began. Its clock goes on where another step of the same phase was before."""
    if _phase.folder is None:
        return
    name = _PHASES.get(step, step)
    goes_on = name == _phase.values.get("phase")
    _write(phase=name, detail="", detail_since="", **({} if goes_on else {"since": _now()}))


def detail(text: str, since_s: float | None = None) -> None:
    """Say what the step waits for, and for how many seconds that has been so; empty for nothing."""
    text = _shown(text)
    if _phase.folder is None:
        return
    since = None if since_s is None else time.monotonic() - since_s
    if text == _phase.values.get("detail") and _is_since(since):
        return
    _write(detail=text, detail_since="" if since is None else f"{since:.1f}")


def _is_since(since: float | None) -> bool:
    """Whether the state says that already: who asks again and again never measures it the same."""
    written = _phase.values.get("detail_since")
    if since is None or not written:
        return since is None and not written
    return abs(since - float(written)) < _SAME_S


def over(end: str) -> None:
    """Say that the start is over: `state.STARTED`, just before the handoff, or `PREPARED`."""
    _write(phase=end, since=_now(), detail="", detail_since="")


def failed(step: str, exit_code: int, message: str) -> None:
    """Say why the start failed."""
    _write(phase=state.FAILED, since=_now(), step=step, code=str(exit_code), detail=_shown(message))


def _shown(text: str) -> str:
    return " ".join(log.mask(text).split())[:_MAX_DETAIL]


def _now() -> str:
    return f"{time.monotonic():.1f}"


def _write(**values: str) -> None:
    """Change the state, wherever there still is room for it."""
    before = _phase.folder
    if before is None or all(_phase.values.get(k, "") == v for k, v in values.items()):
        return
    _phase.values |= values
    others = [each for each in state.folders() if each != before]
    if _save([before]):
        return
    moved = _save(others)
    state.remove(before)  # it would tell for ever what is over
    if not moved and not _save([before]):  # in the room that it had
        _warn()


def _save(folders: list[str]) -> bool:
    """Write the state to the first folder that takes it, and go on there; whether one does."""
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
        remedy="Mount a folder that can be written to and name it in ENTRYPOINT_STATE_DIR, or "
        "`entrypoint health` cannot tell how far a start is.",
    )
