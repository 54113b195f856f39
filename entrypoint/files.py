"""Reads files that somebody else names: regular ones only, in bounded memory, never blocking.

A name in the settings may be a FIFO that nobody writes to, a device without an end, a file of /proc
that waits, or a sparse one of a terabyte. Each of them would hold up a start for ever.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator
from typing import Any, Final

_CHUNK: Final = 1 << 18

_SAMPLE: Final = 200
"""Bytes by which an encoding is told."""


def read(path: str | os.PathLike[str], most: int) -> bytes:
    """The content of a regular file of ``most`` bytes at most. Blocks on no more than a disk.

    Raises OSError, with a text for people: for what is larger, for what is no regular file, for
    what cannot be opened or read. ValueError for a path that has a NUL in it.
    """
    return b"".join(chunks(path, most))


def chunks(path: str | os.PathLike[str], most: int) -> Iterator[bytes]:
    """The same, piece by piece. A file that grows meanwhile is larger than it said, no more."""
    file, size = _opened(path)
    try:
        if size > most:
            raise _too_large(path, most)
        while chunk := os.read(file, min(max(size, 1 << 12), _CHUNK) + 1):
            most -= len(chunk)
            if most < 0:
                raise _too_large(path, most + len(chunk))
            yield chunk
    finally:
        os.close(file)


def toml(data: bytes) -> dict[str, Any]:
    """A TOML file's table. A BOM is left out, and the line ends may be those of any system.

    Raises ValueError, with a text that goes on behind the file's name: for what is no TOML, for
    another encoding, for characters that nobody sees and for quotes of a word processor's.
    """
    import tomllib

    if (written := encoding(data)) != "UTF-8":
        raise ValueError(f"is {written}, not UTF-8; save it as UTF-8")
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode()  # a codec of its own costs an import
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"is not UTF-8 (at line {line}, byte {error.start})") from None
    if "\n" not in text:  # an old Mac's lines
        text = text.replace("\r", "\n")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"is not valid TOML: {error}{_strange(text, str(error))}") from None


def _strange(text: str, error: str) -> str:
    """What nobody sees, or takes for something else, in the line that an error is about."""
    found = re.search(r"at line (\d+)", error)
    lines = re.split(r"\r?\n", text)
    number = int(found[1]) if found else len(lines)
    line = "".join(lines[number - 1 : number])
    strange = re.search(r"[^\t -~\w]", line)  # letters of any language are as they look
    if not strange:
        return ""
    return f"; line {number} has the character U+{ord(strange[0]):04X} in it"


def encoding(data: bytes) -> str:
    """What a text is written in, as far as its first bytes tell: UTF-8, UTF-16 or UTF-32."""
    if data.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "UTF-32"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    halves = data[0:_SAMPLE:2], data[1:_SAMPLE:2]
    zeros = [half.count(0) == len(half) > 1 for half in halves]  # what ASCII's other byte is
    return "UTF-16" if zeros[0] != zeros[1] else "UTF-8"


def _opened(path: str | os.PathLike[str]) -> tuple[int, int]:
    """A descriptor of a regular file, and its size."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket; or a device that is not there
            raise _not_regular(path) from None
        raise
    about = os.fstat(file)
    if stat.S_ISREG(about.st_mode):
        return file, about.st_size
    os.close(file)
    if stat.S_ISDIR(about.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    raise _not_regular(path)


def _not_regular(path: str | os.PathLike[str]) -> OSError:
    text = "it is a FIFO, a device or a socket, not a regular file"
    return OSError(errno.EINVAL, text, os.fspath(path))


def _too_large(path: str | os.PathLike[str], most: int) -> OSError:
    return OSError(errno.EFBIG, f"it is larger than {most} bytes", os.fspath(path))
