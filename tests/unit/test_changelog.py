"""The changelog has a section for this version, and items that are read in one look."""

from __future__ import annotations

import re

from entrypoint import __version__
from tests.support.docs import page

SECTIONS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
"""In the order of Keep a Changelog."""

MAX_LINES = 3
MAX_WIDTH = 140

VERSIONS = re.split(r"^## ", page("CHANGELOG"), flags=re.MULTILINE)[1:]
"""What stands under each heading of a version, with the heading; "Unreleased" is the first."""

TABLE = re.compile(r"^ *\|.*\n", re.MULTILINE)

NEWEST = TABLE.sub("", "".join(VERSIONS[:2]))
"""What is not released, and this version, without the tables of names that are no more."""


def test_the_newest_version_is_the_code_s() -> None:
    """Its heading has the date as well, and the changes after it stand above."""
    assert VERSIONS[0].startswith("Unreleased\n")
    heading = VERSIONS[1].partition("\n")[0]
    assert re.fullmatch(rf"{re.escape(__version__)} - \d{{4}}-\d\d-\d\d", heading)


def test_the_sections_are_in_order() -> None:
    """Each stands in a version once."""
    for version in VERSIONS:
        found = re.findall(r"^### (.+)$", version, re.MULTILINE)
        assert found == [section for section in SECTIONS if section in found]


def test_every_item_is_short() -> None:
    """A table below an item does not count."""
    for version in VERSIONS:
        for item in re.findall(r"^- .*\n(?:(?![-#]).*\n)*", TABLE.sub("", version), re.MULTILINE):
            lines = item.strip().splitlines()
            assert len(lines) <= MAX_LINES, item
            assert max(map(len, lines)) <= MAX_WIDTH, item
