"""Splits a child's output into lines, and masks and cuts a line that is shown."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from .. import log

MAX_LINE: Final = 16 * 1024  # characters of a line that are kept

# Colours are dropped. A \r or an escape with which a spinner overwrites its line becomes \r, so
# that a parser finds the words behind it at the beginning of a line.
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_CURSOR = re.compile(r"(?:\x1b\[[0-9;?]*[ -/]*[@-~]|\r)+")
_OVERWRITES = re.compile(rb"\r|\x1b\[[0-9;]*[A-HJK]")


def shown(line: str) -> str:
    """Return a child's line for an error or an event: masked, then cut to `MAX_LINE` characters."""
    text = log.mask(line)
    # A cut before the mask could leave half of a secret.
    return text if len(text) <= MAX_LINE else f"{text[:MAX_LINE]}... (cut)"


@dataclass
class Lines:
    """Turns a pipe's bytes into lines, unmasked: masking costs more than everything else."""

    stream: str
    tell: Callable[[str, str], None]
    rest: bytearray = field(default_factory=bytearray)
    cutting: bool = False

    def feed(self, data: bytes) -> None:
        """Take bytes; pass on every complete line, and the beginning of an endless one."""
        first, *more = data.split(b"\n")
        self.rest += first
        for piece in more:
            self._line(self.rest)
            self.rest = bytearray(piece)
        if len(self.rest) > 4 * (MAX_LINE + log.longest_secret()):  # a character has up to 4 bytes
            self._break()

    def close(self) -> None:
        """Pass on the last line if it had no end."""
        if self.rest:
            self._line(self.rest)
            self.rest = bytearray()

    def _break(self) -> None:
        """Pass on what there is of an overlong line; of a spinner, all but the last frame."""
        last = max((found.start() for found in _OVERWRITES.finditer(self.rest)), default=0)
        rest = self.rest[last:] if last else bytearray()
        self._line(self.rest[: last or None], ends=bool(last))
        self.rest = rest

    def _line(self, data: bytearray, *, ends: bool = True) -> None:
        if not self.cutting:  # else ``data`` ends a line whose beginning was passed on
            text = data.decode("utf-8", "replace")
            if "\x1b" in text:
                text = _CURSOR.sub("\r", _COLOURS.sub("", text))
            if text := text.strip("\r"):
                self.tell(self.stream, text)
        self.cutting = not ends
