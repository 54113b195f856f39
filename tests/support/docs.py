"""The pages that people read, by name, and what stands in them."""

from __future__ import annotations

import re

from tests.support.manifests import ROOT

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def page(name: str) -> str:
    """A page's text, by its path in the repository without the suffix, as in `docs/tutorial`."""
    return (ROOT / f"{name}.md").read_text()


def section(name: str, heading: str) -> str:
    """What stands under a heading of a page, up to the next heading of any level."""
    text = FENCE.sub(lambda block: block[0].replace("\n#", "\n\0"), page(name))
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{name}.md has no heading {heading!r}"
    return found[1].replace("\0", "#")


def marked(name: str, marker: str) -> str:
    """What stands in a page between `<!-- marker -->` and `<!-- /marker -->`."""
    found = re.search(rf"<!-- {marker} -->(.*?)<!-- /{marker} -->", page(name), re.DOTALL)
    assert found, f"{name}.md has no <!-- {marker} --> ... <!-- /{marker} -->"
    return found[1]


def block(name: str, heading: str, language: str) -> str:
    """The first block of code in a language under a heading of a page."""
    found = [text for tag, text in FENCE.findall(section(name, heading)) if tag == language]
    assert found, f"{name}.md has no block of {language} under {heading!r}"
    return str(found[0])
