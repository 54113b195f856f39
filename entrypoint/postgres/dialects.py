"""Reads connection strings, whoever's dialect they are in. Pure: no network, no environment.

``DATABASE_URL`` is written for the service's driver, and the drivers disagree: libpq, node-postgres,
postgres.js, Prisma and SQLAlchemy each accept what another refuses, or understand another database
by it. `parse` reads what they mean for our own connection, and refuses what two of them would
understand differently. No problem's text ever quotes a part that could belong to a password.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, unquote

from .conninfo import Conninfo, template

MAX_NAME_BYTES: Final = 63
"""NAMEDATALEN - 1: PostgreSQL silently cuts longer names, and then two names mean one database."""

MAX_CHARACTERS: Final = 8192
"""More than any real connection string; past it a value is some other file or a mistake."""

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)
_SCHEME = re.compile(r"postgres(ql)?(\+[a-z0-9_]+)?", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_UNEXPANDED = re.compile(r"\$\{|\$\$|\$\(")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_IPV6 = re.compile(r"\[[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?\]")

_SSLMODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

_SSL_DIALECTS: Final = {
    **{mode: mode for mode in _SSLMODES},
    **dict.fromkeys(("true", "1", "on", "yes", "no-verify"), "require"),
    **dict.fromkeys(("false", "0", "off", "no"), "disable"),
}
"""node-postgres' and postgres.js' ``ssl=`` and ``sslmode=no-verify`` in libpq's words."""

PASSED_ON: Final = frozenset(
    "user password host hostaddr port dbname passfile service servicefile channel_binding options "
    "keepalives keepalives_idle keepalives_interval keepalives_count tcp_user_timeout sslmode "
    "sslnegotiation sslcompression sslcert sslkey sslcertmode sslpassword sslrootcert "
    "sslcrl sslcrldir sslsni requirepeer require_auth ssl_min_protocol_version "
    "ssl_max_protocol_version min_protocol_version max_protocol_version gssencmode krbsrvname "
    "gsslib gssdelegation target_session_attrs load_balance_hosts".split()
)
"""The libpq parameters that our own connection takes over. Everything else belongs to another
driver (Prisma's ``schema``, ``pgbouncer``, ``connection_limit`` and so on) or is ours to set
(``application_name``, ``connect_timeout``, ``client_encoding``), and is dropped."""

class ConninfoError(ValueError):
    """Why a connection string is refused, and what it should look like; never the password."""

    def __init__(self, problems: list[str], corrected: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
        self.corrected = corrected


def parse(text: str, variable: str = "DATABASE_URL", *, needs_database: bool = True) -> Conninfo:
    """Understand a URL or key=value conninfo that came from ``variable``.

    Raises `ConninfoError` with every problem found.
    """
    if len(text) > MAX_CHARACTERS:
        raise ConninfoError([f"is longer than {MAX_CHARACTERS} characters"], template({}))
    problems: list[str] = []
    params: dict[str, str] = {}
    text = _unwrap(text, problems)
    match = _URL.fullmatch(text)
    if not text:
        problems = ["is empty"]
    elif match:
        params = _parse_url(match["scheme"], match["rest"], problems)
    elif "=" in text:
        params = _parse_keywords(text, problems)
    else:
        problems.append("is neither a URL nor key=value conninfo")
    if params or not problems:
        _check(params, problems)
        if needs_database and not params.get("dbname"):
            problems.append("names no database; libpq would take the user's name for it")
    if problems:
        raise ConninfoError(problems, template(params))
    userinfo = text.rpartition("@")[0].partition("://")[2] if match else ""
    return Conninfo(_translate(params), variable, written_password=userinfo.partition(":")[2])


def _unwrap(text: str, problems: list[str]) -> str:
    """``text`` without what surrounds it and must go, each noted as a problem."""
    if text != (bare := text.strip()):
        what = "a newline" if re.search(r"[\r\n]", text) else "white space"
        problems.append(f"begins or ends with {what}")
    if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "\"'`":
        problems.append("is wrapped in quotes, which nobody removes for the service")
        bare = bare.strip("\"'` \t\r\n")
    if _CONTROL.search(bare):
        what = "a newline" if re.search(r"[\r\n]", bare) else "a control character"
        problems.append(f"contains {what}")
        bare = _CONTROL.sub("", bare)
    try:
        bare.encode()
    except UnicodeEncodeError:
        problems.append("has bytes that are not UTF-8")
        bare = bare.encode("utf-8", "replace").decode()
    return bare


def _parse_url(scheme: str, rest: str, problems: list[str]) -> dict[str, str]:
    if not _SCHEME.fullmatch(scheme):
        problems.append(f"has the scheme {scheme}://, not postgresql://")
    if _UNEXPANDED.search(rest):
        problems.append("contains an unexpanded variable (${...}, $$ or $(...)); "
                        "a literal $ in a password is written %24")
    # Every @ but the last is taken as the password's, so that nothing left of the last one is
    # ever shown as a host.
    userinfo, at, location = rest.rpartition("@")
    params: dict[str, str] = {}
    if at:
        params |= _parse_userinfo(userinfo, problems)
    location, question, query = location.partition("?")
    authority, _, path = location.partition("/")
    params |= _parse_authority(authority, problems, echo=bool(at))
    if path:
        params["dbname"] = _decode(path, "the database's name", problems)
        if re.search(r"[/#]", path):
            problems.append("has a / or # in the database's name; write %2F or %23, "
                            "or remove what follows the name")
            params["dbname"] = re.split(r"[/#]", params["dbname"])[0]
    if question:
        params |= _parse_query(query, params.get("dbname", ""), problems)
    return params


def _parse_userinfo(userinfo: str, problems: list[str]) -> dict[str, str]:
    user, colon, password = userinfo.partition(":")
    params = {"user": _decode(user, "the user's name", problems)}
    if colon:
        params["password"] = _decode(password, "the password", problems)
    for char, escape in {"@": "%40", "/": "%2F", "?": "%3F", "#": "%23", " ": "%20"}.items():
        where = [name for name, part in (("user's name", user), ("password", password)) if char in part]
        if where:
            problems.append(f"has an unescaped {char!r} in the {' and '.join(where)}; write {escape}")
    if re.search(r"[@/?#: ]", params["user"]):
        params["user"] = "USER"  # what this is cannot be told from a password; do not show it
    return params


def _parse_authority(authority: str, problems: list[str], *, echo: bool) -> dict[str, str]:
    """Hosts and ports. Without an @ before it (``echo``), what looks like one may be a password."""
    if not authority:
        return {}
    hosts, ports = [], []
    for part in authority.split(","):
        match = re.fullmatch(r"(?P<host>\[[^\]]*\]|[^:]*)(:(?P<port>.*))?", part)
        host = match["host"] if match else part
        port = (match["port"] or "") if match else ""
        if not match or (port and not _is_port(port)):
            problems.append("has a port that is not a number from 1 to 65535"
                            + ("" if echo else ", or a user and password without @ behind them"))
            host, port = (host if echo else "HOST"), ""
        host = _decode(host, "the host", problems)
        if host and not (host.startswith("/") or _HOST.fullmatch(host) or _IPV6.fullmatch(host)):
            problems.append("has a host that is no valid name or address")
            host = "HOST"
        hosts.append(host.strip("[]"))
        ports.append(port)
    params = {"host": ",".join(hosts)} if any(hosts) else {}
    if any(ports):
        params["port"] = ",".join(port or "5432" for port in ports)
    return params


def _parse_query(query: str, database: str, problems: list[str]) -> dict[str, str]:
    params: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key in ("dbname", "database"):
            problems.append(f"names the database by the parameter {key}=, which libpq and node-postgres "
                            "understand differently; name it in the path only")
            if not database:
                params["dbname"] = value
        elif key == "port" and not all(map(_is_port, value.split(","))):
            problems.append("has a port that is not a number from 1 to 65535")
        elif value:
            params[key] = value
    if _BAD_ESCAPE.search(query):
        problems.append("has a % that is no percent-encoding in its parameters; write %25")
    return params


def _parse_keywords(text: str, problems: list[str]) -> dict[str, str]:
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    if _UNEXPANDED.search(text):
        problems.append("contains an unexpanded variable (${...}, $$ or $(...))")
    try:
        # libpq's own parser; its message quotes the input, password and all.
        params = {key: str(value) for key, value in conninfo_to_dict(text).items()}
    except ProgrammingError:
        problems.append("is no valid key=value conninfo (libpq refuses it)")
        return {}
    if not all(map(_is_port, params.get("port", "5432").split(","))):
        problems.append("has a port that is not a number from 1 to 65535")
        del params["port"]
    return params


def _is_port(text: str) -> bool:
    return not text or (text.isascii() and text.isdigit() and 0 < int(text[:9]) < 65536)  # noqa: PLR2004  the range of ports


def _decode(text: str, what: str, problems: list[str]) -> str:
    if _BAD_ESCAPE.search(text):
        problems.append(f"has an unescaped '%' in {what}; write %25")
        return text
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        problems.append(f"has percent-encoded bytes in {what} that are not UTF-8")
        return text
    if _CONTROL.search(decoded):
        problems.append(f"has a control character in {what}")
        return _CONTROL.sub("", decoded)
    return decoded


def _check(params: Mapping[str, str], problems: list[str]) -> None:
    """Find problems in what was understood."""
    hosts = params.get("host", params.get("hostaddr", "")).split(",")
    if not all(hosts):
        problems.append("has an empty host")
    if any(not host.startswith("/") and ".." in host for host in hosts):
        problems.append("has an empty label in the host's name")
    ports = params.get("port", "").split(",")
    if len(ports) not in (1, len(hosts)):
        problems.append("has not one port for each host")
    database = params.get("dbname", "")
    if len(database.encode("utf-8", "replace")) > MAX_NAME_BYTES:
        problems.append(f"names a database of more than {MAX_NAME_BYTES} bytes, "
                        "which PostgreSQL would silently cut")
    if "$" in database:
        problems.append("has a $ in the database's name: a variable was not expanded")
    mode = params.get("sslmode") or params.get("ssl") or "prefer"
    if mode.lower() not in _SSL_DIALECTS:
        problems.append(f"has an unknown sslmode; known are {', '.join(_SSLMODES)} and no-verify")


def _translate(params: Mapping[str, str]) -> dict[str, str]:
    """The parameters for libpq: other drivers' translated or dropped."""
    ours = {key: value for key, value in params.items() if key in PASSED_ON}
    if mode := params.get("sslmode") or params.get("ssl"):
        ours["sslmode"] = _SSL_DIALECTS[mode.lower()]
    if "sslkey" not in ours:
        ours.pop("sslcert", None)  # Prisma's sslcert names the server's certificate, libpq's ours
    if "," in ours.get("host", ours.get("hostaddr", "")):
        # Of several servers the one that accepts writes, unless the URL says more.
        ours.setdefault("target_session_attrs", "read-write")
    return ours
