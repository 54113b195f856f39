"""What an operator must know before a transfer, and agrees to by name or mends. Pure."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Final, NamedTuple

from ..errors import TransferError


class Problem(NamedTuple):
    """Something that stands in the way of a transfer."""

    name: str  # the name for `--allow`
    message: str
    remedy: str
    allowable: bool = True


ALL: Final = "all"  # the name for every problem that is allowable
WRITERS: Final = "writers"  # it comes and goes, so `--allow` takes it also while nobody writes


def final(name: str, message: str, remedy: str) -> Problem:
    """A problem that the operator cannot agree to."""
    return Problem(name, message, remedy, allowable=False)


def agreed(problem: Problem, allowed: Collection[str]) -> bool:
    """Whether the operator who allowed these names agreed to the problem."""
    return problem.allowable and not {problem.name, ALL}.isdisjoint(allowed)


def unique(problems: Iterable[Problem]) -> list[Problem]:
    """Merge problems of one name, because the operator agrees to all of them by that name."""
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
    """Raise `TransferError` for an allowed name that no problem has."""
    names = [each.name for each in problems]
    unknown = sorted(set(allowed) - {*names, ALL, WRITERS})
    if not unknown:
        return
    close = [near for name in unknown for near in get_close_matches(name, names, 1)]
    hint = f"; the nearest is {' '.join(close)}" if close else ""
    raise TransferError(
        f"--allow {' '.join(unknown)}: no obstacle has that name{hint}",
        remedy="Copy the names from --dry-run, or omit --allow.",
    )
