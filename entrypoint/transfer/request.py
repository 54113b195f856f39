"""What an operator asked for: from where, to where, and what."""

from typing import TYPE_CHECKING, Any, NamedTuple

from ..config.registry import Service
from ..operator.server import Server
from ..postgres.session import Session
from . import digest, target
from .command_lines import CommandLines
from .plan import Plan, make
from .source import read, sizes

if TYPE_CHECKING:
    from ..operator.report import Result, Transferred


class Request(NamedTuple):
    """From where, to where, and what."""

    source: Server
    target: Server
    service: Service
    database: str
    """The one on the source's server from which the objects move."""

    extra: tuple[str, ...]
    """Relations that move though their names do not say so."""

    allowed: frozenset[str]
    """Obstacles that the operator agreed to."""

    jobs: int
    commands: CommandLines
    """What comes after this command."""

    def met(self, session: Session) -> tuple["Request", bool]:
        """The same, and whether both are on one server, as a session in the source finds it.

        By another address and as the same role, that is as if the target's had not been named.
        Raises `RefusedError` and `UnreachableError`.
        """
        if self.target is self.source:
            return self, True
        found = target.compared(session, self.target)
        return (self._replace(target=self.source) if found.alike else self), found.same

    def answer(self, result: "Result", **more: Any) -> "Transferred":  # noqa: ANN401  its fields
        """An answer, with what every one of them says."""
        from ..operator.report import Transferred  # pydantic: see `transfer.transfer`

        return Transferred(
            service=self.service.name,
            source=f"{self.source.conninfo.where()}/{self.database}",
            target=f"{self.target.conninfo.where()}/{self.service.database}",
            result=result,
            **more,
        )

    def plan(self, session: Session, before: Plan | None = None) -> Plan:
        """What moves, as the session's open transaction sees it.

        It is the plan from ``before`` if nothing has changed that it was made of: writers may wait.
        """
        seen = digest.of(session)
        if before is not None and seen == before.source.digest:
            return before
        found = read(session)._replace(digest=seen)
        plan = make(found, self.service, self.source.registry, self.extra)
        return plan.sized(sizes(session, plan.moving))
