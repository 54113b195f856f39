"""Answers as a page: one HTML file that loads nothing, for a CI artifact or a wiki.

Its only source is the answer, as `--json` prints it. `printable` escapes names from the server as
on a terminal, and the template escapes them for HTML.
"""

import base64
import hashlib
from datetime import datetime
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from .. import __version__
from . import page_status, page_verify
from .render import sized
from .report import Status, Verification
from .tables import printable

_TEMPLATES: Final = Path(__file__).with_name("pages")


def of(answer: Status | Verification) -> str:
    """The page of an answer. Takes a second and at most a few MB for 500 databases."""
    if isinstance(answer, Status):
        name, facts = "status.html", page_status.facts(answer)
    else:
        name, facts = "verify.html", page_verify.facts(answer)
    loader = FileSystemLoader(_TEMPLATES)
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_final,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(sentences=_sentences, sized=sized)
    style = (_TEMPLATES / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template(name).render(
        server=answer.server,
        at=answer.at,
        made=f"{datetime.fromisoformat(answer.at):%Y-%m-%d %H:%M:%S} UTC",
        version=__version__,
        style=Markup(style),  # noqa: S704  a file of the package
        digest=digest,
        **facts,
    )


def _final(value: object) -> object:
    """Escape a value for the page, except for our own markup."""
    if isinstance(value, Markup):
        return value
    return printable(value) if isinstance(value, str) else value


def _sentences(text: str) -> Markup:
    """Markup in which a browser breaks no option and no name at a hyphen."""
    plain, whole = Markup("{}"), Markup('<span class="word">{}</span>')
    words = ((whole if "-" in word else plain).format(word) for word in printable(text).split(" "))
    return Markup(" ").join(words)
