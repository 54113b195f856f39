"""What an operator asked for: from where, to where, and what."""

from typing import TYPE_CHECKING, Any, NamedTuple

from ...postgres.session import Session
from ...services import Service
from ..server import Server
from .plan import Plan, make
from .source import read

if TYPE_CHECKING:
    from ..report import Result, Transferred


class Options(NamedTuple):
    """What was asked for."""

    database: str
    """The source."""

    extra: tuple[str, ...]
    """Relations that move though their names do not say so."""

    allowed: frozenset[str]
    jobs: int


class Ends(NamedTuple):
    """From where, to where, and what."""

    source: Server
    target: Server
    service: Service
    options: Options

    def answer(self, result: "Result", **more: Any) -> "Transferred":  # noqa: ANN401  its fields
        """An answer, with what every one of them says."""
        from ..report import Transferred  # pydantic: see `transfer.transfer`

        return Transferred(
            service=self.service.name,
            source=f"{self.source.conninfo.where()}/{self.options.database}",
            target=f"{self.target.conninfo.where()}/{self.service.database}",
            result=result,
            **more,
        )

    def plan(self, session: Session) -> Plan:
        """What moves, as the session's open transaction sees it."""
        found = read(session)
        return make(found, self.service, self.source.registry, self.options.extra)
