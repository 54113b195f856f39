"""When to try again: bounded by the deadline and by a cap, whatever the clock says."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoint.retry import CAP_S, INITIAL_S, Backoff, Reminder

instants = st.floats(-1e9, 1e9)
seconds = st.floats(1e-6, 1e6)
jitters = st.floats(0.0, 1.0, exclude_max=True)


@given(instants, seconds, seconds, jitters, st.lists(instants, min_size=1, max_size=50))
def test_delay_is_bounded(
    deadline: float, initial: float, cap: float, jitter: float, clock: list[float]
) -> None:
    """A delay is neither negative nor over the cap, ends by the deadline, and is None after it."""
    backoff = Backoff(deadline, initial_s=initial, cap_s=cap, jitter=lambda: jitter)
    for now in clock:
        delay = backoff.next_delay(now)
        assert (delay is None) == (now >= deadline)
        if delay is not None:
            assert 0 <= delay <= min(cap, deadline - now)


@given(st.integers(0, 10**30), jitters)
def test_any_number_of_attempts(attempts: int, jitter: float) -> None:
    """However often it was tried, the next delay is between half of the cap and the cap."""
    backoff = Backoff(1e9, jitter=lambda: jitter, attempts=attempts)
    delay = backoff.next_delay(0.0)
    assert delay is not None
    ceiling = min(CAP_S, INITIAL_S * 2 ** min(attempts, 10))
    assert ceiling / 2 <= delay <= ceiling
    assert backoff.attempts == attempts + 1


@pytest.mark.parametrize(
    ("jitter", "delays"),
    [
        (0.0, [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]),
        (0.5, [0.075, 0.15, 0.3, 0.6, 1.2, 1.5, 1.5]),
    ],
)
def test_delays_double_up_to_the_cap(jitter: float, delays: list[float]) -> None:
    """Full jitter in the upper half of 0.1, 0.2, 0.4 and so on, up to 2 seconds."""
    backoff = Backoff(1e9, jitter=lambda: jitter)
    assert [backoff.next_delay(0.0) for _ in delays] == pytest.approx(delays)


def test_last_delay_ends_at_the_deadline() -> None:
    """The attempt after the last sleep happens at the deadline, not after it."""
    backoff = Backoff(10.0, jitter=lambda: 0.5, attempts=10)
    assert backoff.next_delay(9.9) == pytest.approx(0.1)
    assert backoff.next_delay(10.0) is None


def test_passed_deadline_counts_no_attempt() -> None:
    """Asking after the deadline changes nothing."""
    backoff = Backoff(0.0, attempts=3)
    assert backoff.next_delay(1.0) is None
    assert backoff.attempts == 3


def test_replicas_do_not_knock_together() -> None:
    """Without a jitter of one's own two backoffs differ."""
    first, second = Backoff(1e9), Backoff(1e9)
    assert [first.next_delay(0.0) for _ in range(9)] != [second.next_delay(0.0) for _ in range(9)]


@pytest.mark.parametrize(
    ("questions", "answers"),
    [
        ([0.0], [True]),
        ([-5.0, 4.9, 5.0, 5.1, 14.9, 15.0], [True, False, True, False, False, True]),
        ([0.0, 0.0, 100.0, 100.0], [True, False, True, False]),
    ],
)
def test_reminder(questions: list[float], answers: list[bool]) -> None:
    """The first question is answered with yes, then one every ten seconds of silence."""
    reminder = Reminder()
    assert [reminder.due(now) for now in questions] == answers


def test_news_is_told_at_once() -> None:
    """And the silence is counted from it, so that nothing is told twice within it."""
    reminder = Reminder()
    assert reminder.due(0.0)
    assert reminder.due(9.0, news=True)
    assert not reminder.due(18.9)
    assert reminder.due(19.0)


@given(st.floats(0.1, 1e3), st.lists(st.floats(0.0, 1e4), max_size=50))
def test_reminders_keep_their_distance(every: float, steps: list[float]) -> None:
    """No two yeses are closer than asked for."""
    reminder = Reminder(every_s=every)
    now, spoken = 0.0, []
    for step in steps:
        now += step
        if reminder.due(now):
            spoken.append(now)
    assert all(b - a >= every for a, b in pairwise(spoken))
    assert bool(spoken) == bool(steps)
