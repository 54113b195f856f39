"""A connection string's meaning as a value: libpq's parameters, and how to show or send them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import quote

from ..log import MASK

_SECRET: Final = frozenset({"password", "sslpassword"})

_SHOWN: Final = frozenset(
    "host hostaddr port sslmode ssl schema pgbouncer connection_limit pool_timeout channel_binding "
    "target_session_attrs connect_timeout".split()
)
"""Parameters whose values are shown to people; any other could hold something private."""


@dataclass(frozen=True, repr=False)
class Conninfo:
    """What a connection string means to libpq: its parameters by libpq's names, decoded."""

    params: Mapping[str, str]

    variable: str = field(default="DATABASE_URL", compare=False)
    """Where it came from, for remedies."""

    written_password: str = field(default="", compare=False)
    """The password as it stood in the URL, percent-encoded; for masking."""

    def __repr__(self) -> str:
        return f"Conninfo({self.safe()})"

    @property
    def database(self) -> str:
        """The database's name, empty if none is named."""
        return self.params.get("dbname", "")

    @property
    def user(self) -> str:
        """The role's name, empty if none is named."""
        return self.params.get("user", "")

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each server, in order; a Unix socket's folder is a host with a ``/``."""
        hosts = (self.params.get("host") or self.params.get("hostaddr", "")).split(",")
        ports = self.params.get("port", "").split(",")
        if len(ports) < len(hosts):
            ports = ports[:1] * len(hosts)
        return [(host, int(port or 5432)) for host, port in zip(hosts, ports, strict=False)]

    @property
    def secrets(self) -> list[str]:
        """What must never be shown."""
        values = [value for key, value in self.params.items() if key in _SECRET and value]
        return [*values, *filter(None, [self.written_password])]

    def with_database(self, name: str) -> "Conninfo":
        """The same server and role, another database."""
        return replace(self, params={**self.params, "dbname": name})

    def reveal(self) -> str:
        """As a URL with its password, for a program that connects; never for a log."""
        return _url(self.params, lambda value: quote(value, safe=""), self.params)

    def safe(self) -> str:
        """As a URL for people: the password masked, private parameters left out."""
        return _url(self.params, lambda _: MASK, _SHOWN)

    def where(self) -> str:
        """Host and port for people, as ``db:5432``, or several with commas."""
        return ",".join(_authority(host, str(port)) for host, port in self.addresses)


def template(params: Mapping[str, str]) -> str:
    """What a corrected value would look like, from the parts that are certain."""
    known = {key: value for key, value in params.items() if key in _SHOWN}
    return _url(
        {
            **known,
            "user": params.get("user") or "USER",
            "password": MASK,
            "host": params.get("host") or params.get("hostaddr") or "HOST",
            "dbname": params.get("dbname") or "DATABASE",
        },
        lambda _: MASK,
        _SHOWN,
    )


def _authority(host: str, port: str) -> str:
    shown = f"[{host}]" if ":" in host else quote(host, safe=".-_%")
    return f"{shown}:{port}" if port else shown


def _url(params: Mapping[str, str], password: Callable[[str], str], shown: Iterable[str]) -> str:
    """Write a URL. ``password`` turns the password into its text, ``shown`` lists parameters."""
    parts = ["postgresql://"]
    if user := params.get("user"):
        parts.append(quote(user, safe=""))
    if secret := params.get("password"):
        parts.append(":" + password(secret))
    if user or secret:
        parts.append("@")
    hosts, ports = params.get("host", "").split(","), params.get("port", "").split(",")
    in_authority = len(ports) in (1, len(hosts))
    if in_authority:
        each = ports if len(ports) == len(hosts) else ports * len(hosts)
        parts.append(",".join(map(_authority, hosts, each)))
    parts.append("/" + quote(params.get("dbname", ""), safe=""))
    left = {"user", "password", "dbname"} | ({"host", "port"} if in_authority else set())
    query = [
        f"{quote(key, safe='')}={quote(value, safe='')}"
        for key, value in params.items()
        if key in shown and key not in left
    ]
    return "".join(parts) + ("?" + "&".join(query) if query else "")
