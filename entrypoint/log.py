"""Events on stderr: JSON, or for people on a terminal. Secrets are masked here, whoever logs.

stdout belongs to the service. A log that cannot be written (closed or broken stderr) never
stops a start.
"""

import binascii
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

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

# What HTTP clients print of a request; of `Basic` alone, what decodes to a user and a password.
_AUTHORIZATION = re.compile(
    r"(?i)(authorization[\"']{0,2}\s*[:=,]\s*[\"']?(?:(?:basic|bearer|token|digest)\s+)?)[^\s\"',;]+"
)
_BASIC = re.compile(r"(?i)(\bbasic\s+)([A-Za-z0-9+/_-]{4,})={0,2}")

_ESCAPE = re.compile(r"[%\\&]|''|\"\"|'\"")
"""What every quoted or escaped text has in it."""

_ALPHABET: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=")
_URL_SAFE: Final = {ord("+"): "-", ord("/"): "_"}
_USUAL: Final = {ord("-"): "+", ord("_"): "/"}

_SHORTEST_CODE: Final = 6
"""Characters of base64 that are taken for a secret's; fewer would be found in any word."""

_LONGEST_ESCAPE: Final = 24
"""Characters that one may become when it is quoted twice, such as ``%25F0%259F%2598%2580``."""

# What steers a terminal, or turns the direction of its text.
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")

_LEVEL_STYLES: Final = {
    "debug": "",
    "info": "",
    "warning": "\x1b[1;35m",
    "error": "\x1b[1;31m",
}
"""Colours that can be read on a light and on a dark terminal, which yellow and green cannot."""

_KEYS: Final = "\x1b[36m"
"""The colour of fields' names: cyan, which a light terminal swallows."""

_WIDTH: Final = 80
"""Columns of a terminal that does not say."""

MAX_BYTES: Final = 16_384
"""Docker splits a longer line, with its end, into pieces that are no JSON (moby#34855)."""

MAX_WORDS_BYTES: Final = 6_000
"""Of a line, what `error` may take of it, and what `remedy`: nobody writes so much by hand."""

_HEAD: Final = ("timestamp", "level", "event")
_WORDS: Final = ("error", "remedy", "exit_code")

_CUT: Final = "... (cut)"

_LEAST_BYTES: Final = 100
"""What is left of a field that is cut, at least."""

_AT_THE_END: Final = frozenset({"tail", "traceback"})
"""Fields of which the end tells most."""

_last: deque[str] = deque(maxlen=20)
"""The last lines as they were written."""

_secrets: set[str] = set()
_codes: set[str] = set()
"""What the secrets are within a word of base64 or hexadecimal."""

_pattern: re.Pattern[str] | None = None


def hide(secrets: Iterable[str], *, shown: Iterable[str] = ()) -> None:
    """Mask these strings in every later event and in everything given to `mask`.

    Each is hidden as it is and in the forms that programs print: quoted or escaped up to twice
    (URLs, JSON, repr, shells, SQL, conninfo, HTML), and in base64 and hexadecimal, where the whole
    word goes. ``shown`` are names that are printed anyway, such as the user's and the database's.
    """
    global _pattern  # noqa: PLW0603  the whole point is that no later line can forget it
    _pattern = None
    names = set(shown)
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET and secret not in names:
            _secrets.update((secret, secret.replace(" ", "+")))  # a form's blank
            _codes.update(_encoded(secret))


def _encoded(secret: str) -> set[str]:
    """What base64 and hexadecimal make of a secret, wherever it stands in what was encoded.

    Base64 has four characters for three bytes, so one text has three forms, one for each place of
    its first byte; the characters at both ends, which depend on the neighbours, are left out.
    """
    data = secret.encode("utf-8", "surrogateescape" if _is_bytes(secret) else "surrogatepass")
    found = {data.hex(), data.hex().upper(), data.hex(" ")}
    for before in range(3):
        words = binascii.b2a_base64(bytes(before) + data, newline=False).decode()
        known = (before + len(data)) * 8 // 6
        inner = words[-(-before * 8 // 6) : known if before or known * 6 % 8 else None]
        inner = inner.rstrip("=")
        if len(inner) >= _SHORTEST_CODE:
            found |= {inner, inner.translate(_URL_SAFE)}
    return found


def _is_bytes(text: str) -> bool:
    """Whether its surrogates stand for bytes that are no UTF-8, or are lone ones."""
    return not any("\ud800" <= each < "\udc80" or "\udd00" <= each <= "\udfff" for each in text)


def longest_secret() -> int:
    """Characters in the longest hidden form: how far a cut through a line must look ahead."""
    return _LONGEST_ESCAPE * max(map(len, _secrets), default=0)


def mask(text: str) -> str:
    """``text`` without any hidden secret, any URL's password, any ``password=``."""
    if _secrets:
        text = _without_secrets(text)
    if "://" in text and "@" in text:
        text = _WORD.sub(_without_password, text)
    lower = text.lower()
    if "assword" in lower:
        text = _KEYWORD.sub(rf"\1{MASK}", text)
    if "authorization" in lower:
        text = _AUTHORIZATION.sub(rf"\1{MASK}", text)
    if "basic " in lower:
        text = _BASIC.sub(_without_credentials, text)
    return text


def _without_secrets(text: str) -> str:
    """``text`` without what was hidden, in any form."""
    text = _secrets_pattern().sub(MASK, text)
    if _ESCAPE.search(text):
        text = _without_quoted(text)
    for code in _codes:
        if code in text:
            text = _without_code(text, code)
    return text


def _without_quoted(text: str) -> str:
    """``text`` without the secrets that stand in it with escapes."""
    from . import escapes

    hidden: list[tuple[int, int]] = []
    for reading in escapes.readings(text):
        spans = [match.span() for match in _secrets_pattern().finditer(reading.text)]
        if spans:
            starts, ends = escapes.sources(text, reading.kinds)
            hidden += [(starts[start], ends[end - 1]) for start, end in spans]
    for start, end in sorted(_merged(hidden), reverse=True):
        text = f"{text[:start]}{MASK}{text[end:]}"
    return text


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same spans, those that overlap as one."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _without_code(text: str, code: str) -> str:
    """``text`` without the words of base64 or hexadecimal that have this in them.

    Whole, for what stands beside it was encoded with it, and its ends hold bits of the secret.
    """
    words: list[str] = []
    at = 0
    while (found := text.find(code, at)) >= 0:
        start, end = found, found + len(code)
        while start > at and text[start - 1] in _ALPHABET and text[start - 1] != "=":
            start -= 1
        while end < len(text) and text[end] in _ALPHABET:
            end += 1
        words += text[at:start], MASK
        at = end
    return "".join([*words, text[at:]])


def _without_credentials(match: re.Match[str]) -> str:
    """Somebody's ``Basic`` credentials, masked; other words may follow that one, too."""
    word = match[2].translate(_USUAL)
    try:
        plain = binascii.a2b_base64(word + "=" * (-len(word) % 4))
    except ValueError:
        return match[0]
    return f"{match[1]}{MASK}" if b":" in plain else match[0]


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


def printable(text: str) -> str:
    """``text`` for a terminal: what would steer it is written as JSON escapes it."""
    return _STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _print_event(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Keep servers and children from writing on a person's terminal, or a line of their own."""
    for key, value in event.items():
        if isinstance(value, str) and key != "traceback":
            event[key] = printable(value)
        elif isinstance(value, str):
            event[key] = "\n".join(map(printable, value.split("\n")))
    return event


def _order_event(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """When, how bad, what, and what to do: first, for who reads a line with bare eyes."""
    first = {key: event.pop(key) for key in (*_HEAD, *_WORDS) if key in event}
    return {**first, **event}


def _render(
    render: Callable[..., str], logger: object, method: str, event: Mapping[str, Any]
) -> str:
    """A line of fewer than `MAX_BYTES` with its end; ``cut`` names the fields that it cost.

    The largest fields are cut, to one size, and `_WORDS` only where they are monstrous.
    """
    text = render(logger, method, dict(event))
    if len(text) < MAX_BYTES // 6 or _excess(text) <= 0:  # what is no character takes 6 bytes
        return text
    sizes = {key: _size(value) for key, value in event.items() if key not in _HEAD}
    cut: dict[str, Any] = {key: event[key] for key in _HEAD if key in event}
    cut |= {key: event[key] for key in _WORDS if key in event} | {"cut": []} | dict(event)
    for key in _WORDS:
        if sizes.get(key, 0) > MAX_WORDS_BYTES:
            _cut(cut, key, MAX_WORDS_BYTES, sizes)
    while (over := _excess(render(logger, method, dict(cut)))) > 0:
        # Last of all the words, which a console may write longer than they are in JSON.
        rest = [key for key in sizes if key not in _WORDS and sizes[key] > _LEAST_BYTES]
        rest = rest or [key for key in sizes if sizes[key] > _LEAST_BYTES]
        if not rest:  # hundreds of fields
            last = list(cut)[-1]
            del cut[last]
            sizes.pop(last, None)
            cut["cut"].append(last)
            continue
        most = max(_LEAST_BYTES, _level([sizes[key] for key in rest], over))
        for key in rest:
            if sizes[key] > most:
                _cut(cut, key, most, sizes)
    return render(logger, method, cut)


def _level(sizes: list[int], over: int) -> int:
    """The size to which all that is larger must be cut, so that together they lose so much."""
    room = sum(sizes) - over
    for index, size in enumerate(sorted(sizes)):
        share = room // (len(sizes) - index)
        if size > share:
            return share
        room -= size
    return max(sizes)


def _cut(event: dict[str, Any], key: str, room: int, sizes: dict[str, int]) -> None:
    """Make a field as small as that, or smaller, and say so."""
    event[key] = _shortened(event[key], room, end=key in _AT_THE_END)
    sizes[key] = min(_size(event[key]), sizes[key] - 1, room)
    if key not in event["cut"]:
        event["cut"].append(key)


def _shortened(value: Any, room: int, *, end: bool = False) -> Any:  # noqa: ANN401  JSON's
    """As much of a value as fits into so many bytes of JSON: its beginning, or its end."""
    if isinstance(value, str):
        room -= len(_CUT)
        length = min(len(value), max(room, 0))
        part = value[-length:] if end and length else value[:length]
        while length and (size := _size(part)) > room:
            length = min(length - 1, length * room // size)
            part = value[-length:] if end and length else value[:length]
        return f"{_CUT}{part}" if end else f"{part}{_CUT}"
    if not isinstance(value, list | dict):
        return value
    pairs = list(value.items()) if isinstance(value, dict) else [("", item) for item in value]
    kept: list[tuple[str, Any]] = []
    half = room // 2  # what there is no room for is left out, unless it had most of the room
    for key, item in reversed(pairs) if end else pairs:
        size = _size(key) + _size(item)
        if size > room:
            if room >= half:
                kept.append((key, _shortened(item, room - _size(key), end=end)))
            break
        kept.append((key, item))
        room -= size
    if isinstance(value, dict):
        return dict(kept)
    items = [item for _, item in kept]
    return items[::-1] if end else items


def _excess(text: str) -> int:
    """Bytes by which a line is too long."""
    return len(_encoded_line(text)) + len("\n") - (MAX_BYTES - 1)


def _size(value: object) -> int:
    """Bytes of a value in a line of JSON, with what stands around it."""
    return len(_encoded_line(_json(value))) + len(", ")


def _encoded_line(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


_screen: list[Callable[[str], None]] = []


@contextmanager
def through(write: Callable[[str], None]) -> Iterator[None]:
    """Give every line to who knows what moves on the terminal, and writes above it."""
    _screen.append(write)
    try:
        yield
    finally:
        _screen.remove(write)


class _Stderr:
    """Writes whole lines to descriptor 2, and gives up silently: a start outlives its log."""

    def write(self, text: str) -> None:
        _last.append(text)
        if _screen:
            _screen[-1](text)
            return
        data = _encoded_line(text)
        try:
            while data:
                data = data[os.write(2, data) :]
        except OSError:
            pass

    def flush(self) -> None:
        """Nothing is buffered."""


def settings(environ: Mapping[str, str]) -> tuple[str | None, str, bool]:
    """Form, level and colours, good enough to report that they themselves are wrong."""
    form = environ.get("ENTRYPOINT_LOG_FORMAT")
    level = environ.get("ENTRYPOINT_LOG_LEVEL") or "info"
    coloured = not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    level = level if level in LEVELS else "info"
    return form if form in ("json", "console") else None, level, coloured


def _json(event: object, **options: Any) -> str:  # noqa: ANN401  json's own
    """One line, in UTF-8 but for what a terminal would obey: JSON may leave more as it is."""
    import json

    return printable(json.dumps(event, ensure_ascii=False, **options))


def configure(*, form: str | None, level: str, coloured: bool = True) -> None:
    """Set up structlog; ``form`` is ``json``, ``console`` or None for console on a terminal.

    Only there it is ``coloured``.
    """
    structlog = _structlog()
    console = form == "console" or (form is None and os.isatty(2))
    render: Callable[..., str]
    clean: list[Callable[..., MutableMapping[str, Any]]] = [_mask_event, _order_event]
    if console:
        clean.append(_print_event)
        coloured = coloured and form is None
        styles = _LEVEL_STYLES if coloured else None
        # 24 is the event's width: by position, because its name changed between versions.
        render = structlog.dev.ConsoleRenderer(24, colors=coloured, level_styles=styles)
        if os.isatty(2):
            render = partial(_on_a_terminal, render)
    else:
        render = structlog.processors.JSONRenderer(_json)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *clean,
            partial(_render, render),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=_Stderr()),
        cache_logger_on_first_use=False,
    )


def _on_a_terminal(
    render: Callable[..., str], logger: object, method: str, event: MutableMapping[str, Any]
) -> str:
    """An event whose sentences stand below it, broken between words.

    A command at a sentence's end is one line, to be pasted, and objects are for machines.
    """
    words: dict[str, list[str]] = {}
    for key, value in list(event.items()):
        lines = [value] if key in ("error", "remedy") and isinstance(value, str) else value
        if not isinstance(lines, list):
            continue
        if all(isinstance(line, str) for line in lines):
            words[key] = lines
        if key in words or any(isinstance(line, Mapping) for line in lines):
            del event[key]
    remedy = words.pop("remedy", [])  # what to do comes last
    text = render(logger, method, event).replace(_KEYS, "")
    for key, lines in (words | {"remedy": remedy}).items():
        head = f"  {key}".ljust(12)
        for line in lines:
            text += "".join(f"\n{each}" for each in _folded(head, printable(line)))
            head = " " * len(head)
    return text


def _folded(head: str, text: str) -> list[str]:
    """A sentence behind a head, in lines of the terminal's width; a longer word is not broken."""
    import textwrap

    try:
        width = os.get_terminal_size(2).columns or _WIDTH
    except OSError:
        width = _WIDTH
    sentence, colon, command = text.rpartition(": entrypoint ")
    sentence = f"{sentence}:" if colon else text
    lines = textwrap.wrap(
        sentence,
        max(width, len(head) + 20),
        initial_indent=f"{head} ",
        subsequent_indent=" " * (len(head) + 1),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [*lines, f"  entrypoint {command}"] if colon else lines


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
