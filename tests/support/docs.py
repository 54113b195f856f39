"""The pages that people read, by name, and what stands in them."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, NamedTuple

from tests.support.manifests import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = sorted(
    str(path.relative_to(ROOT).with_suffix(""))
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
)
"""Every page's name: its path in the repository without the suffix, as in `docs/tutorial`."""

FENCE = re.compile(r"^( *)(`{3,})(\w*)\n(.*?)^\1\2$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A block of code: its language, its text, and the line right above it."""

    language: str
    text: str
    above: str


def page(name: str) -> str:
    """A page's text."""
    return (ROOT / f"{name}.md").read_text()


def prose(name: str) -> str:
    """A page's text without its blocks of code."""
    return FENCE.sub("", page(name))


def blocks(text: str) -> Iterator[Block]:
    """The blocks of code in a text."""
    for found in FENCE.finditer(text):
        above = text[: found.start()].rstrip("\n").rpartition("\n")[2].strip()
        yield Block(found[3], textwrap.dedent(found[4]), above)


def section(name: str, heading: str) -> str:
    """What stands under a heading of a page, up to the next heading of any level."""
    text = FENCE.sub(lambda block: block[0].replace("\n#", "\n\0"), page(name))
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{name}.md has no heading {heading!r}"
    return found[1].replace("\0", "#")


def block(name: str, heading: str, language: str) -> str:
    """The first block of code in a language under a heading of a page."""
    found = [each.text for each in blocks(section(name, heading)) if each.language == language]
    assert found, f"{name}.md has no block of {language} under {heading!r}"
    return found[0]


def marked(name: str, marker: str) -> str:
    """What stands in a page between `<!-- marker -->` and `<!-- /marker -->`."""
    found = re.search(rf"<!-- {marker} -->(.*?)<!-- /{marker} -->", page(name), re.DOTALL)
    assert found, f"{name}.md has no <!-- {marker} --> ... <!-- /{marker} -->"
    return found[1]


def rows(name: str, marker: str) -> list[list[str]]:
    """The cells of the table between two markers: its head, the rule below it, its rows."""
    lines = filter(None, marked(name, marker).splitlines())
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def files(name: str) -> dict[str, str]:
    """The files that a page has the reader write: blocks under a line with nothing but a name."""
    text = re.sub(r"^<!-- .* -->\n", "", page(name), flags=re.MULTILINE)
    return {
        named[1]: each.text
        for each in blocks(text)
        if (named := re.fullmatch(r"`([\w.-]+)`:", each.above))
    }
