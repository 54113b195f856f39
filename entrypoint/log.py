"""Events on stderr: JSON, or for people on a terminal. Secrets are masked here, whoever logs.

stdout belongs to the service. A log that cannot be written (closed or broken stderr) never
stops a start.
"""

import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any, Final
from urllib.parse import quote, quote_plus

MASK: Final = "****"

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}

# A password worth masking wherever it appears. Shorter ones, and ones that equal a name which is
# shown anyway, would shred every line; in a URL they are masked all the same.
_SHORTEST_SECRET: Final = 4

# What may hold a URL with a password, whoever printed it; and where the password begins in it.
_WORD = re.compile(r"[^\s\"'`<>]+")
_PASSWORD = re.compile(r"://[^:/@]*:")

# password=... in key=value conninfo, query strings and environments. What opens with a quote may
# have lost its other one.
_KEYWORD = re.compile(
    r"(?i)(password\s*=\s*)"
    r"('(?:[^'\\]|\\.)*'?|\"(?:[^\"\\]|\\.)*\"?|(?:[^\s&\"'`\\]|\\.)+)"
)

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")

_last: deque[str] = deque(maxlen=20)
"""The last lines as they were written."""

_secrets: set[str] = set()
_pattern: re.Pattern[str] | None = None


def hide(secrets: Iterable[str], *, shown: Iterable[str] = ()) -> None:
    """Mask these strings in every later event and in everything given to `mask`.

    Each is hidden as it is and in the forms that programs print: percent-encoded, JSON-escaped,
    repr. ``shown`` are names that are printed anyway, such as the user's and the database's.
    """
    global _pattern  # noqa: PLW0603  the whole point is that no later line can forget it
    _pattern = None
    names = set(shown)
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET and secret not in names:
            _secrets.update(_forms(secret))


def _forms(secret: str) -> set[str]:
    import json

    encoded = quote(secret, safe="", errors="surrogateescape")
    return {
        secret,
        encoded,
        re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), encoded),
        # encodeURIComponent and encodeURI leave these alone
        quote(secret, safe="!'()*~", errors="surrogateescape"),
        quote(secret, safe=";,/?:@&=+$-_.!~*'()#", errors="surrogateescape"),
        quote_plus(secret, errors="surrogateescape"),
        secret.replace("'", "''"),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
    }


def longest_secret() -> int:
    """Characters in the longest hidden form: how far a cut through a line must look ahead."""
    return max(map(len, _secrets), default=0)


def mask(text: str) -> str:
    """``text`` without any hidden secret, any URL's password, any ``password=``."""
    if _secrets:
        text = _secrets_pattern().sub(MASK, text)
    if "://" in text and "@" in text:
        text = _WORD.sub(_without_password, text)
    if "assword" in text.lower():
        text = _KEYWORD.sub(rf"\1{MASK}", text)
    return text


def _secrets_pattern() -> re.Pattern[str]:
    global _pattern  # noqa: PLW0603  compiled once for all that was hidden until now
    if _pattern is None:
        longest_first = sorted(_secrets, key=len, reverse=True)
        _pattern = re.compile("|".join(map(re.escape, longest_first)))
    return _pattern


def _without_password(match: re.Match[str]) -> str:
    # Up to the last @, because a password that somebody forgot to escape may hold one.
    url, at, location = match[0].rpartition("@")
    begin = _PASSWORD.search(url) if at else None
    return f"{url[: begin.end()]}{MASK}@{location}" if begin else match[0]


def masked(value: object) -> object:
    """The same value, every text in it masked."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {key: masked(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return mask(str(value))


def _mask_event(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for key in event:
        event[key] = masked(event[key])
    return event


def _order_event(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """When, how bad, what: first in every line, for who reads it with bare eyes."""
    first = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return {**first, **event}


class _Stderr:
    """Writes whole lines to descriptor 2, and gives up silently: a start outlives its log."""

    def write(self, text: str) -> None:
        _last.append(text)
        data = text.encode("utf-8", "backslashreplace")
        try:
            while data:
                data = data[os.write(2, data) :]
        except OSError:
            pass

    def flush(self) -> None:
        """Nothing is buffered."""


def settings(environ: Mapping[str, str]) -> tuple[str | None, str]:
    """Form and level, good enough to report that they themselves are wrong."""
    form = environ.get("ENTRYPOINT_LOG_FORMAT")
    level = environ.get("ENTRYPOINT_LOG_LEVEL") or "info"
    return form if form in ("json", "console") else None, level if level in LEVELS else "info"


def configure(*, form: str | None, level: str) -> None:
    """Set up structlog; ``form`` is ``json``, ``console`` or None for console on a terminal."""
    structlog = _structlog()
    console = form == "console" or (form is None and os.isatty(2))
    render: Callable[..., str]
    if console:
        # 24 is the event's width: by position, because its name changed between versions.
        render = structlog.dev.ConsoleRenderer(24, colors=form is None)
    else:
        render = structlog.processors.JSONRenderer(ensure_ascii=False)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _mask_event,
            _order_event,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=_Stderr()),
        cache_logger_on_first_use=False,
    )


def last_lines() -> list[str]:
    """The last 20 lines of the log, masked as they were written, without a terminal's colours."""
    return [_COLOURS.sub("", line.rstrip("\n")) for line in _last]


def bind(**context: object) -> None:
    """Add fields to every later event."""
    _structlog().contextvars.bind_contextvars(**context)


def event(level: str, name: str, **fields: object) -> None:
    """Log one event; ``name`` is ``noun.verb_past``, fields are snake_case with their unit."""
    getattr(_structlog().get_logger(), level)(name, **fields)


def crash(error: BaseException) -> None:
    """Log an unexpected exception with its traceback, masked like everything else."""
    import traceback

    text = "".join(traceback.format_exception(error))
    event("error", "entrypoint.crashed", error=f"{type(error).__name__}: {error}", traceback=text)


def _structlog() -> Any:  # noqa: ANN401  a module has no better type
    # structlog.dev imports rich where it is installed, about 0.04 s of every start for a
    # traceback style that is not used here. None in sys.modules is Python's own way to say
    # "not installed" (https://docs.python.org/3/reference/import.html#the-module-cache), and
    # structlog works without rich by its own word.
    if "structlog" not in sys.modules and "rich" not in sys.modules:
        sys.modules["rich"] = None  # type: ignore[assignment]
        try:
            import structlog
        finally:
            del sys.modules["rich"]
    import structlog

    return structlog
