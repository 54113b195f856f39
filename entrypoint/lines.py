"""What a child writes, as lines; and as much of one as may be told, with secrets masked."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from . import log

MAX_LINE: Final = 16 * 1024
"""Characters of a line that are told; the rest of it is dropped."""

# Colours, and what a spinner overwrites its line with: nobody's terminal reads this.
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


def shown(line: str) -> str:
    """A line of a child's for an error or an event: masked, and cut to `MAX_LINE` characters."""
    text = log.mask(line)
    # Masked first: a secret that the cut goes through was seen whole.
    return text if len(text) <= MAX_LINE else f"{text[:MAX_LINE]}... (cut)"


@dataclass
class Lines:
    """Turns the bytes of one pipe into lines, as they came but for colours.

    To mask costs more than all the rest, and of a flood of lines hardly one is told: see `shown`.
    """

    stream: str
    tell: Callable[[str, str], None]
    rest: bytearray = field(default_factory=bytearray)
    cutting: bool = False

    def feed(self, data: bytes) -> None:
        """Take bytes; tell every line that is complete, and the beginning of an endless one."""
        first, *more = data.split(b"\n")
        self.rest += first
        for piece in more:
            self._line(self.rest)
            self.rest = bytearray(piece)
        if len(self.rest) > 4 * (MAX_LINE + log.longest_secret()):  # a character has up to 4 bytes
            self._line(self.rest, ends=False)
            self.rest = bytearray()

    def close(self) -> None:
        """Tell the last line if it had no end."""
        if self.rest:
            self._line(self.rest)
            self.rest = bytearray()

    def _line(self, data: bytearray, *, ends: bool = True) -> None:
        if not self.cutting:  # else this is the end of a line whose beginning was told
            text = data.decode("utf-8", "replace").rstrip("\r")
            if "\x1b" in text:
                text = _ESCAPES.sub("", text)
            if text:
                self.tell(self.stream, text)
        self.cutting = not ends
