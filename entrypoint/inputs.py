"""What a command works on, as one fingerprint: its words and the contents of its input files.

Equal fingerprints mean that running the command again would do the same. Nothing in it depends on
times, owners, where the tree lies, or the order in which a file system lists a folder.
"""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

from . import files

_MAGIC: Final = re.compile(r"[*?\[]")

_NOWHERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)

_BELOW: Final = "**"

MAX_BYTES: Final = 1 << 30
"""Bytes of all inputs together: they are read at every start."""

MAX_FILES: Final = 100_000
"""Files that the patterns may match."""


class NoMatchError(ValueError):
    """A pattern that matches no file: a fingerprint without it would prove nothing."""

    def __init__(self, pattern: str, why: str = "matches no file") -> None:
        super().__init__(f"{pattern!r} {why}")


def fingerprint(command: Sequence[str], patterns: Sequence[str], root: str) -> str:
    """The SHA-256, in hexadecimal, of an argv and of all files that the patterns match.

    Patterns are relative to ``root``: ``*``, ``?`` and ``[...]`` within a name, ``**`` for any
    number of folders or, at the end, for everything below; so does the plain name of a folder.
    Names that begin with a dot match too. What is no regular file, such as a socket, is left out.
    A symbolic link is followed as long as it stays below ``root``; of any other, and of one to a
    folder, the target's name counts. Raises `NoMatchError`, also for a pattern that leaves
    ``root``, and OSError for what cannot be read, for more than `MAX_FILES` files and for more than
    `MAX_BYTES` in them.
    """
    tree = os.path.realpath(root)
    found: dict[str, str | None] = {}
    for pattern in patterns:
        search = _Search(tree)
        search.match("", _parts(pattern))
        if not search.found:
            raise NoMatchError(pattern)
        found |= search.found
    digest, left = hashlib.sha256(), MAX_BYTES
    for word in (str(len(command)), *command):
        _add(digest, os.fsencode(word))
    for name in sorted(found, key=os.fsencode):
        _add(digest, os.fsencode(name))
        target = found[name]
        if target is None:
            content, size = _content(os.path.join(tree, name), left)
            left -= size
        else:
            content = os.fsencode(target)
        _add(digest, content)
    return digest.hexdigest()


def _parts(pattern: str) -> list[str]:
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if pattern.startswith("/") or ".." in parts:
        raise NoMatchError(pattern, "is not a path below the working directory")
    if not pattern or "\0" in pattern:
        raise NoMatchError(pattern)
    if not parts or not _MAGIC.search(parts[-1]):
        parts.append(_BELOW)  # which of a file is the file itself
    return parts


@dataclass
class _Search:
    """What one pattern matches in a tree."""

    tree: str
    found: dict[str, str | None] = field(default_factory=dict)
    """Names, with the target of a link whose target counts."""

    seen: set[tuple[str, int]] = field(default_factory=set)
    """Folders that were searched at every depth, and for how much of the pattern: links to folders
    could make endless trees."""

    def match(self, name: str, parts: list[str]) -> None:
        """Find what the rest of the pattern matches at and below a name."""
        path = os.path.join(self.tree, name)
        try:
            mode = os.lstat(path).st_mode
        except FileNotFoundError:
            return
        target = None
        if stat.S_ISLNK(mode):
            mode, target = self.follow(path)
        if stat.S_ISDIR(mode):
            if parts == [_BELOW] and target:
                self.found[name] = target
            if parts:
                self.descend(name, path, parts)
        elif parts in ([], [_BELOW]) and (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
            self.found[name] = target
            if len(self.found) > MAX_FILES:
                text = f"the inputs are more than {MAX_FILES} files; name fewer"
                raise OSError(errno.EFBIG, text, path)

    def follow(self, path: str) -> tuple[int, str | None]:
        """The mode of a link's target, and its name where that counts.

        The mode is the link's own if the target lies outside of the tree or is missing.
        """
        real = os.path.realpath(path)
        outside = os.path.commonpath([real, self.tree]) != self.tree
        try:
            mode = stat.S_IFLNK if outside else os.stat(real).st_mode
        except OSError as error:
            if error.errno not in _NOWHERE:
                raise
            mode = stat.S_IFLNK
        if stat.S_ISLNK(mode):
            return mode, "-> " + os.readlink(path)
        name = "-> " + os.path.relpath(real, self.tree)
        return mode, name if stat.S_ISDIR(mode) else None

    def descend(self, name: str, path: str, parts: list[str]) -> None:
        """Go on in a folder."""
        head, rest = parts[0], parts[1:]
        if head == _BELOW:
            here = os.path.realpath(path), len(parts)
            if here not in self.seen:
                self.seen.add(here)
                if rest:
                    self.match(name, rest)
                self.each(name, sorted(os.listdir(path)), parts)
        elif _MAGIC.search(head):
            entries = sorted(os.listdir(path))
            self.each(name, [e for e in entries if e == head or fnmatchcase(e, head)], rest)
        else:
            self.each(name, [head], rest)

    def each(self, name: str, entries: list[str], parts: list[str]) -> None:
        """Match the rest of the pattern at several entries of a folder."""
        for entry in entries:
            self.match(os.path.join(name, entry), parts)


def _content(path: str, most: int) -> tuple[bytes, int]:
    """A file's digest, and how many bytes it has. Raises OSError."""
    digest, size = hashlib.sha256(), 0
    try:
        for chunk in files.chunks(path, most):
            digest.update(chunk)
            size += len(chunk)
    except OSError as error:
        if error.errno == errno.EFBIG:
            error.strerror = f"with it the inputs are larger than {MAX_BYTES} bytes; name fewer"
        raise
    return digest.digest(), size


def _add(digest: "hashlib._Hash", data: bytes) -> None:
    # With its length before it, or "ab" + "c" would be "a" + "bc".
    digest.update(b"%d:" % len(data))
    digest.update(data)
