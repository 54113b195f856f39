"""What an operator asks a transfer to do."""

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
    """The source, the target, and what moves."""

    source: Server
    target: Server
    service: Service
    database: str  # the database that the objects move from
    extra: tuple[str, ...]  # names from `--with`: relations and extensions that move, too
    allowed: frozenset[str]  # names from `--allow`: problems that the operator agreed to
    jobs: int
    commands: CommandLines  # the commands after this one

    def met(self, session: Session) -> tuple["Request", bool]:
        """The request, and whether source and target are one server; ``session`` is in the source.

        If they are one, and the role is the same, the target becomes the source's server. Raises
        `RefusedError` and `UnreachableError`.
        """
        if self.target is self.source:
            return self, True
        found = target.compared(session, self.target)
        return (self._replace(target=self.source) if found.alike else self), found.same

    def answer(self, result: "Result", **more: Any) -> "Transferred":  # noqa: ANN401  its fields
        """An answer, with the fields that all answers share."""
        from ..operator.report import Transferred  # pydantic: see `transfer.transfer`

        return Transferred(
            service=self.service.name,
            source=f"{self.source.conninfo.where()}/{self.database}",
            target=f"{self.target.conninfo.where()}/{self.service.database}",
            result=result,
            **more,
        )

    def plan(self, session: Session, before: Plan | None = None) -> Plan:
        """Plan what moves in the open transaction; return ``before`` if its digest is the same."""
        seen = digest.of(session)
        if before is not None and seen == before.source.digest:
            return before
        found = read(session)._replace(digest=seen)
        plan = make(found, self.service, self.source.registry, self.extra)
        return plan.sized(sizes(session, plan.moving))
