"""What an operator asked for: from where, to where, and what."""

from typing import NamedTuple

from ...postgres.session import Session
from ...services import Service
from ..server import Server
from .plan import Plan, make
from .source import read


class Options(NamedTuple):
    """What was asked for."""

    database: str
    """The source."""

    extra: tuple[str, ...]
    """Relations that move though their names do not say so."""

    allowed: frozenset[str]
    jobs: int
    offline: bool = False


class Ends(NamedTuple):
    """From where, to where, and what."""

    source: Server
    target: Server
    service: Service
    options: Options

    def where(self) -> str:
        """The source, for people."""
        return f"{self.source.conninfo.where()}/{self.options.database}"

    def plan(self, session: Session) -> Plan:
        """What moves, as the session's open transaction sees it."""
        found = read(session)
        return make(found, self.service, self.source.registry, self.options.extra)
