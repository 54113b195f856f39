"""Every setting in one table: its name, reader, default and description. Pure."""

import re
from collections.abc import Callable
from typing import Any, Final

from .. import log
from . import registry

MAX_SECONDS: Final = 7 * 86400.0
UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")  # a tenant
COMMIT: Final = r"[0-9a-fA-F]{6,64}"
"""The form of a commit. Coolify sets SOURCE_COMMIT to HEAD for images that it pulls and for
previews (https://github.com/coollabsio/coolify/issues/2126)."""

MOVING: Final = ("head", "latest", "main", "master", "develop", "dev", "stable", "unknown", "null")
"""Tags that move from image to image."""

NUMBER: Final = r"[1-9][0-9]{0,9}"  # a pull request's
MAX_RELEASE: Final = 200  # characters of a release, because the ledger stores it
STEPS: Final = ("push", "seed")  # the steps that ENTRYPOINT_SKIP and ENTRYPOINT_FORCE may name


class BadValueError(ValueError):
    """A value is unusable; the text continues a sentence that begins with the setting's name."""


UNSEEN: Final = " \t\r\n\ufeff\u00a0\u200b"  # blanks, line ends and a BOM


def bare(value: str) -> str:
    """Strip the invisible characters that env files and editors leave around a value."""
    return value.strip(UNSEEN) or value


def quoted(value: str) -> bool:
    """Whether a value is in quotes, which a shell removes but ``--env-file`` keeps."""
    return len(value) > 1 and value[0] in _OPENING and value[-1] in _CLOSING


_OPENING, _CLOSING = "\"'`\u2018\u201c\u201e", "\"'`\u2019\u201d\u201c"
QUOTED: Final = "is in quotes; remove them (docker's --env-file keeps them)"


def text(value: object) -> str:
    """Read a non-empty text. Raises `BadValueError`."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise BadValueError("must be a text")
    return value


def _release(value: object) -> str:
    """Read an image's version; reject a template that nobody filled in."""
    name = text(value)
    if re.search(r"\$[{(\w]|\{\{|^\s*$", name) or len(name) > MAX_RELEASE:
        raise BadValueError(f"must be a version, expanded, of at most {MAX_RELEASE} characters")
    return name


def _preview(value: object) -> str:
    """Read a pull request's number, without zeros in front: 7 and 07 would be two databases."""
    number = str(value)
    if number != NONE and not re.fullmatch(NUMBER, number):
        raise BadValueError("must be a pull request's number, such as 7")
    return number


def _count(value: object) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,6}", str(value)):
        raise BadValueError("must be a number from 0 to 999999")
    return int(str(value))


def seconds(value: object) -> float:
    """Read a duration in seconds. Raises `BadValueError`."""
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
    """Read a list; a variable separates its items by commas or spaces."""
    if isinstance(value, str):
        value = re.split(r"[,\s]+", value.strip(", \t\r\n"))
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise BadValueError("must be a list of texts")
    return tuple(value)


def label(name: str) -> str:
    """Write a name for a list with commas: in quotes if it could be misread."""
    plain = "," not in name and name == name.strip() and not name.startswith('"')
    return name if plain else '"' + name.replace('"', '""') + '"'


def _labels(value: object) -> tuple[str, ...]:
    """Read names as `label` writes them, separated by commas; a name may contain spaces."""
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
    """Read the name of a variable that steers neither us nor libpq nor the dynamic loader."""
    name = text(value)
    if not re.fullmatch(r"(?!ENTRYPOINT_|PG|LD_)[A-Za-z_][A-Za-z0-9_]*", name):
        raise BadValueError("must be a variable's name, such as TENANT_ID, that is the seed's own")
    return name


def _command(value: object) -> tuple[str, ...]:
    """Read an argv; a variable holds it as a shell would split it."""
    if isinstance(value, str):
        import shlex

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
    """Read a command, or the file's empty list, which says that there is none."""
    return () if value == [] else _command(value)


def _pattern(value: object) -> re.Pattern[str]:
    """Read a regular expression, which is searched for in every line."""
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
    """Read an inline table; a variable holds the same text."""

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


class Key:
    """A setting. `make docs` writes docs/reference/settings.md from these.

    ``read`` turns the written value into a Python value, or raises `BadValueError`. ``default`` is
    the value of an unset key; ``unset`` describes it in words where the default does not.
    """

    # Creating a named tuple's class would take longer than creating all rows.
    __slots__ = ("default", "doc", "read", "unset")

    def __init__(
        self,
        read: Callable[[object], Any],
        default: Any,  # noqa: ANN401  a value of the reader's type
        doc: str,
        unset: str = "",
    ) -> None:
        self.read, self.default, self.doc, self.unset = read, default, doc, unset


def _text(doc: str, unset: str = "") -> Key:
    return Key(text, None, doc, unset)


_NO_RELEASE: Final = "none: the release decides"

IN_FILE: Final[dict[str, Key]] = {
    "service": _text("The service's name in the registry.", "`SERVICE_NAME`"),
    "services": _text(
        "The file of a registry of your own, relative to the working directory.",
        "the shipped `services.toml`",
    ),
    "database_url": Key(
        _variables,
        ("DATABASE_URL",),
        "The variables that may name the database. The first one that is set wins; in a preview "
        "the start changes all of them.",
    ),
    "database.isolate": Key(
        _flag,
        True,  # noqa: FBT003  the column of defaults
        "Whether a database that the start creates is closed to other roles: "
        "`REVOKE CONNECT … FROM PUBLIC`.",
    ),
    "database.extensions": Key(
        _names, (), "Extensions that the start creates, under the lock, before the push."
    ),
    "database.owner": _text(
        "The role besides the service's own that may own a database which existed before.",
        "the registry's `owner`",
    ),
    "preview.database": Key(
        _one_of("own", "shared", "refuse"),
        None,
        "What the preview of a pull request uses: a database of its `own`, `DATABASE_pr_N`; the "
        "database that its URL names, `shared` by all previews and never the service's; or none: "
        "`refuse`.",
        "`own` for a service in the registry, else `shared`",
    ),
    "preview.max": Key(
        _count, 20, "How many previews of the service may have a database on the server."
    ),
    "push.command": Key(
        _push,
        (),
        "The program that applies the schema, and its arguments. `[]` says that there is none.",
        "`node push-db.js`, if that file exists",
    ),
    "push.inputs": Key(
        _names,
        (),
        "The files that decide what the push does, as patterns: `*`, `?`, `**`.",
        _NO_RELEASE,
    ),
    "push.inputs_env": Key(
        _variables, (), "The variables whose values decide it too, such as `SCHEMA`."
    ),
    "push.inputs_root": _text(
        "A folder, relative to the working directory, into which links of the inputs may lead.",
        "none: links stay in the working directory",
    ),
    "push.timeout": Key(seconds, 600.0, "The longest that the push may take."),
    "push.lock_timeout": Key(
        seconds,
        30.0,
        "The longest that a statement of the push may wait for a table, and so hold up others "
        "behind it (`PGOPTIONS`).",
    ),
    "push.on_older": Key(
        _one_of("skip", "push", "fail"),
        "skip",
        "What an older release does: `skip`, `push` or `fail`.",
    ),
    "push.on_loss": Key(
        _one_of("refuse", "warn"),
        "refuse",
        "What happens when the push drops or empties tables with rows: `refuse` or `warn`.",
    ),
    "push.success": Key(
        _pattern,
        None,
        "A regular expression. A push that prints no line which matches it has failed.",
        "what the known tools print",
    ),
    "push.failure": Key(
        _pattern,
        None,
        "A regular expression. A push that prints a line which matches it has failed.",
    ),
    "seed.command": Key(
        _command,
        (),
        "The program that makes a tenant's rows, and its arguments. The start fills in "
        "`{tenant_id}`.",
        "none: no seed",
    ),
    "seed.inputs": Key(_names, (), "The files that decide what the seed does.", _NO_RELEASE),
    "seed.inputs_env": Key(_variables, (), "As `push.inputs_env`."),
    "seed.inputs_root": _text("As `push.inputs_root`."),
    "seed.timeout": Key(seconds, 600.0, "The longest that the seed may take."),
    "seed.when": Key(
        _one_of(*registry.SEEDS),
        "tenant",
        "`tenant`: if `SEED_TENANT_ID` is set or a lookup finds the tenant. Or `always`, `never`.",
        "the registry's, or `tenant`",
    ),
    "seed.check": _text(
        "A query that finds a row if the tenant (`%(tenant_id)s`) is seeded.",
        "none: the ledger decides",
    ),
    "seed.tenant_variable": Key(
        _tenant_variable,
        None,
        "A variable that gives the seed, and only the seed, its tenant besides `SEED_TENANT_ID` "
        "and `{tenant_id}`, such as `TENANT_ID`.",
    ),
    "seed.tenant_lookup": Key(
        _table("url", "field", "database", "query", "timeout"),
        None,
        "Where the start finds the tenant if `SEED_TENANT_ID` is not set: `{ url, field }` or "
        "`{ database, query }`, and a `timeout`.",
    ),
    "verify.at_start": Key(
        _one_of("warn", "fail", "off"),
        "warn",
        "What a start does after a push about tables in the wrong database: `warn` logs them, "
        "`fail` ends the start, `off` does not look.",
    ),
    "verify.ignore": Key(_names, (), "Databases of no service that may be on the server."),
    "verify.bookkeeping": Key(
        _names,
        None,
        "Tables, with or without a schema, in which tools keep their own records.",
        "those of the known tools",
    ),
    "health.url": _text(
        "The URL that the service answers when it is well.",
        "none: a service that runs counts as well",
    ),
    "notify.url": _text("A webhook that the start calls when it fails."),
}
"""Every key of the file but ``gates``; a key in a section also has a variable."""


def variable(key: str) -> str:
    """The variable that overrides a key of the file."""
    return f"ENTRYPOINT_{key.replace('.', '_').upper()}"


IN_ENVIRONMENT: Final[dict[str, Key]] = {
    "ENTRYPOINT_CONFIG": _text("The settings file, if it has another name.", "`entrypoint.toml`"),
    "ENTRYPOINT_SERVICE": _text(
        "The service's name, whatever the file says. `none`: no service, whatever the file and "
        "`SERVICE_NAME` say."
    ),
    "ENTRYPOINT_SERVICES": _text(
        "The file of a registry of your own. `none`: the shipped one, whatever the file says.",
        "`services` of the file",
    ),
    "ENTRYPOINT_PREVIEW": Key(
        _preview,
        None,
        "The number of the pull request whose preview this container is. `none`: no preview, "
        "whatever the platform says.",
        "what the platform says, in the variables below",
    ),
    "ENTRYPOINT_MAINTENANCE_DATABASE": _text(
        "The database that the start connects to when it creates another.",
        "that of `ENTRYPOINT_ADMIN_URL`, else `postgres`, then `defaultdb`",
    ),
    "ENTRYPOINT_GATES": Key(
        _names, (), "The URLs of gates in place of the file's, or `none`.", "the file's"
    ),
    "ENTRYPOINT_STATE_DIR": _text(
        "The folder in which a start leaves its state for `entrypoint health`.",
        "the first writable one of `/run`, `/dev/shm` and the temporary folder",
    ),
    "ENTRYPOINT_RELEASE": Key(
        _release,
        None,
        "The image's version. A name that moves (`latest`, `main`) counts as unset.",
        "`SOURCE_COMMIT`",
    ),
    "ENTRYPOINT_WAIT_TIMEOUT": Key(seconds, 300.0, "The longest wait for the server."),
    "ENTRYPOINT_LOCK_TIMEOUT": Key(seconds, 900.0, "The longest wait for the other replicas."),
    "ENTRYPOINT_SKIP": Key(
        _steps,
        frozenset(),
        "The steps that the start leaves out: `push`, `seed` or both. With both, `run` only hands "
        "off.",
    ),
    "ENTRYPOINT_FORCE": Key(
        _steps,
        frozenset(),
        "The steps that the start runs whatever the ledger says: `push`, `seed` or both.",
    ),
    "ENTRYPOINT_ALLOW_LOSS": Key(
        _labels,
        (),
        "The tables and columns with rows that this start's push may drop or empty: "
        "`rpg_items,rpg_heroes.level`. Double quotes go around a name with a comma in it.",
    ),
    "ENTRYPOINT_LOG_FORMAT": Key(
        _one_of("json", "console"),
        None,
        "`json` or `console`.",
        "`console` on a terminal, with colours unless `NO_COLOR` or `TERM=dumb` is set; else "
        "`json`",
    ),
    "ENTRYPOINT_LOG_LEVEL": Key(
        _one_of(*log.LEVELS), "info", "`debug`, `info`, `warning` or `error`."
    ),
    **{variable(key): row for key, row in IN_FILE.items() if "." in key},
}

LOOKUP_URL: Final = "ENTRYPOINT_LOOKUP_URL"

OUR_SECRETS: Final = {
    "ENTRYPOINT_ADMIN_URL": _text(
        "A role that may create databases and extensions.", "`DATABASE_URL`'s role"
    ),
    "ENTRYPOINT_DIRECT_URL": _text(
        "A way past a pooler, for the lock and the push.", "`DATABASE_URL`"
    ),
    LOOKUP_URL: _text(
        "A role that may read the tenant in another service's database and nothing else.",
        "`DATABASE_URL`'s role",
    ),
    variable("notify.url"): _text("`notify.url`, where it is a secret.", "`notify.url`"),
}
"""Each has a ``_FILE`` twin; the service sees neither. The webhook's URL acts as a password."""

ELSEWHERE: Final = {
    "gates": Key(
        text,
        (),
        "What the start waits for first: `[[gates]]` tables with `url` (`http`, `https`, `tcp`, "
        "`http+unix`), `timeout` and `status`.",
    ),
    "DATABASE_URL": _text("The service's database.", "required"),
    "SEED_TENANT_ID": _text(
        "The UUID of the tenant that the seed is for.",
        '`seed.tenant_lookup` finds it; without a lookup `seed.when = "tenant"` skips the seed',
    ),
    "SERVICE_NAME": _text(
        "The service's name, where neither the file nor `ENTRYPOINT_SERVICE` has it; a platform "
        "may set it. The service must have a push, or say that it has none.",
        "none: the registry is not checked",
    ),
    "SOURCE_COMMIT": _text("The release, as Coolify sets it, if it is a commit."),
    "COOLIFY_CONTAINER_NAME": _text("Coolify's; a name that ends in `-pr-7` is preview 7's."),
    "COOLIFY_BRANCH": _text("Coolify's; `pull/7/head` is preview 7's."),
    "DOKPLOY_DEPLOY_URL": _text(
        "Dokploy's, which only previews have. The host's `preview-NAME-ab12cd` is preview ab12cd's."
    ),
}
"""Settings that other modules read: the gates' tables, and variables that are not only ours."""

PREVIEWS: Final = {
    "COOLIFY_CONTAINER_NAME": "-pr-",
    "COOLIFY_BRANCH": "/head",
    "DOKPLOY_DEPLOY_URL": "",
}
"""Variables by which a platform names a preview, each with what its value then has in it.

The first one that does wins. Coolify gives the first two to every container.
"""

MAY_BE_QUOTED: Final = (
    *("ENTRYPOINT_ALLOW_LOSS", "ENTRYPOINT_NOTIFY_URL"),
    *("ENTRYPOINT_PUSH_COMMAND", "ENTRYPOINT_SEED_COMMAND"),
    *("ENTRYPOINT_PUSH_SUCCESS", "ENTRYPOINT_PUSH_FAILURE"),
)
"""Variables whose values may have quotes; other readers report those around a secret."""

NONE: Final = "none"  # in a variable: unset, whatever the image's file says

NOTHING: Final[dict[str, tuple[str, ...] | None]] = {
    variable(key): row.default for key, row in IN_FILE.items() if row.default in (None, ())
}
"""The unset value of each variable that `NONE` may unset; the others have a value for it."""

GATE_KEYS: Final = frozenset({"url", "timeout", "status"})


def shortened(value: object) -> str:
    """Show a value in a message; of a possible connection string, only its scheme."""
    try:
        shown = repr(value)
    except ValueError:  # Python does not print integers of more than 4300 digits
        return "a very large number"
    shown = re.sub(r"(://|assword).*", r"\1...", log.mask(shown), flags=re.DOTALL)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."  # noqa: PLR2004  fits a line
