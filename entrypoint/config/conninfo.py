"""A parsed connection string: libpq's parameters, and how to show them or pass them on."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from ..log import MASK

PASSED_ON: Final = frozenset(
    (  # noqa: SIM905  forty lines otherwise
        "user password host hostaddr port dbname passfile service channel_binding "
        "options keepalives keepalives_idle keepalives_interval keepalives_count tcp_user_timeout "
        "sslmode sslnegotiation sslcompression sslcert sslkey sslcertmode sslpassword sslrootcert "
        "sslcrl sslcrldir sslsni requirepeer require_auth ssl_min_protocol_version "
        "ssl_max_protocol_version min_protocol_version max_protocol_version gssencmode krbsrvname "
        "gsslib gssdelegation target_session_attrs load_balance_hosts"
    ).split()
)
"""The libpq parameters that our own connections use. `parse` drops all others: another driver's
(Prisma's ``schema``, ``pgbouncer``, ``connection_limit``), and those that we set ourselves
(``application_name``, ``connect_timeout``, ``client_encoding``)."""

_SECRET: Final = frozenset({"password", "sslpassword"})

_SHOWN: Final = frozenset[str]().union(
    ("host", "hostaddr", "port", "sslmode", "ssl", "channel_binding", "target_session_attrs"),
    ("schema", "pgbouncer", "connection_limit", "pool_timeout", "connect_timeout"),
)
"""Parameters whose values people may see; any other may hold something private."""

MAX_NAME_BYTES: Final = 63  # PostgreSQL silently cuts longer names, so two may mean one database
UNKNOWN: Final = "DATABASE"  # the placeholder in a corrected URL for an unknown database

INVISIBLE: Final = (
    r"\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f"
    r"\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"
)
"""Blanks and characters without a glyph, for use inside a regular expression's []."""

BAD_HOST: Final = "has a host that is no valid name or address"
BAD_PORT: Final = "has a port that is not a number from 1 to 65535"
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_IPV6 = r"([0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f.]*(%[A-Za-z0-9_.-]+)?"


class Conninfo:
    """A connection string as libpq understands it: decoded parameters under libpq's names.

    A value: nobody changes it, and two with the same parameters are equal. No dataclass, whose
    import takes a tenth of a warm start.
    """

    def __init__(
        self,
        params: Mapping[str, str],
        variable: str = "DATABASE_URL",
        *,
        in_file: bool = False,
        written_password: str = "",
    ) -> None:
        """Hold parameters that ``variable`` has, or, if ``in_file``, the file of its twin.

        ``written_password`` is the password as the URL has it, for masking.
        """
        self.params, self.variable, self.in_file = params, variable, in_file
        self.written_password = written_password

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Conninfo) and self.params == other.params

    __hash__ = None  # type: ignore[assignment]  # as its parameters

    def __repr__(self) -> str:
        return f"Conninfo({self.safe()})"

    @property
    def source(self) -> str:
        """The place where people correct it, for remedies."""
        return f"the file of {self.variable}_FILE" if self.in_file else self.variable

    @property
    def database(self) -> str:
        """The database's name, or empty."""
        return self.params.get("dbname", "")

    @property
    def user(self) -> str:
        """The role's name, or empty."""
        return self.params.get("user", "")

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each server, in order; a host with a ``/`` is a Unix socket's folder."""
        hosts = (self.params.get("host") or self.params.get("hostaddr", "")).split(",")
        ports = self.params.get("port", "").split(",")
        if len(ports) < len(hosts):
            ports = ports[:1] * len(hosts)
        return [(host, int(port or 5432)) for host, port in zip(hosts, ports, strict=False)]

    @property
    def secrets(self) -> list[str]:
        """Texts that the log must mask."""
        values = [value for key, value in self.params.items() if key in _SECRET and value]
        return [*values, *filter(None, [self.written_password])]

    def with_database(self, name: str) -> "Conninfo":
        """Return a copy for another database of the same server."""
        params, password = {**self.params, "dbname": name}, self.written_password
        return Conninfo(params, self.variable, in_file=self.in_file, written_password=password)

    def reveal(self) -> str:
        """The URL with its password, for a program that connects; never log it."""
        return _url(self.params, quote, self.params)

    def safe(self) -> str:
        """The URL for people: password masked, private parameters left out."""
        return _url(self.params, lambda _: MASK, _SHOWN)

    def where(self) -> str:
        """Hosts and ports for people, such as ``db:5432``, separated by commas."""
        each = ((f"[{host}]" if ":" in host else host, port) for host, port in self.addresses)
        return ",".join(f"{host}:{port}" for host, port in each)


def quote(text: str, safe: str = "") -> str:
    """Percent-encode a text; for most, without the import of urllib, 2 ms of a start."""
    if _UNRESERVED.issuperset(text):
        return text
    from urllib.parse import quote as encoded

    return encoded(text, safe)


def unquote(text: str, errors: str = "replace") -> str:
    """Decode a percent-encoded text. Raises UnicodeDecodeError if ``errors`` is "strict"."""
    if "%" not in text:
        return text
    from urllib.parse import unquote as decoded

    return decoded(text, errors=errors)


def suffixed(name: str, suffix: str) -> str:
    """A database's name with a suffix, within PostgreSQL's bytes."""
    return name.encode()[: MAX_NAME_BYTES - len(suffix)].decode("utf-8", "ignore") + suffix


def is_host(text: str) -> bool:
    """Whether a text is a host name, an address, or a Unix socket's folder."""
    return bool(text.startswith("/") or _HOST.fullmatch(text) or re.fullmatch(_IPV6, text))


def is_port(text: str) -> bool:
    """Whether a text is a port; empty means the default."""
    return not text or (text.isascii() and text.isdigit() and 0 < int(text[:9]) < 65536)  # noqa: PLR2004  the range of ports


def mend(params: dict[str, str], *, needs_database: bool) -> list[str]:
    """Return the problems of libpq's parameters, and remove the bad ones from ``params``."""
    return [*_mend_database(params, needs_database=needs_database), *_mend_server(params)]


def _mend_database(params: dict[str, str], *, needs_database: bool) -> Iterator[str]:
    name = params.get("dbname", "")
    if not name and needs_database:
        yield "names no database; libpq would use the user's name"
    if "://" in name:
        yield "names a database that is itself a URL"
        del params["dbname"]
    elif name != name.strip() or (not name.isascii() and re.search(f"[{INVISIBLE}]", name)):
        # libpq would create or use a stray database with nearly the right name.
        yield (
            f"names the database {name[:MAX_NAME_BYTES]!a}, with white space at an end of "
            "its name or an invisible character in it"
        )
        del params["dbname"]
    elif len(name.encode()) > MAX_NAME_BYTES:
        yield (
            f"names a database of more than {MAX_NAME_BYTES} bytes, "
            "which PostgreSQL would silently cut"
        )
        del params["dbname"]


def _mend_server(params: dict[str, str]) -> Iterator[str]:
    key = "host" if params.get("host") else "hostaddr"
    hosts = params.get(key, "").split(",")
    if not all(hosts):
        yield "has an empty host"
    if not all(is_host(host) for host in hosts if host):
        yield BAD_HOST
    if any(hosts):
        params[key] = ",".join(host if is_host(host) else "HOST" for host in hosts)
    ports = params.get("port", "").split(",")
    if not all(map(is_port, ports)):
        yield BAD_PORT
        del params["port"]
    elif len(ports) not in (1, len(hosts)):
        yield "does not have one port for each host"
        del params["port"]


def template(params: Mapping[str, str]) -> str:
    """A corrected URL made of the parts that are certain, with placeholders for the others."""
    known = {key: value for key, value in params.items() if key in _SHOWN}
    return _url(
        {
            **known,
            "user": params.get("user") or "USER",
            "password": MASK,
            "host": params.get("host") or params.get("hostaddr") or "HOST",
            "dbname": params.get("dbname") or UNKNOWN,
        },
        lambda _: MASK,
        _SHOWN,
    )


def has_more(params: Mapping[str, str]) -> bool:
    """Whether `template` leaves out parameters."""
    return not params.keys() <= _SHOWN | {"user", "password", "dbname"}


def _authority(host: str, port: str) -> str:
    shown = f"[{quote(host, ':')}]" if ":" in host else quote(host)
    return f"{shown}:{port}" if port else shown


def _url(params: Mapping[str, str], password: Callable[[str], str], shown: Iterable[str]) -> str:
    """Write a URL with the password as ``password`` returns it and the parameters in ``shown``."""
    parts = ["postgresql://"]
    if user := params.get("user"):
        parts.append(quote(user))
    if secret := params.get("password"):
        parts.append(":" + password(secret))
    if user or secret:
        parts.append("@")
    hosts, ports = params.get("host", "").split(","), params.get("port", "").split(",")
    in_authority = len(ports) in (1, len(hosts))
    if in_authority:
        each = ports if len(ports) == len(hosts) else ports * len(hosts)
        parts.append(",".join(map(_authority, hosts, each)))
    parts.append("/" + quote(params.get("dbname", "")))
    left = {"user", "password", "dbname"} | ({"host", "port"} if in_authority else set())
    query = [
        f"{quote(key)}={quote(value)}"
        for key, value in params.items()
        if key in shown and key not in left
    ]
    return "".join(parts) + ("?" + "&".join(query) if query else "")
