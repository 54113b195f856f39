"""The names of all settings, and how each one's value is read. Pure."""

import re
import shlex
from collections.abc import Callable
from typing import Any, Final

from . import log, services

MAX_SECONDS: Final = 7 * 86400.0

UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
"""What a tenant looks like."""

COMMIT: Final = re.compile(r"[0-9a-fA-F]{6,64}")
"""What a commit looks like. Coolify's SOURCE_COMMIT is HEAD for images that it pulls and for
previews (https://github.com/coollabsio/coolify/issues/2126)."""

MOVING: Final = ("head", "latest", "main", "master", "develop", "dev", "stable", "unknown", "null")
"""Names that one image has today and another tomorrow."""

MAX_RELEASE: Final = 200
"""Characters of a release, which the ledger keeps."""

STEPS: Final = ("push", "seed")
"""What ENTRYPOINT_SKIP and ENTRYPOINT_FORCE may name."""


class BadValueError(ValueError):
    """A value that cannot be used; the text continues a sentence that begins with its name."""


UNSEEN: Final = " \t\r\n\ufeff\u00a0\u200b"
"""Blanks, line ends and a BOM."""


def bare(value: str) -> str:
    """A variable's value without what env files and editors leave at its ends and nobody sees."""
    return value.strip(UNSEEN) or value


def quoted(value: str) -> bool:
    """Whether a value is in quotes, which shells remove and ``--env-file`` does not."""
    return len(value) > 1 and value[0] in _OPENING and value[-1] in _CLOSING


_OPENING, _CLOSING = "\"'`\u2018\u201c\u201e", "\"'`\u2019\u201d\u201c"

QUOTED: Final = "is in quotes, which nobody removes here (docker's --env-file keeps them)"


def text(value: object) -> str:
    """A text that is not empty. Raises `BadValueError`."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise BadValueError("must be a text")
    return value


def _release(value: object) -> str:
    """An image's version, which somebody may have forgotten to fill in."""
    name = text(value)
    if re.search(r"\$[{(\w]|\{\{|^\s*$", name) or len(name) > MAX_RELEASE:
        raise BadValueError(f"must be a version, expanded, of at most {MAX_RELEASE} characters")
    return name


def seconds(value: object) -> float:
    """A duration. Raises `BadValueError`."""
    try:
        number = float(value) if isinstance(value, str | int | float) else -1.0
    except (ValueError, OverflowError):
        number = -1.0
    if isinstance(value, bool) or not 0 <= number <= MAX_SECONDS:
        raise BadValueError(f"must be a number of seconds from 0 to {MAX_SECONDS:.0f}")
    return number


def _flag(value: object) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value.lower() not in words:
        raise BadValueError("must be true or false")
    return words[value.lower()]


def _names(value: object) -> tuple[str, ...]:
    """A list in the file; in a variable, words with commas or spaces between them."""
    if isinstance(value, str):
        value = re.split(r"[,\s]+", value.strip(", \t\r\n"))
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise BadValueError("must be a list of texts")
    return tuple(value)


def label(name: str) -> str:
    """A name for a list with commas between them: in quotes where it could be misread."""
    plain = "," not in name and name == name.strip() and not name.startswith('"')
    return name if plain else '"' + name.replace('"', '""') + '"'


def _labels(value: object) -> tuple[str, ...]:
    """Names with commas between them, as `label` writes them; a table's may have spaces in it."""
    found = re.findall(r'\s*"((?:[^"]|"")+)"\s*(?=,|$)|([^,]+)', text(value))
    read = (quoted.replace('""', '"') or bare.strip() for quoted, bare in found)
    names = tuple(filter(None, read))
    if not names:
        raise BadValueError("must be names with commas between them")
    return names


def _variables(value: object) -> tuple[str, ...]:
    names = _names(value)
    if not names or not all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", name) for name in names):
        raise BadValueError("must be a list of variables' names, such as DATABASE_URL")
    return names


def _tenant_variable(value: object) -> str:
    """A name that only the seed's own code reads: none that steers us, libpq or a loader."""
    name = text(value)
    if not re.fullmatch(r"(?!ENTRYPOINT_|PG|LD_)[A-Za-z_][A-Za-z0-9_]*", name):
        raise BadValueError("must be a variable's name, such as TENANT_ID, that is the seed's own")
    return name


def _command(value: object) -> tuple[str, ...]:
    """An argv in the file; in a variable, words as a shell would split them."""
    if isinstance(value, str):
        try:
            value = shlex.split(value)
        except ValueError as error:
            raise BadValueError(f"cannot be split into words ({error})") from None
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise BadValueError("must be a list of texts")
    if not value or not value[0] or any("\0" in word for word in value):
        raise BadValueError("must be a list of words, the program first")
    return tuple(value)


def _push(value: object) -> tuple[str, ...]:
    """A command, or the file's empty list: somebody says that there is none."""
    return () if value == [] else _command(value)


def _pattern(value: object) -> re.Pattern[str]:
    """A regular expression that is looked for in every line."""
    try:
        return re.compile(text(value))
    except (re.error, RecursionError, OverflowError) as error:
        raise BadValueError(f"must be a regular expression of Python's ({error})") from None


def _one_of(*choices: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in choices:
            raise BadValueError(f"must be one of {', '.join(choices)}")
        return str(value)

    return read


def _steps(value: object) -> frozenset[str]:
    names = _names(value)
    if not set(names) <= set(STEPS):
        raise BadValueError(f"must be {' or '.join(STEPS)} or both")
    return frozenset(names)


def _table(*keys: str) -> Callable[[object], dict[str, Any]]:
    """An inline table of the file's; a variable holds the same text."""

    def read(value: object) -> dict[str, Any]:
        if isinstance(value, str):
            import tomllib

            try:
                value = tomllib.loads(f"value = {value}")["value"]
            except (ValueError, RecursionError):
                value = None
        if not isinstance(value, dict):
            raise BadValueError("must be an inline table such as { url = '...' }")
        if strange := sorted(value.keys() - {*keys}):
            raise BadValueError(f"knows no key {strange[0]!r}, only {', '.join(keys)}")
        return value

    return read


IN_FILE: Final[dict[str, Callable[[object], Any]]] = {
    "service": text,
    "services": text,
    "database_url": _variables,
    "database.isolate": _flag,
    "database.extensions": _names,
    "database.owner": text,
    "push.command": _push,
    "push.inputs": _names,
    "push.inputs_env": _variables,
    "push.inputs_root": text,
    "push.timeout": seconds,
    "push.lock_timeout": seconds,
    "push.on_older": _one_of("skip", "push", "fail"),
    "push.on_loss": _one_of("refuse", "warn"),
    "push.success": _pattern,
    "push.failure": _pattern,
    "seed.command": _command,
    "seed.inputs": _names,
    "seed.inputs_env": _variables,
    "seed.inputs_root": text,
    "seed.timeout": seconds,
    "seed.when": _one_of(*services.SEEDS),
    "seed.check": text,
    "seed.tenant_variable": _tenant_variable,
    "seed.tenant_lookup": _table("url", "field", "database", "query", "timeout"),
    "verify.at_start": _one_of("warn", "fail", "off"),
    "verify.ignore": _names,
    "verify.bookkeeping": _names,
    "health.url": text,
    "notify.url": text,
}
"""Every key of the file but ``gates``; each in a section has its variable."""


def variable(key: str) -> str:
    """The variable that overrides a key of the file."""
    return f"ENTRYPOINT_{key.replace('.', '_').upper()}"


IN_ENVIRONMENT: Final[dict[str, Callable[[object], Any]]] = {
    "ENTRYPOINT_CONFIG": text,
    "ENTRYPOINT_SERVICE": text,
    "ENTRYPOINT_MAINTENANCE_DATABASE": text,
    "ENTRYPOINT_RELEASE": _release,
    "ENTRYPOINT_WAIT_TIMEOUT": seconds,
    "ENTRYPOINT_LOCK_TIMEOUT": seconds,
    "ENTRYPOINT_SKIP": _steps,
    "ENTRYPOINT_FORCE": _steps,
    "ENTRYPOINT_ALLOW_LOSS": _labels,
    "ENTRYPOINT_GATES": _names,
    "ENTRYPOINT_STATE_DIR": text,
    "ENTRYPOINT_SERVICES": text,
    "ENTRYPOINT_LOG_FORMAT": _one_of("json", "console"),
    "ENTRYPOINT_LOG_LEVEL": _one_of(*log.LEVELS),
    **{variable(key): read for key, read in IN_FILE.items() if "." in key},
}

MAY_BE_QUOTED: Final = (
    *("ENTRYPOINT_ALLOW_LOSS", "ENTRYPOINT_NOTIFY_URL"),
    *("ENTRYPOINT_PUSH_COMMAND", "ENTRYPOINT_SEED_COMMAND"),
    *("ENTRYPOINT_PUSH_SUCCESS", "ENTRYPOINT_PUSH_FAILURE"),
)
"""What has quotes of its own; a secret's are told with what else is wrong with it."""

NONE: Final = "none"
"""In a variable: nothing, where the image's file says something."""

_LISTS: Final = (
    *("database.extensions", "push.command", "push.inputs", "push.inputs_env"),
    *("seed.command", "seed.inputs", "seed.inputs_env", "verify.ignore"),
)
_TEXTS: Final = (
    *("service", "services", "database.owner", "push.inputs_root", "push.success", "push.failure"),
    *("seed.inputs_root", "seed.check", "seed.tenant_lookup", "seed.tenant_variable"),
    *("verify.bookkeeping", "health.url", "notify.url"),
)

NOTHING: Final[dict[str, tuple[str, ...] | None]] = {
    **{variable(key): () for key in _LISTS},
    **{variable(key): None for key in _TEXTS},
}
"""By variable, what that is. The others have a value for what is so without the file."""

LOOKUP_URL: Final = "ENTRYPOINT_LOOKUP_URL"

OUR_SECRETS: Final = (
    "ENTRYPOINT_ADMIN_URL",
    "ENTRYPOINT_DIRECT_URL",
    LOOKUP_URL,
    variable("notify.url"),
)
"""Each has its ``_FILE`` twin; neither is handed on. A webhook's URL is its password."""

GATE_KEYS: Final = frozenset({"url", "timeout", "status"})


def shortened(value: object) -> str:
    """A value for a message; of what may be a connection string, no more than its kind."""
    try:
        shown = repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        return "a very large number"
    shown = re.sub(r"(://|assword).*", r"\1...", log.mask(shown), flags=re.DOTALL)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."  # noqa: PLR2004  fits a line
