"""What an operator must know before a transfer: and agrees to by its name, or mends. Pure."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Final, NamedTuple

from ..errors import TransferError


class Problem(NamedTuple):
    """Something that an operator must know before."""

    name: str
    """What ``--allow`` takes."""

    message: str
    remedy: str
    allowable: bool = True


ALL: Final = "all"
"""What ``--allow`` takes for all that can be agreed to."""


WRITERS: Final = "writers"
"""An obstacle that comes and goes, so who agrees to it may do so while nobody writes."""


def agreed(problem: Problem, allowed: Collection[str]) -> bool:
    """Whether an operator agreed to it who said so to these names."""
    return problem.allowable and not {problem.name, ALL}.isdisjoint(allowed)


def unique(problems: Iterable[Problem]) -> list[Problem]:
    """The same, with one for each name: who agrees to it agrees to all that is said under it."""
    found: dict[str, Problem] = {}
    for each in dict.fromkeys(problems):
        if (other := found.get(each.name)) is None:
            found[each.name] = each
        else:
            message = f"{other.message}; {each.message}"
            allowable = other.allowable and each.allowable
            found[each.name] = Problem(
                each.name, message, f"{other.remedy} {each.remedy}", allowable
            )
    return [*found.values()]


def refuse_unknown(problems: Collection[Problem], allowed: Collection[str]) -> None:
    """Raise `TransferError` for names that were agreed to and that nothing in the way has."""
    names = [each.name for each in problems]
    unknown = sorted(set(allowed) - {*names, ALL, WRITERS})
    if not unknown:
        return
    close = [near for name in unknown for near in get_close_matches(name, names, 1)]
    hint = f"; the nearest is {' '.join(close)}" if close else ""
    raise TransferError(
        f"--allow {' '.join(unknown)}: nothing of that name stands in the way{hint}",
        remedy="Take the names from --dry-run, or leave --allow away.",
    )
