"""What both pages have: a summary's sentences, and bars."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from ..errors import plural
from .render import sized
from .report import Failure

_NAMED: Final = 5


class Bar(NamedTuple):
    """A size in words, and its share of the largest on the page, in per cent."""

    text: str
    share: float


class Fact(NamedTuple):
    """A sentence of the summary."""

    state: str  # `bad`, `warn` or `fine`; the words say the same
    text: str


def scaled(sizes: Iterable[int | None]) -> Iterator[Bar]:
    """Each size beside the largest of them."""
    sizes = list(sizes)
    largest = max((size for size in sizes if size), default=1)
    for size in sizes:
        yield Bar(sized(size), max(1.0, round(100 * size / largest, 1)) if size else 0.0)


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def of_failures(failures: Sequence[Failure]) -> list[Fact]:
    """A sentence about the databases that the command could not look at, if there are any."""
    names = [failure.database for failure in failures]
    text = f"The command could not look at {plural(len(names), 'database')}: {listed(names)}"
    return [Fact("bad", text)] * bool(names)
