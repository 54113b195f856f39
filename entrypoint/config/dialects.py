"""Parses the connection strings of several drivers. Pure: no network, no environment.

``DATABASE_URL`` is written for the service's driver, and drivers disagree: libpq, node-postgres,
postgres.js, Prisma and SQLAlchemy each accept strings that another refuses, or find another
database in them. `parse` derives the parameters of our own connection, and refuses a string that
two drivers understand differently. Neither problems nor corrected URLs ever quote a part that may
belong to a password.
"""

import re
from collections.abc import Mapping
from typing import Final

from . import conninfo
from .conninfo import PASSED_ON, UNKNOWN, Conninfo, quote, unquote

MAX_CHARACTERS: Final = 8192  # a longer value is another file, or a mistake
_URL = re.compile(r"(?P<scheme>(jdbc:)?[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)
_SCHEME = re.compile(r"postgres(ql)?(\+[a-z0-9_]+)?")
_KEYWORD = r"(?s)(\s*(\w+)\s*=\s*)('(?:\\.|[^'\\])*'|(?:\\.|[^\s\\])*)"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_UNEXPANDED = re.compile(r"\$\{|\$\$|\$\(")
BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LOCATION = r"([^@/#]*@)?[^@/#]*/[^@/#]*"
_BEGIN: Final = "postgres"
_SSLMODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

_SSL_DIALECTS: Final = {
    **{mode: mode for mode in _SSLMODES},
    **dict.fromkeys(("true", "1", "on", "yes", "no-verify"), "require"),
    **dict.fromkeys(("false", "0", "off", "no"), "disable"),
}
"""``ssl=`` and ``sslmode=no-verify`` of node-postgres and postgres.js, as libpq's sslmode."""

_KNOWN: Final = PASSED_ON.union(
    ("application_name", "fallback_application_name", "client_encoding", "connect_timeout"),
    ("schema", "pgbouncer", "connection_limit", "pool_timeout", "socket_timeout"),
    ("ssl", "sslaccept", "sslidentity", "statement_cache_size", "uselibpqcompat", "database"),
)
"""Parameters of all drivers: an @ in one of their values is not a password's."""

_DOLLAR: Final = "has a $ in the database's name, from an unexpanded variable"


class ConninfoError(ValueError):
    """A refused connection string: ``problems``, and its ``corrected`` form without a password."""

    def __init__(self, problems: list[str], params: Mapping[str, str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
        self.corrected = conninfo.template(params)
        self.more = conninfo.has_more(params)  # whether the corrected form leaves out parameters


def parse(
    text: str,
    variable: str = "DATABASE_URL",
    *,
    needs_database: bool = True,
    in_file: bool = False,
) -> Conninfo:
    """Parse a connection string from ``variable``. Raises `ConninfoError` with all problems."""
    if len(text) > MAX_CHARACTERS:
        raise ConninfoError([f"is longer than {MAX_CHARACTERS} characters"], {})
    problems: list[str] = []
    if not _is_plain(text):
        from . import pasted  # a plain URL needs no unwrapping

        text, problems = pasted.unwrapped(text)
    match = _URL.fullmatch(text)
    params = _parse_text(text, match, problems)
    if params or not problems:
        _check_tls(params, problems)
        problems += conninfo.mend(params, needs_database=needs_database)
    if problems:
        raise ConninfoError(list(dict.fromkeys(problems)), params)
    written = _split(match["rest"])[0].partition(":")[2] if match else ""
    return Conninfo(_translate(params), variable, in_file=in_file, written_password=written)


def with_database(text: str, name: str) -> str:
    """A connection string that `parse` accepts, with another database's name.

    Every other byte is as it was, because the service's driver reads parameters that ours lacks.
    """
    if url := _URL.fullmatch(text):
        location = _split(url["rest"])[2]  # the end of the text
        path = location.partition("?")[0]
        server = path.partition("/")[0]
        begin = len(text) - len(location)
        return f"{text[: begin + len(server)]}/{quote(name)}{text[begin + len(path) :]}"
    escaped = name.replace("\\", r"\\").replace("'", r"\'")
    return re.sub(
        _KEYWORD, lambda found: f"{found[1]}'{escaped}'" if found[2] == "dbname" else found[0], text
    )


def _parse_text(text: str, url: re.Match[str] | None, problems: list[str]) -> dict[str, str]:
    if url:
        if not _SCHEME.fullmatch(url["scheme"].lower()):
            problems.append("has a scheme other than postgresql://")
        return _parse_url(url["rest"], problems)
    if "=" in text:
        return _parse_keywords(text, problems)
    if text:
        problems.append("is neither a URL nor key=value conninfo")
    return {}


def _parse_url(rest: str, problems: list[str]) -> dict[str, str]:
    if _UNEXPANDED.search(rest):
        problems.append(
            "contains an unexpanded variable (${...}, $$ or $(...)); "
            "write a literal $ in a password as %24"
        )
    if _is_torn(rest):
        problems.append("has an @ in its parameters and another path before them; write %40, %2F")
        return {}
    userinfo, at, location = _split(rest)
    if not _is_plain(f"{_BEGIN}{rest}") or "://" in rest:
        from . import pasted

        if pasted.has_another(userinfo, location):
            problems.append("has another connection string in it")
            return {}
        location = pasted.whole(location, problems)
    location, _, query = location.partition("?")
    authority, _, path = location.partition("/")
    user = _parse_userinfo(userinfo, problems) if at else {}
    server = _parse_authority(authority, problems, has_userinfo=bool(at))
    if server is None or "assword=" in userinfo:
        return {}  # what looks like a host or database may be the end of a password
    named = _parse_path(path, problems)
    rest_of_it = _parse_query(query, problems, path=named.get("dbname", ""))
    return {**user, **server, **named, **rest_of_it}


def _is_plain(text: str) -> bool:
    """Whether the text begins and ends like a URL and has only printable ASCII."""
    return (
        text[: len(_BEGIN)].lower() == _BEGIN
        and text.isascii()
        and text.isprintable()
        and " " not in text
        and text[-1] not in "\"'`<>;,"
    )


def _split(rest: str) -> tuple[str, str, str]:
    """Return the userinfo, its @ if any, and the location.

    The last @ ends the userinfo, so that no part of a password is ever shown as a host; unless that
    @ clearly belongs to a parameter.
    """
    before, _, query = rest.partition("?")
    if _has_parameters(query) and re.fullmatch(_LOCATION, before):
        userinfo, at, location = before.rpartition("@")
        return userinfo, at, f"{location}?{query}"
    return rest.rpartition("@")


def _is_torn(rest: str) -> bool:
    """Whether an @ may belong to a parameter or to the password, so that the host is uncertain."""
    before, _, query = rest.partition("?")
    return "@" in before and _has_parameters(query) and not re.fullmatch(_LOCATION, before)


def _has_parameters(query: str) -> bool:
    """Whether the query begins like parameters and contains an @."""
    return "@" in query and {pair.partition("=")[0] for pair in query.split("&")} <= _KNOWN


def _parse_userinfo(userinfo: str, problems: list[str]) -> dict[str, str]:
    user, colon, password = userinfo.partition(":")
    before = len(problems)
    params = {"user": _decode(user, "the user's name", problems)}
    odd = len(problems) > before or _CONTROL.search(user)
    params["password"] = _decode(password, "the password", problems)
    merged = ":" in params["user"] and not colon
    if merged:
        problems.append("has an escaped ':' in the user's name and no password; do not escape it")
    parts = {"user's name": user, "password": password}
    for char, escape in {"@": "%40", "/": "%2F", "?": "%3F", "#": "%23", " ": "%20"}.items():
        if where := " and ".join(name for name, part in parts.items() if char in part):
            problems.append(f"has an unescaped {char!r} in the {where}; write {escape}")
    if odd or re.search(r"[@/?# ]", user) or _UNEXPANDED.search(user) or merged:
        params["user"] = ""  # it may be a part of the password; do not show it
    return {key: value for key, value in params.items() if value}


def _parse_authority(
    authority: str, problems: list[str], *, has_userinfo: bool
) -> dict[str, str] | None:
    """Hosts and ports; None if they may be a user and password whose @ is missing."""
    hosts, ports = [], []
    for part in authority.split(","):
        match = re.fullmatch(r"\[(?P<v6>[^\]]*:[^\]]*)\](:(?P<port>.*))?", part)
        host, port = (match["v6"], match["port"] or "") if match else part.partition(":")[::2]
        host = _decode(host, "the host", problems)
        if not has_userinfo and not conninfo.is_port(port):
            problems.append(f"{conninfo.BAD_PORT}, or a user and password without @ behind them")
            return None
        if not has_userinfo and host and not conninfo.is_host(host):
            problems.append(conninfo.BAD_HOST)
            return None
        hosts.append(host)
        ports.append(port)
    params = {"host": ",".join(hosts)} if any(hosts) else {}
    if any(ports):
        params["port"] = ",".join(port or "5432" for port in ports)
    return params


def _parse_path(path: str, problems: list[str]) -> dict[str, str]:
    """The database; `UNKNOWN` if drivers, or people, would read two different names."""
    name, cut, rest = re.match(r"([^/#]*)([/#]*)(.*)", path, re.DOTALL).groups()  # type: ignore[union-attr]
    if cut:
        problems.append(
            "has a / or # in the database's name; write %2F or %23, or remove what follows the name"
        )
    if "$" in name:
        problems.append(_DOLLAR)
        return {"dbname": UNKNOWN}
    known = len(problems)
    name = _decode(name, "the database's name", problems)
    if name and (rest or len(problems) > known):
        return {"dbname": UNKNOWN}
    return {"dbname": name} if name else {}


def _parse_query(query: str, problems: list[str], *, path: str) -> dict[str, str]:
    params: dict[str, str] = {}
    for pair in query.split("&"):
        key, _, value = pair.partition("=")
        key = unquote(key)
        known = len(problems)
        value = _decode(value.replace("+", " "), "its parameters", problems)
        if key in ("dbname", "database"):
            same = len(problems) == known and value in ("", path)
            problems.append(
                f"names the database by the parameter {key}=, which libpq and node-postgres "
                "understand differently; name it in the path only"
            )
            key = "dbname"
            if path and not same:
                value = UNKNOWN
        if value:
            params[key] = value
    return params


def _parse_keywords(text: str, problems: list[str]) -> dict[str, str]:
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    if _UNEXPANDED.search(text):
        problems.append("contains an unexpanded variable (${...}, $$ or $(...))")
    try:
        # libpq's own parser, whose message quotes the input with its password.
        params = {key: str(value) for key, value in conninfo_to_dict(text).items() if value}
    except ProgrammingError:
        problems.append("is no valid key=value conninfo (libpq refuses it)")
        return {}
    name = params.get("dbname", "")
    if "$" in name:
        problems.append(_DOLLAR)
        params["dbname"] = UNKNOWN
    if "://" not in name and re.search("[%=/#?]", name):
        problems.append(
            "has %, =, /, # or ? in the database's name, which key=value takes as they are; "
            "write a URL if they belong there"
        )
        params["dbname"] = UNKNOWN
    if _CONTROL.search("".join(params.values())):
        params = {key: value for key, value in params.items() if not _CONTROL.search(value)}
        params.setdefault("dbname", UNKNOWN)
    return params


def _decode(text: str, what: str, problems: list[str]) -> str:
    if BAD_ESCAPE.search(text):
        problems.append(f"has an unescaped '%' in {what}; write %25")
        return text
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        problems.append(f"has percent-encoded bytes in {what} that are not UTF-8")
        return text
    if _CONTROL.search(decoded):
        if not _CONTROL.search(text):  # a raw one is reported elsewhere
            problems.append(f"has a control character in {what}")
        return _CONTROL.sub("", decoded)
    return decoded


def _check_tls(params: dict[str, str], problems: list[str]) -> None:
    for key in ("sslmode", "ssl"):
        if params.get(key, "prefer").lower() not in _SSL_DIALECTS:
            problems.append(f"has an unknown {key}; known are {', '.join(_SSLMODES)} and no-verify")
            del params[key]


def _translate(params: Mapping[str, str]) -> dict[str, str]:
    ours = {key: value for key, value in params.items() if key in PASSED_ON}
    if mode := params.get("sslmode") or params.get("ssl"):
        ours["sslmode"] = _SSL_DIALECTS[mode.lower()]
    if "sslkey" not in ours:
        ours.pop(
            "sslcert", None
        )  # Prisma's sslcert is the server's certificate, libpq's the client's
    if "," in ours.get("host", ours.get("hostaddr", "")):
        # Among several servers, use the one that accepts writes, unless the URL decides.
        ours.setdefault("target_session_attrs", "read-write")
    return ours
