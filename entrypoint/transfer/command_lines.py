"""The command lines that come after this one, as a shell takes them; no password is in any."""

import argparse
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from ..config.conninfo import Conninfo

DATABASE: Final = "postgres"
"""Where the objects are unless ``--from`` says otherwise."""

JOBS: Final = 2
"""Jobs of each tool unless ``--jobs`` says otherwise."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""A variable as every shell can name it."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")

_STRANGE: Final = re.compile(r"[^\w %.,:/()=+]")
"""What printf or a shell could take for something else, at the least."""


def _word(text: str) -> str:
    """One word for a shell, in a line that a terminal can show: a name may have a newline in it."""
    if not _CONTROL.search(text):
        return shlex.quote(text)
    # Every shell has printf; $'...' some do not know. What comes out of it loses newlines at its
    # end, which are the last of what separates fields.
    body = text.rstrip("\n")
    ends = "${IFS#??}" * (len(text) - len(body))
    return f"\"$(printf '{_STRANGE.sub(_escaped, body).replace('%', '%%')}'){ends}\""


def _escaped(match: re.Match[str]) -> str:
    return "".join(f"\\{byte:03o}" for byte in match[0].encode())


class CommandLines(NamedTuple):
    """How the command was called that runs, as far as others must be called in the same way."""

    service: str
    here: tuple[str, ...] = ()
    """``--server`` and its value, where the source's server was named so."""

    source: tuple[str, ...] = ()
    """``--from`` and its value, likewise."""

    to: tuple[str, ...] = ()
    """``--to`` and its value, likewise."""

    more: tuple[str, ...] = ()
    """What only another move needs."""

    def moved(self, *, aside: bool = False) -> list[str]:
        """What comes after a move; ``aside`` is whether it has put a database aside."""
        there = self._there()
        return [
            self._line("url", self._service(), *there, "--env", "--show-password"),
            self._line("verify", *there, "--service", self._service()),
            self.undo(),
            self.drop(),
            *([self.drop_aside()] if aside else []),
        ]

    def undo(self) -> str:
        """What puts a move back."""
        return self._transfer("--undo")

    def drop(self) -> str:
        """What removes what a move left behind."""
        return self._transfer("--drop-quarantine")

    def drop_aside(self) -> str:
        """What removes the databases that were put aside."""
        return self._transfer("--drop-aside")

    def undone(self, *, aside: bool = False) -> list[str]:
        """What comes after an undo: to look what another move would do."""
        return [self._transfer("--dry-run"), *([self.drop_aside()] if aside else [])]

    def dropped(self, *, aside: bool = False) -> list[str]:
        """What comes after a removal."""
        verify = self._line("verify", *self._there(), "--service", self._service())
        return [verify, *([self.drop_aside()] if aside else [])]

    def move(self, allowed: Iterable[str]) -> str:
        """The move itself, with all that must be agreed to."""
        words = [word for name in dict.fromkeys(allowed) for word in ("--allow", _word(name))]
        return self._transfer(*self.more, *words)

    def look(self) -> str:
        """The plan of the same move; of one that was made it says so."""
        return self._transfer(*self.more, "--dry-run")

    def _transfer(self, *words: str) -> str:
        return self._line("transfer", self._service(), *self.here, *self.source, *self.to, *words)

    def _there(self) -> tuple[str, ...]:
        """The target's server, for commands that know one only."""
        return ("--server", *self.to[1:]) if self.to else self.here

    def _service(self) -> str:
        return _word(self.service)

    @staticmethod
    def _line(*words: str) -> str:
        return " ".join(("entrypoint", *words))


def of(
    arguments: argparse.Namespace,
    environ: Mapping[str, str],
    source: Conninfo,
    target: Conninfo,
) -> CommandLines:
    """Read it from a transfer's arguments; ``source`` and ``target`` are what its URLs mean."""
    extra = tuple(w for name in arguments.extra for w in ("--with", _word(name)))
    jobs, database = arguments.jobs, arguments.database
    return CommandLines(
        arguments.service,
        _option("--server", arguments.server, source, environ),
        ("--from", _word(database)) if database != DATABASE else (),
        _option("--to", arguments.to, target, environ),
        (*extra, "--jobs", str(jobs)) if jobs != JOBS else extra,
    )


def _option(
    option: str, text: str | None, conninfo: Conninfo, environ: Mapping[str, str]
) -> tuple[str, ...]:
    """An option with the variable that the operator wrote, or with the URL if it holds no secret.

    Otherwise with a variable that the shell asks for.
    """
    if not text:
        return ()
    names = sorted(name for name, value in environ.items() if value == text)
    for name in filter(_NAME.fullmatch, names):
        return option, f'"${name}"'
    if conninfo.reveal() == conninfo.safe():
        return option, _word(conninfo.safe())
    name = f"{option.removeprefix('--').upper()}_URL"
    return option, f'"${{{name}:?set it to the URL that {option} had}}"'
