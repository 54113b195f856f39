"""Random databases: what the plan calls clean moves cleanly, and nobody else notices.

A round makes a source (tests/support/schemas.py), plans, moves, and undoes. ENTRYPOINT_ROUNDS says
how many there are, ENTRYPOINT_SEED which; a failure prints its source as SQL, and with
ENTRYPOINT_MINIMISE as few of its statements as that many more rounds can find. What was found once
stands in test_cases.py.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.operator.transfer.rounds import BrokenError, Field, Fields, minimised
from tests.support import schemas

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.long

# Read before the tests' environment is cleaned of them.
ROUNDS: Final = int(os.environ.get("ENTRYPOINT_ROUNDS", "16"))
SEED: Final = int(os.environ.get("ENTRYPOINT_SEED", "0"))
MINIMISE: Final = int(os.environ.get("ENTRYPOINT_MINIMISE", "0"))

SHARES: Final = ((18, 0), (18, 1), (18, 2), (15, 3))
"""What workers do beside each other: the server's version, and a number."""

ENOUGH: Final = 15
"""Rounds of a share of which some must have moved something."""


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fields]:
    """Servers by their versions, started when the first round wants one."""
    with Fields(tmp_path_factory.mktemp("campaign")) as made:
        yield made


def campaign(field: Field, share: int, *, all_of_it: bool) -> Counter[str]:
    """Play a share of the rounds until one breaks; how they ended."""
    ended: Counter[str] = Counter()
    broken: list[tuple[schemas.Source, BrokenError]] = []

    @seed(SEED * 100 + share + 10 * all_of_it)
    @settings(
        max_examples=-(-ROUNDS // (2 * len(SHARES))),
        database=None,
        deadline=None,
        phases=[Phase.generate],  # a smaller failure is found by leaving out statements
        suppress_health_check=list(HealthCheck),
    )
    @given(schemas.sources(field.major))
    def play(source: schemas.Source) -> None:
        if broken:
            return  # and not raised here: it would be played again
        try:
            ended[field.play(source, all_of_it=all_of_it)] += 1
        except BrokenError as error:
            broken.append((source, error))

    play()
    for source, error in broken:
        script = source.script
        if MINIMISE:
            script = minimised(field, source, error, MINIMISE, all_of_it=all_of_it)
        where = f"ENTRYPOINT_SEED={SEED} ENTRYPOINT_ROUNDS={ROUNDS}, share {share}, {source.way}"
        pytest.fail(f"{error}\n\n-- {where}, as SQL:\n{script}", pytrace=False)
    return ended


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("major", "share"), SHARES)
def test_what_the_plan_calls_clean_moves_cleanly(fields: Fields, major: int, share: int) -> None:
    """An obstacle is named, or all moves and both services are answered as before it."""
    ended = campaign(fields[major], share, all_of_it=False)
    assert set(ended) <= {"refused", "moved"}
    assert ended["moved"] or ended.total() < ENOUGH, ended


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("major", "share"), SHARES)
def test_what_can_be_agreed_to_moves(fields: Fields, major: int, share: int) -> None:
    """With everything agreed to, the plan refuses or all moves, and --undo restores every byte."""
    ended = campaign(fields[major], share, all_of_it=True)
    assert set(ended) <= {"refused", "moved"}
    assert ended["moved"] or ended.total() < ENOUGH, ended


def test_every_kind_is_made(fields: Fields) -> None:
    """Some hundred sources have every kind of object between them, on either side of a crossing."""
    from random import Random

    del fields
    found: Counter[Any] = Counter()
    for number in range(150):
        found.update(piece.kind for piece in schemas.source(Random(number), 18).pieces)
    assert len(found) >= 60, sorted(found)
