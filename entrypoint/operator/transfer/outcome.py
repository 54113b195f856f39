"""What a transfer answers: the plan, and what was done of it."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from .asked import Ends
from .destination import Target
from .plan import Plan
from .preflight import Problem
from .rows import Counted
from .run import Moved
from .tools import Tools

if TYPE_CHECKING:
    from ..report import MovedObject, Transferred

_KINDS: Final = {
    "r": "table",
    "p": "partitioned table",
    "v": "view",
    "m": "materialized view",
    "S": "sequence",
    "f": "foreign table",
}


class Prepared(NamedTuple):
    """A plan, what stands in its way, and what it runs with."""

    plan: Plan
    target: Target
    tools: Tools
    problems: list[Problem]
    apart: tuple[bool, bool]
    """Whether source and target are evaluated by roles of the transfer's own."""

    without: list[str]

    def refused(self, allowed: Collection[str]) -> list[Problem]:
        """What was not agreed to."""
        return [each for each in self.problems if not (each.allowable and each.name in allowed)]


def done(
    ends: Ends, prepared: Prepared, moved: Moved, durations: Mapping[str, float]
) -> "Transferred":
    """The plan as it was done, with what was counted and what is next."""
    answer = describe(ends, prepared)
    counted = {each.relation.label(): each for each in moved.counted}
    name, service = prepared.target.name, ends.service.name
    return answer.model_copy(
        update={
            "result": "moved",
            "objects": [_counted(each, counted.get(each.object)) for each in answer.objects],
            "left_out": moved.left,
            "facts": moved.facts,
            "durations_s": dict(durations),
            "quarantine": moved.quarantine,
            "kept_database": moved.kept,
            "url": prepared.target.server.conninfo.with_database(name).safe(),
            "next": [
                f"entrypoint url {service} --env --show-password",
                f"entrypoint verify --service {service}",
                f"entrypoint transfer {service} --undo",
                f"entrypoint transfer {service} --drop-quarantine",
            ],
        }
    )


def _counted(each: "MovedObject", counted: Counted | None) -> "MovedObject":
    if counted is None:
        return each
    return each.model_copy(update={"rows": counted.rows, "checksum": counted.checksum})


def describe(ends: Ends, prepared: Prepared) -> "Transferred":
    """The plan as an answer."""
    from ..report import MovedObject, Obstacle

    plan = prepared.plan
    return ends.answer(
        "planned",
        objects=[
            MovedObject(
                kind=_KINDS[each.kind],
                object=each.label(),
                reason=plan.moving[each.oid],
                rows=each.rows if each.kind in "rm" else None,
                size_bytes=each.size_bytes,
            )
            for each in plan.relations
        ],
        along=[f"{each.kind.lower()} {each.identity}" for each in plan.carried],
        extensions=list(plan.source.extensions),
        settings=[setting for _, setting in plan.source.settings],
        large_objects=plan.source.large_objects,
        stays=sorted(each.label() for each in plan.staying),
        obstacles=[
            Obstacle(
                name=each.name,
                message=each.message,
                remedy=each.remedy,
                allowable=each.allowable,
                allowed=each.allowable and each.name in ends.options.allowed,
            )
            for each in prepared.problems
        ],
        size_bytes=plan.size_bytes,
        estimate_s=plan.estimate_s,
    )
