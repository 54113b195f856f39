"""What a child writes, as lines with secrets masked."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from . import log

MAX_LINE: Final = 16 * 1024
"""Characters of a line that are logged; the rest of it is dropped."""


# Colours, and what a spinner overwrites its line with: nobody's terminal reads this.
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


@dataclass
class Lines:
    """Turns the bytes of one pipe into masked lines."""

    stream: str
    tell: Callable[[str, str], None]
    rest: bytearray = field(default_factory=bytearray)
    cutting: bool = False

    def feed(self, data: bytes) -> None:
        """Take bytes; tell every line that is complete, and the beginning of an endless one."""
        *whole, rest = (self.rest + data).split(b"\n")
        for line in whole:
            self._line(line)
        self.rest = rest
        if len(rest) > 4 * (MAX_LINE + log.longest_secret()):  # a character has up to 4 bytes
            self._line(rest, ends=False)
            self.rest = bytearray()

    def close(self) -> None:
        """Tell the last line if it had no end."""
        if self.rest:
            self._line(self.rest)
            self.rest = bytearray()

    def _line(self, data: bytearray, *, ends: bool = True) -> None:
        if not self.cutting:  # else this is the end of a line whose beginning was told
            text = _ESCAPES.sub("", data.decode("utf-8", "replace").rstrip("\r"))
            text = log.mask(text)
            if len(text) > MAX_LINE:
                # Masked first: a secret that the cut goes through was seen whole.
                text = f"{text[:MAX_LINE]}... (cut)"
            if text:
                self.tell(self.stream, text)
        self.cutting = not ends
