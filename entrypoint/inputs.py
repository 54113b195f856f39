"""What a command works on, as one fingerprint: its words and the contents of its input files.

Equal fingerprints mean that running the command again would do the same. Nothing in it depends on
times, owners, or the order in which a file system lists a folder.
"""

import fnmatch
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from typing import Final

_MAGIC: Final = re.compile(r"[*?\[]")

_CHUNK: Final = 1 << 18


class NoMatchError(ValueError):
    """A pattern that matches no file: a fingerprint without it would prove nothing."""

    def __init__(self, pattern: str) -> None:
        super().__init__(f"{pattern!r} matches no file")


def fingerprint(command: Sequence[str], patterns: Sequence[str], root: str) -> str:
    """The SHA-256, in hexadecimal, of an argv and of all files that the patterns match.

    Patterns are relative to ``root``: ``*``, ``?`` and ``[...]`` within a name, ``**`` for any
    number of folders or, at the end, for everything below. Names that begin with a dot match too.
    A symbolic link is followed as long as it stays below ``root``; of any other only the target's
    name counts. Raises `NoMatchError`, and OSError for a file that cannot be read.
    """
    inside = os.path.realpath(root)
    files: set[str] = set()
    for pattern in patterns:
        found = set(_match(inside, "", os.path.normpath(pattern).split("/"), inside, frozenset()))
        if not found:
            raise NoMatchError(pattern)
        files |= found
    digest = hashlib.sha256()
    for word in (str(len(command)), *command):
        _add(digest, os.fsencode(word))
    for name in sorted(files, key=os.fsencode):
        _add(digest, os.fsencode(name))
        _add(digest, _content(os.path.join(inside, name), inside))
    return digest.hexdigest()


def _add(digest: "hashlib._Hash", data: bytes) -> None:
    # With its length before it, or "ab" + "c" would be "a" + "bc".
    digest.update(b"%d:" % len(data))
    digest.update(data)


def _content(path: str, inside: str) -> bytes:
    if _leaves(path, inside):
        return b"-> " + os.fsencode(os.readlink(path))
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.digest()


def _leaves(path: str, inside: str) -> bool:
    """Whether a path is a link whose target lies outside the tree or is missing."""
    if not os.path.islink(path):
        return False
    target = os.path.realpath(path)
    return not (os.path.exists(target) and os.path.commonpath([target, inside]) == inside)


def _match(
    root: str, name: str, parts: Sequence[str], inside: str, seen: frozenset[str]
) -> Iterator[str]:
    """The files below ``root/name`` that the rest of a pattern matches, relative to ``root``."""
    path = os.path.join(root, name)
    if not parts:
        if os.path.isfile(path) or _leaves(path, inside):
            yield name
        return
    head, rest = parts[0], parts[1:]
    if head == "**":
        yield from _match_below(root, name, rest, inside, seen)
    elif _MAGIC.search(head):
        for entry in _list(path):
            if fnmatch.fnmatchcase(entry, head):
                yield from _match(root, os.path.join(name, entry), rest, inside, seen)
    elif os.path.lexists(os.path.join(path, head)):
        yield from _match(root, os.path.join(name, head), rest, inside, seen)


def _match_below(
    root: str, name: str, rest: Sequence[str], inside: str, seen: frozenset[str]
) -> Iterator[str]:
    path = os.path.join(root, name)
    real = os.path.realpath(path)
    if real in seen:  # a link to a folder above itself
        return
    if rest:
        yield from _match(root, name, rest, inside, seen)
    for entry in _list(path):
        below = os.path.join(name, entry)
        full = os.path.join(root, below)
        if os.path.isdir(full) and not _leaves(full, inside):
            yield from _match_below(root, below, rest, inside, seen | {real})
        elif not rest:
            yield from _match(root, below, (), inside, seen)


def _list(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except NotADirectoryError:
        return []
