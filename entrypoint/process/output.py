"""What a child writes, as lines; and as much of one as may be told, with secrets masked."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from .. import log

MAX_LINE: Final = 16 * 1024
"""Characters of a line that are told; the rest of it is dropped."""

# Nobody's terminal reads colours. What a spinner overwrites its line with is told as it is when it
# is no escape: what is behind it begins a line for whoever looks for words.
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_CURSOR = re.compile(r"(?:\x1b\[[0-9;?]*[ -/]*[@-~]|\r)+")
_OVERWRITES = re.compile(rb"\r|\x1b\[[0-9;]*[A-HJK]")


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
            self._break()

    def close(self) -> None:
        """Tell the last line if it had no end."""
        if self.rest:
            self._line(self.rest)
            self.rest = bytearray()

    def _break(self) -> None:
        """Tell what is there of a line that is too long; of a spinner's all but its last frame."""
        last = max((found.start() for found in _OVERWRITES.finditer(self.rest)), default=0)
        rest = self.rest[last:] if last else bytearray()
        self._line(self.rest[: last or None], ends=bool(last))
        self.rest = rest

    def _line(self, data: bytearray, *, ends: bool = True) -> None:
        if not self.cutting:  # else this is the end of a line whose beginning was told
            text = data.decode("utf-8", "replace")
            if "\x1b" in text:
                text = _CURSOR.sub("\r", _COLOURS.sub("", text))
            if text := text.strip("\r"):
                self.tell(self.stream, text)
        self.cutting = not ends
