"""What the unit tests share: a log that forgets between tests, and no race against the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from entrypoint import log

if TYPE_CHECKING:
    from collections.abc import Iterator

# The first example of a test may import psycopg, on a machine that is busy with other tests.
settings.register_profile("unit", deadline=None)
settings.load_profile("unit")


@pytest.fixture(autouse=True)
def forgetful_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No secret, bound field or form of one test's log reaches the next."""
    monkeypatch.setattr(log, "_secrets", set())
    monkeypatch.setattr(log, "_codes", set())
    monkeypatch.setattr(log, "_pattern", None)
    yield
    log.configure(form="json", level="info")
    log._bound.set(None)  # noqa: SLF001
