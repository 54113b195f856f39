"""What each SQLSTATE means at a login: wait, stop, or create the database.

Data: one line for each code or class of errcodes.txt, with its source. At a login PostgreSQL raises
them in postinit.c, miscinit.c, auth.c, backend_startup.c and guc.c; the poolers' source files stand
beside the poolers' words.
"""

import re
from typing import Final, NamedTuple

import psycopg

from .cause import CHECK_SERVER, CHECK_SILENCE, Cause, Kind

CHECK_CREDENTIALS: Final = "Correct the user and the password in {url}."
CHECK_PARAMETERS: Final = "Correct the parameters of {url}."
CHECK_OPTIONS: Final = (
    "Correct the parameter options in {url}, or remove it: this server does not know, or does not "
    "allow, a setting in it."
)
CHECK_POOLER: Final = (
    "Correct the user (some poolers want ROLE.PROJECT), the password and the database's name in "
    "{url} and in the pooler's own list, or set ENTRYPOINT_DIRECT_URL to a connection that "
    "bypasses the pooler."
)
_CHECK_POOLER_OPTIONS: Final = (
    "Remove the parameter from {url} (options=... in most cases), add it to the pooler's "
    "ignore_startup_parameters, or set ENTRYPOINT_DIRECT_URL to a connection that bypasses the "
    "pooler."
)
_CHECK_POOLER_TLS: Final = "Set sslmode=require in {url}."
_CHECK_SLOTS: Final = (
    "Close connections, or raise their limit: max_connections, the role's or the database's "
    "CONNECTION LIMIT, or the pooler's; or raise ENTRYPOINT_WAIT_TIMEOUT."
)
_CHECK_MACHINE: Final = (
    "Give the server's machine the memory or the disk space that it lacks; the server's log says "
    "which."
)
_CHECK_LOCKS: Final = (
    "Where the server's hint names max_locks_per_transaction, raise that and restart the server; "
    "else give its machine the memory that it lacks; the server's log says which."
)
_CHECK_PRODUCT: Final = (
    "Give the role of {url} the right that the message names (GRANT EXECUTE ON FUNCTION ... TO the "
    "role), which every role has on PostgreSQL, or use a PostgreSQL server."
)
_CHECK_LOG: Final = "Read the server's log, and fix the problem that it names."
_CHECK_TRIGGER: Final = (
    "Let the code that runs at each login admit this role: a login event trigger of the database "
    "(ALTER EVENT TRIGGER ... DISABLE), or a library that the server preloads."
)


class Verdict(NamedTuple):
    """What to do about a code."""

    kind: Kind
    remedy: str


_WAIT, _STOP = Kind.TRANSIENT, Kind.REFUSED

# By code, else by class. Behind each stands its source at a login.
CODES: Final = {
    "0A": Verdict(_STOP, CHECK_PARAMETERS),  # a protocol or feature that it does not have
    "22": Verdict(_STOP, CHECK_PARAMETERS),  # a value in the startup packet
    "28": Verdict(_STOP, CHECK_CREDENTIALS),  # auth.c
    "28000": Verdict(  # auth.c, miscinit.c; and what wants TLS or a certificate
        _STOP, "Let this role log in from this host: pg_hba.conf, LOGIN, or the role's name."
    ),
    "3D": Verdict(Kind.MISSING, "Create the database."),  # postinit.c
    "42": Verdict(_STOP, CHECK_PARAMETERS),  # a name or a switch in the startup packet
    "42501": Verdict(  # postinit.c; guc.c for a setting that the role may not change
        _STOP, "Run GRANT CONNECT ON DATABASE ... TO the role of {url}."
    ),
    "55000": Verdict(  # postinit.c
        _STOP,
        "Allow connections to the database (ALTER DATABASE ... ALLOW_CONNECTIONS true), "
        "or drop it if it is invalid.",
    ),
    "55P02": Verdict(_STOP, CHECK_PARAMETERS),  # guc.c: only a start of the server changes it
    "58P01": Verdict(  # dfmgr.c: a library to preload
        _STOP,
        "Install the library on the server, or remove it from the server's *_preload_libraries.",
    ),
    "P0": Verdict(_STOP, _CHECK_TRIGGER),  # a login event trigger that raises
    "2F": Verdict(_STOP, _CHECK_TRIGGER),  # the same, a function of it
    "38": Verdict(_STOP, _CHECK_TRIGGER),  # the same
    "39": Verdict(_STOP, _CHECK_TRIGGER),  # the same
    "23": Verdict(_STOP, _CHECK_TRIGGER),  # the same, what it writes
    "08": Verdict(_WAIT, CHECK_SERVER),  # a connection between the two of them
    "08P01": Verdict(_STOP, CHECK_PARAMETERS),  # backend_startup.c, an odd packet; or a pooler
    "25": Verdict(_WAIT, CHECK_SERVER),  # a login event trigger that writes, on a standby
    "40": Verdict(_WAIT, CHECK_SERVER),  # two at once
    "53": Verdict(_WAIT, _CHECK_MACHINE),  # memory, disk, locks
    "53200": Verdict(_WAIT, _CHECK_LOCKS),  # memory, or the table of locks
    "53300": Verdict(_WAIT, _CHECK_SLOTS),  # postinit.c, proc.c: no slot is free
    "55": Verdict(_WAIT, CHECK_SERVER),  # somebody holds what is needed
    "57": Verdict(_WAIT, CHECK_SERVER),  # it starts, recovers or shuts down
    "58": Verdict(_WAIT, _CHECK_LOG),  # its disk or its system
    "F0": Verdict(_WAIT, _CHECK_LOG),  # its configuration
    "XX": Verdict(_WAIT, _CHECK_LOG),  # what should not happen in it
}

_OTHER: Final = Verdict(_WAIT, _CHECK_LOG)  # nobody has met it at a login
_SETTINGS_FILES: Final = ("guc.c", "postgres.c", "variable.c")
"""The server reads the startup packet's settings there; 42501 and 22023 have other causes, too."""

_ABOUT_SETTINGS: Final = ("42601", "42704", "42501", "55P02", "22023")

_PGBOUNCER: Final = (
    "no such user|login rejected|no authentication method is found|empty password"
    '|(SASL|password|certificate|PAM|LDAP|"trust") authentication failed'
)
_SUPAVISOR: Final = (
    r"Tenant or user not found|\((ENOTFOUND|ENOIDENTIFIER|EINVALIDUSERINFO|EMULTIPLEUSERS"
    r"|EADDRNOTALLOWED|EBANNED|EWRONGPASSWORD|EJITUNAUTHORIZED)\)"
)

# Nobody translates a pooler's words. The comments name the source files.
_POOLERS_WORDS: Final = (
    # PgBouncer's client.c; 08P01
    ("unsupported (options )?startup parameter", Verdict(_STOP, _CHECK_POOLER_OPTIONS)),
    # PgBouncer's client.c, Supavisor's ssl_required_error.ex
    (
        r"SSL required$|\(ESSLREQUIRED\)|SSL connection is required",
        Verdict(_STOP, _CHECK_POOLER_TLS),
    ),
    (_PGBOUNCER, Verdict(_STOP, CHECK_POOLER)),  # PgBouncer's client.c; 08P01
    (_SUPAVISOR, Verdict(_STOP, CHECK_POOLER)),  # Supavisor's errors/*.ex; XX000
    ("No pool configured", Verdict(_STOP, CHECK_POOLER)),  # pgcat's client.rs; 58000
    # Supavisor, now max_connections_error.ex
    (
        r"\(EMAXCONN|Max client connections reached|MaxClientsInSessionMode",
        Verdict(_WAIT, _CHECK_SLOTS),
    ),
    # PgBouncer's client.c; 08P01
    ("no more connections allowed|client connections exceeded", Verdict(_WAIT, _CHECK_SLOTS)),
)

_POOLERS_OWN: Final = ("08P01", "XX000", "58000")
"""Catch-all codes of PgBouncer, Supavisor and Neon, pgcat and Odyssey, for any failure."""


class ErrorResponse(NamedTuple):
    """The fields of an ErrorResponse that decide."""

    code: str
    text: str
    file: str  # the server's source file that raised the error; empty for a pooler's own words


_LONGEST: Final = 300


def clean(text: str) -> str:
    """Put a foreign text into one line of bounded length."""
    begin = text[: 10 * _LONGEST]
    line = " ".join("".join(each if each.isprintable() else " " for each in begin).split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def cause_of(said: ErrorResponse, found: Verdict) -> Cause:
    """The cause of an error, with its words and their speaker."""
    text = f"{'' if said.file else 'a pooler said: '}{said.text} ({said.code})"
    return Cause(found.kind, text, found.remedy, said.code)


def first_query(error: psycopg.Error) -> Cause:
    """Why a session's first query failed: a pooler may have let us in without its server."""
    code, diag = error.sqlstate, error.diag
    if code is None:
        text = f"the connection broke ({type(error).__name__})"
        return Cause(Kind.TRANSIENT, text, CHECK_SERVER)
    said = ErrorResponse(code, clean(diag.message_primary or "error"), diag.source_file or "")
    found = verdict(said, options=False)
    if said.file and code[:2] in ("0A", "42"):
        found = Verdict(_STOP, _CHECK_PRODUCT)  # no PostgreSQL, or rights taken away
    elif said.file and found.kind is not Kind.MISSING:
        found = found._replace(kind=Kind.TRANSIENT)
    return cause_of(said, found)


def remedy_of(code: str | None) -> str:
    """The remedy for a statement's failure that may pass; None is the code of a lost connection."""
    if code is None or code.startswith("08"):
        return CHECK_SERVER
    return (CODES.get(code) or CODES.get(code[:2]) or _OTHER).remedy


def verdict(said: ErrorResponse, *, options: bool) -> Verdict:
    """What an error during the login means; ``options`` says whether we sent any."""
    code = said.code
    if not said.file and (found := _of_pooler(said)):
        return found
    if code in _ABOUT_SETTINGS and (
        said.file in _SETTINGS_FILES or (not said.file and options and code != "42501")
    ):
        return Verdict(_STOP, CHECK_OPTIONS if options else CHECK_PARAMETERS)
    found = CODES.get(code) or CODES.get(code[:2]) or _OTHER
    if not said.file and found.remedy is CHECK_SERVER:
        return found._replace(remedy=CHECK_SILENCE)
    return found


def _of_pooler(said: ErrorResponse) -> Verdict | None:
    for words, found in _POOLERS_WORDS:
        if re.match(words, said.text):
            return found
    if said.code in _POOLERS_OWN:
        return Verdict(Kind.UNCLEAR, CHECK_POOLER)  # a pooler that does not say
    return None
