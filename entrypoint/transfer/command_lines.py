"""The commands that an answer proposes, quoted for a shell and without passwords."""

import argparse
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from ..config.conninfo import Conninfo

DATABASE: Final = "postgres"  # the default of `--from`
JOBS: Final = 2  # the default of `--jobs`
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # variable names that every shell accepts
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_STRANGE: Final = re.compile(r"[^\w %.,:/()=+]")  # what printf or a shell may interpret


def _word(text: str) -> str:
    """Quote one word for a shell, on one line of a terminal: a name may contain a newline."""
    if not _CONTROL.search(text):
        return shlex.quote(text)
    # All shells have printf, some have no $'...'. A command substitution strips the newlines at its
    # end, so the third character of IFS replaces them.
    body = text.rstrip("\n")
    ends = "${IFS#??}" * (len(text) - len(body))
    return f"\"$(printf '{_STRANGE.sub(_escaped, body).replace('%', '%%')}'){ends}\""


def _escaped(match: re.Match[str]) -> str:
    return "".join(f"\\{byte:03o}" for byte in match[0].encode())


class CommandLines(NamedTuple):
    """The options of the running command that the next commands repeat."""

    service: str  # quoted
    here: tuple[str, ...] = ()  # `--server` and its value if given; so `--from` and `--to` below
    source: tuple[str, ...] = ()
    to: tuple[str, ...] = ()
    more: tuple[str, ...] = ()  # `--with` and `--jobs`, which only another move needs

    def moved(self, *, aside: bool = False) -> list[str]:
        """The commands after a move; ``aside`` says whether it put a database aside."""
        url = ("entrypoint url", self.service, *self._there(), "--env --show-password")
        verify, *more = self.dropped(aside=aside)
        undo, drop = self.transfer("--undo"), self.transfer("--drop-quarantine")
        return [" ".join(url), verify, undo, drop, *more]

    def undone(self, *, aside: bool = False) -> list[str]:
        """The commands after an undo; the first plans another move."""
        return [self.transfer("--dry-run"), *([self.transfer("--drop-aside")] if aside else [])]

    def dropped(self, *, aside: bool = False) -> list[str]:
        """The commands after a removal."""
        verify = " ".join(("entrypoint verify", *self._there(), "--service", self.service))
        return [verify, *([self.transfer("--drop-aside")] if aside else [])]

    def move(self, allowed: Iterable[str]) -> str:
        """The move itself, with an ``--allow`` for each name."""
        words = [word for name in dict.fromkeys(allowed) for word in ("--allow", _word(name))]
        return self.transfer(*self.more, *words)

    def look(self) -> str:
        """The plan of the same move; after the move it answers that nothing is left to move."""
        return self.transfer(*self.more, "--dry-run")

    def transfer(self, *words: str) -> str:
        """Another transfer between the same databases."""
        options = (*self.here, *self.source, *self.to, *words)
        return " ".join(("entrypoint transfer", self.service, *options))

    def _there(self) -> tuple[str, ...]:
        """``--server`` for the target, for commands that know one server only."""
        return ("--server", *self.to[1:]) if self.to else self.here


def of(
    arguments: argparse.Namespace, environ: Mapping[str, str], source: Conninfo, target: Conninfo
) -> CommandLines:
    """Read a transfer's arguments; ``source`` and ``target`` are its parsed URLs."""
    extra = tuple(w for name in arguments.extra for w in ("--with", _word(name)))
    jobs, database = arguments.jobs, arguments.database
    return CommandLines(
        _word(arguments.service),
        _option("--server", arguments.server, source, environ),
        ("--from", _word(database)) if database != DATABASE else (),
        _option("--to", arguments.to, target, environ),
        (*extra, "--jobs", str(jobs)) if jobs != JOBS else extra,
    )


def _option(
    option: str, text: str | None, conninfo: Conninfo, environ: Mapping[str, str]
) -> tuple[str, ...]:
    """An option with the operator's variable, a URL without a secret, or a variable to set."""
    if not text:
        return ()
    names = sorted(name for name, value in environ.items() if value == text)
    for name in filter(_NAME.fullmatch, names):
        return option, f'"${name}"'
    if conninfo.reveal() == conninfo.safe():
        return option, _word(conninfo.safe())
    name = f"{option.removeprefix('--').upper()}_URL"
    return option, f'"${{{name}:?set it to the URL that {option} had}}"'
