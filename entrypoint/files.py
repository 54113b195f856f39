"""Read files that the settings name: regular files only, in bounded memory, without blocking.

Such a name may lead to a FIFO without a writer, an endless device, a file of /proc that waits, or
a sparse file of a terabyte. Each of these would hold up a start for ever.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator
from typing import Any, Final

StrPath = str | os.PathLike[str]
_CHUNK: Final = 1 << 18
_SAMPLE: Final = 200  # bytes from which `encoding` guesses


def read(path: StrPath, most: int) -> bytes:
    """Return the content of a regular file of at most ``most`` bytes; blocks on the disk only.

    Raises OSError with a readable text if the file is larger, is no regular file, or cannot be
    opened or read; ValueError if the path contains a NUL.
    """
    return b"".join(chunks(path, most))


def chunks(path: StrPath, most: int) -> Iterator[bytes]:
    """Yield in chunks what `read` returns; ``most`` holds for a file that grows meanwhile, too."""
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
    """Parse a TOML file; it may begin with a BOM and use the line ends of any system.

    Raises ValueError, whose text continues a sentence that begins with the file's name. The text
    names another encoding, an invisible character or a word processor's quotes.
    """
    import tomllib

    if (written := encoding(data)) != "UTF-8":
        raise ValueError(f"is {written}, not UTF-8; save it as UTF-8")
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode()  # "utf-8-sig" would import a codec
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"is not UTF-8 (at line {line}, byte {error.start})") from None
    if "\n" not in text:  # classic Mac OS ended lines with \r
        text = text.replace("\r", "\n")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"is not valid TOML: {error}{_strange(text, str(error))}") from None


def _strange(text: str, error: str) -> str:
    """Name the invisible or easily mistaken character in the line that the error points at."""
    found = re.search(r"at line (\d+)", error)
    lines = re.split(r"\r?\n", text)
    number = int(found[1]) if found else len(lines)
    # Letters of every language look like themselves.
    strange = re.search(r"[^\t -~\w]", "".join(lines[number - 1 : number]))
    return f"; line {number} has the character U+{ord(strange[0]):04X} in it" if strange else ""


def encoding(data: bytes) -> str:
    """Guess a text's encoding from its first bytes: UTF-8, UTF-16 or UTF-32."""
    if data.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "UTF-32"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    halves = data[0:_SAMPLE:2], data[1:_SAMPLE:2]
    zeros = [half.count(0) == len(half) > 1 for half in halves]  # ASCII's second byte in UTF-16
    return "UTF-16" if zeros[0] != zeros[1] else "UTF-8"


def on_path(name: str, path: str | None) -> bool:
    """Whether PATH leads to this program, as `shutil.which` finds it, whose import takes 3 ms."""
    folders = (os.defpath if path is None else path).split(":") if path != "" else []
    candidates = [name] if "/" in name else [os.path.join(folder, name) for folder in folders]
    return any(os.access(each, os.X_OK) and not os.path.isdir(each) for each in candidates)


def _opened(path: StrPath) -> tuple[int, int]:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, or a device that is absent
            raise _not_regular(path) from None
        raise
    about = os.fstat(file)
    if stat.S_ISREG(about.st_mode):
        return file, about.st_size
    os.close(file)
    if stat.S_ISDIR(about.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    raise _not_regular(path)


def _not_regular(path: StrPath) -> OSError:
    text = "it is a FIFO, a device or a socket, not a regular file"
    return OSError(errno.EINVAL, text, os.fspath(path))


def _too_large(path: StrPath, most: int) -> OSError:
    return OSError(errno.EFBIG, f"it is larger than {most} bytes", os.fspath(path))
