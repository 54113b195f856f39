"""What a command works on, as one fingerprint: its words and the contents of its input files.

Equal fingerprints mean that running the command again would do the same. Nothing in it depends on
times, owners, where the tree or a link's target lies, or the order in which a file system lists a
folder.
"""

import errno
import hashlib
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

from . import files

_MAGIC: Final = re.compile(r"[*?\[]")

_NOWHERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)

_BELOW: Final = "**"

_ENDS: Final[tuple[list[str], ...]] = ([], [_BELOW])
"""What is left of a pattern where it matches a file."""

# What programs, version control and the kubelet (its `..data` and `..2026_11_29_08_15_00.123`)
# write beside the files of a schema: it differs between two copies of one release.
_NEVER: Final = re.compile(
    r"__pycache__|.*\.pyc|\.git|\.hg|\.svn|\.\.data(_tmp)?|\.\.\d{4}(_\d\d){5}\.\d+", re.DOTALL
)

NEVER: Final = "__pycache__, *.pyc, .git, .hg, .svn, node_modules/.cache"
"""Names that never count, whatever a pattern says; and those of the kubelet's own."""

_DEEPEST: Final = 100_000

MAX_BYTES: Final = 1 << 30
"""Bytes of all inputs together: they are read at every start."""

MAX_FILES: Final = 100_000
"""Files that the patterns may match."""


class InputsError(ValueError):
    """Inputs without which a fingerprint would prove nothing; ``problems`` lists every one."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def fingerprint(
    command: Sequence[str], patterns: Sequence[str], root: str, reach: str | None = None
) -> str:
    """The SHA-256, in hexadecimal, of an argv and of all files that the patterns match.

    Patterns are relative to ``root``: ``*``, ``?`` and ``[...]`` within a name, ``**`` for any
    number of folders or, at the end, for everything below; so does the plain name of a folder.
    Names that begin with a dot match too, those of `NEVER` do not. What is no regular file, such as
    a socket, is left out. A symbolic link counts as what it leads to, under its own name; it may
    lead to anywhere below ``root``, or below ``reach``, a folder named from there. Waits for
    no more than disks.

    Raises `InputsError` for every pattern that matches nothing or leaves ``root``, and for every
    link that leads elsewhere or nowhere; OSError for what cannot be read, for more than
    `MAX_FILES` files and for more than `MAX_BYTES` in them.
    """
    tree = os.path.realpath(root)
    reading = _Reading([tree, *([_folder(tree, reach)] if reach else [])])
    digest = hashlib.sha256()
    for word in (str(len(command)), *command):
        _add(digest, os.fsencode(word))
    with _deep():
        found: dict[str, str | bytes] = {}
        for pattern in patterns:
            found |= reading.matches(tree, pattern)
        if reading.problems:
            raise InputsError(list(reading.problems))
        reading.add(digest, found)
    return digest.hexdigest()


@contextmanager
def _deep() -> Iterator[None]:
    """Let calls nest as deep as packages that link to each other: thousands of them, in a store."""
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(max(usual, _DEEPEST))
    try:
        yield
    finally:
        sys.setrecursionlimit(usual)


def _folder(tree: str, reach: str) -> str:
    """The folder into which links may lead. Raises `InputsError`."""
    folder = os.path.realpath(os.path.join(tree, reach))
    if not os.path.isdir(folder):
        raise InputsError([f"the inputs' root {reach!r} is no folder"])
    return folder


def _parts(pattern: str) -> list[str]:
    """A pattern's names. Raises ValueError with what is wrong with it."""
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if pattern.startswith("/") or ".." in parts:
        raise ValueError("is not a path below the working directory")
    if not pattern or "\0" in pattern:
        raise ValueError("matches no file")
    if not parts or not _MAGIC.search(parts[-1]):
        parts.append(_BELOW)  # which of a file is the file itself
    return parts


@dataclass
class _Reading:
    """What is read for one fingerprint; every file once, however many links lead to it."""

    bounds: Sequence[str]
    """The folders out of which no link may lead."""

    problems: dict[str, None] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    folders: dict[tuple[str, tuple[str, ...]], bytes] = field(default_factory=dict)
    """Digests of folders that links lead to, each with what of a pattern was left there."""

    within: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    """Those of which the digest is being made: links to folders could make endless trees."""

    left: int = field(default_factory=lambda: MAX_BYTES)

    def matches(self, tree: str, pattern: str) -> Mapping[str, str | bytes]:
        """What a pattern matches, by name: a file's path, or a linked folder's digest."""
        before = len(self.problems)
        search = _Search(self)
        try:
            parts = _parts(pattern)
        except ValueError as error:
            self.problems[f"{pattern!r} {error}"] = None
            return {}
        search.match("", tree, parts)
        if not search.found and len(self.problems) == before:
            rest = f" but what never counts ({NEVER})" if search.passed else ""
            self.problems[f"{pattern!r} matches no file{rest}"] = None
        return search.found

    def folder(self, path: str, parts: list[str]) -> bytes | None:
        """The digest of what a pattern's rest matches in a folder that a link leads to.

        Of a folder that is being read already, only how far above it is: it is in its own digest.
        None where nothing matches.
        """
        key = path, tuple(parts)
        if key in self.within:
            return b"%d folders above" % (len(self.within) - self.within.index(key))
        if key not in self.folders:
            self.within.append(key)
            search = _Search(self)
            search.descend("", path, parts)
            self.within.pop()
            digest = hashlib.sha256()
            self.add(digest, search.found)
            self.folders[key] = digest.digest() if search.found else b""
        return self.folders[key] or None

    def add(self, digest: "hashlib._Hash", found: Mapping[str, str | bytes]) -> None:
        """Count what was found. Raises OSError."""
        for name in sorted(found, key=os.fsencode):
            what = found[name]
            _add(digest, os.fsencode(name))
            _add(digest, what if isinstance(what, bytes) else self.content(what))

    def content(self, path: str) -> bytes:
        """A file's digest. Raises OSError."""
        if path not in self.contents:
            self.contents[path], size = _content(path, self.left)
            self.left -= size
        return self.contents[path]

    def follow(self, path: str, parts: list[str]) -> tuple[int, str]:
        """The mode and the path of what a link leads to; 0 where it is not to be followed."""
        real, bounds = os.path.realpath(path), self.bounds
        name = os.path.relpath(path, bounds[0])
        link = f"the link {name!r} leads to {os.readlink(path)!r}"
        try:
            mode = os.stat(real).st_mode
        except OSError as error:
            if error.errno not in _NOWHERE:
                raise
            if parts in _ENDS:
                problem = f"{link}, which is not there: remove it, or name inputs without it"
                self.problems[problem] = None
            return 0, real
        if any(os.path.commonpath([real, bound]) == bound for bound in bounds):
            return mode, real
        if (stat.S_ISDIR(mode) and parts) or (stat.S_ISREG(mode) and parts in _ENDS):
            where = "below the working directory" + (" nor inputs_root" if bounds[1:] else "")
            folder = real if stat.S_ISDIR(mode) else os.path.dirname(real)
            problem = f"{link}, not {where}: name its folder as inputs_root, such as {folder!r}"
            self.problems[problem] = None
        return 0, real


@dataclass
class _Search:
    """What one pattern matches in a folder."""

    reading: _Reading
    found: dict[str, str | bytes] = field(default_factory=dict)
    seen: set[tuple[str, int]] = field(default_factory=set)
    """Folders that were searched at every depth, and for how much of the pattern."""

    passed: bool = False
    """Whether something was left out for its name."""

    def match(self, name: str, path: str, parts: list[str]) -> None:
        """Find what the rest of the pattern matches at and below a path.

        With ``**`` to come a link to a folder counts as one digest: through many that lead to each
        other there are more ways than could be walked.
        """
        try:
            mode = os.lstat(path).st_mode
        except FileNotFoundError:
            return
        linked = stat.S_ISLNK(mode)
        if linked:
            mode, path = self.reading.follow(path, parts)
        if stat.S_ISDIR(mode):
            if linked and _BELOW in parts:
                if digest := self.reading.folder(path, parts):
                    self.count("\0".join([name, *parts]), digest)
            elif parts:
                self.descend(name, path, parts)
        elif parts in _ENDS and stat.S_ISREG(mode):
            self.count(name, path)

    def count(self, name: str, what: str | bytes) -> None:
        """Note what was found."""
        self.found[name] = what
        if len(self.found) > MAX_FILES:
            text = f"the inputs are more than {MAX_FILES} files; name fewer"
            raise OSError(errno.EFBIG, text, name)

    def descend(self, name: str, path: str, parts: list[str]) -> None:
        """Go on in a folder."""
        head, rest = parts[0], parts[1:]
        if head == _BELOW:
            if (path, len(parts)) not in self.seen:
                self.seen.add((path, len(parts)))
                if rest:
                    self.descend(name, path, rest)
                self.each(name, path, sorted(os.listdir(path)), parts)
        elif _MAGIC.search(head):
            entries = sorted(os.listdir(path))
            self.each(name, path, (e for e in entries if e == head or fnmatchcase(e, head)), rest)
        else:
            self.each(name, path, [head], rest)

    def each(self, name: str, path: str, entries: Iterable[str], parts: list[str]) -> None:
        """Match the rest of the pattern at several entries of a folder."""
        for entry in entries:
            inner = os.path.join(path, entry)
            if _NEVER.fullmatch(entry) or (
                entry == ".cache" and os.path.basename(name) == "node_modules"
            ):
                self.passed = self.passed or os.path.lexists(inner)
            else:
                self.match(os.path.join(name, entry), inner, parts)


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
