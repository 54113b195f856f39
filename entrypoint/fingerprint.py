"""The fingerprint of a command: its argv and the contents of its input files.

Equal fingerprints mean that another run of the command would do the same. Timestamps, owners, the
location of the tree, the targets of links and the order of directory listings do not count.
"""

import errno
import os
import re
import stat
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from . import files

if TYPE_CHECKING:
    from hashlib import _Hash

_MAGIC: Final = frozenset("*?[")
_NOWHERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_BELOW: Final = "**"
_ENDS: Final[tuple[list[str], ...]] = ([], [_BELOW])  # the names left of a pattern at a file

# Programs, version control and the kubelet (`..data` and `..2026_11_29_08_15_00.123`) write these
# beside the files of a schema, and they differ between two copies of one release.
_NEVER: Final = re.compile(
    r"__pycache__|.*\.pyc|\.git|\.hg|\.svn|\.\.data(_tmp)?|\.\.\d{4}(_\d\d){5}\.\d+", re.DOTALL
)

NEVER: Final = "__pycache__, *.pyc, .git, .hg, .svn, node_modules/.cache"
"""Names that never count, whatever a pattern says; the kubelet's own names are left out too."""

_DEEPEST: Final = 100_000  # recursions: packages in a store link to each other thousands deep
MAX_BYTES: Final = 1 << 30  # bytes of all inputs together: every start reads them
MAX_FILES: Final = 100_000  # files that the patterns may match
_MANY: Final = 1 << 19  # bytes from which on it pays to load OpenSSL


class InputsError(ValueError):
    """The inputs cannot give a fingerprint that proves anything; ``problems`` lists why."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def fingerprint(
    command: Sequence[str], patterns: Sequence[str], root: str, reach: str | None = None
) -> str:
    """Return the SHA-256, in hexadecimal, of an argv and of all files that the patterns match.

    Patterns are relative to ``root``: ``*``, ``?`` and ``[...]`` match within a name; ``**``
    matches any number of folders, or everything below if it comes last; a folder's plain name
    matches everything below it too. Names that begin with a dot match, names in `NEVER` do not.
    Files that are not regular, such as sockets, are left out. A symbolic link counts as its target
    under the link's name; the target must lie below ``root`` or below ``reach``, a folder relative
    to ``root``. Blocks on disks only.

    Raises `InputsError` for each pattern that matches nothing or leaves ``root``, and for each link
    whose target is missing or lies elsewhere; OSError if a file cannot be read, or if the inputs
    are more than `MAX_FILES` files or `MAX_BYTES` bytes.
    """
    tree = os.path.realpath(root)
    reading = _Reading([tree, *([_folder(tree, reach)] if reach else [])])
    digest = _sha256()
    for word in (str(len(command)), *command):
        _add(digest, os.fsencode(word))
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(max(usual, _DEEPEST))
    try:
        found: dict[str, str | bytes] = {}
        for pattern in patterns:
            found |= reading.matches(tree, pattern)
        if reading.problems:
            raise InputsError(list(reading.problems))
        reading.add(digest, found)
    finally:
        sys.setrecursionlimit(usual)
    return digest.hexdigest()


def _folder(tree: str, reach: str) -> str:
    folder = os.path.realpath(os.path.join(tree, reach))
    if not os.path.isdir(folder):
        raise InputsError([f"the inputs_root {reach!r} is not a folder"])
    return folder


def _parts(pattern: str) -> list[str]:
    """Split a pattern into names. Raises ValueError with a text that continues the pattern."""
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if pattern.startswith("/") or ".." in parts:
        raise ValueError("is not a path below the working directory")
    if not pattern or "\0" in pattern:
        raise ValueError("matches no file")
    if not parts or _MAGIC.isdisjoint(parts[-1]):
        parts.append(_BELOW)  # it matches a file itself, too
    return parts


class _Reading:
    """The files read for one fingerprint: each once, however many links lead to it."""

    def __init__(self, bounds: Sequence[str]) -> None:
        self.bounds = bounds  # where links may have their targets; the first is the tree
        self.problems: dict[str, None] = {}
        self.contents: dict[str, bytes] = {}
        # Digests of linked folders, by path and by the rest of the pattern there.
        self.folders: dict[tuple[str, tuple[str, ...]], bytes] = {}
        # The linked folders whose digest is under way: links between folders make endless trees.
        self.within: list[tuple[str, tuple[str, ...]]] = []
        self.left = MAX_BYTES

    def matches(self, tree: str, pattern: str) -> Mapping[str, str | bytes]:
        """What a pattern matches, by name: a file's path, or the digest of a linked folder."""
        before = len(self.problems)
        search = _Search(self)
        try:
            parts = _parts(pattern)
        except ValueError as error:
            self.problems[f"{pattern!r} {error}"] = None
            return {}
        search.match("", tree, parts)
        if not search.found and len(self.problems) == before:
            what = f"only files that never count ({NEVER})" if search.passed else "no file"
            self.problems[f"{pattern!r} matches {what}"] = None
        return search.found

    def folder(self, path: str, parts: list[str]) -> bytes | None:
        """Digest what the rest of a pattern matches in a linked folder; None if it matches nothing.

        A folder whose digest is already under way counts as its distance above this one.
        """
        key = path, tuple(parts)
        if key in self.within:
            return b"%d folders above" % (len(self.within) - self.within.index(key))
        if key not in self.folders:
            self.within.append(key)
            search = _Search(self)
            search.descend("", path, parts)
            self.within.pop()
            digest = _sha256()
            self.add(digest, search.found)
            self.folders[key] = digest.digest() if search.found else b""
        return self.folders[key] or None

    def add(self, digest: "_Hash", found: Mapping[str, str | bytes]) -> None:
        for name in sorted(found, key=os.fsencode):
            what = found[name]
            _add(digest, os.fsencode(name))
            _add(digest, what if isinstance(what, bytes) else self.content(what))

    def content(self, path: str) -> bytes:
        if path not in self.contents:
            self.contents[path], size = _content(path, self.left, MAX_BYTES - self.left)
            self.left -= size
        return self.contents[path]

    def follow(self, path: str, parts: list[str]) -> tuple[int, str]:
        """Return mode and path of a link's target; mode 0 means that the link does not count."""
        real, bounds = os.path.realpath(path), self.bounds
        name = os.path.relpath(path, bounds[0])
        link = f"the link {name!r} points to {os.readlink(path)!r}"
        try:
            mode = os.stat(real).st_mode
        except OSError as error:
            if error.errno not in _NOWHERE:
                raise
            if parts in _ENDS:
                problem = (
                    f"{link}, which does not exist: remove the link, or name inputs without it"
                )
                self.problems[problem] = None
            return 0, real
        if any(os.path.commonpath([real, bound]) == bound for bound in bounds):
            return mode, real
        if (stat.S_ISDIR(mode) and parts) or (stat.S_ISREG(mode) and parts in _ENDS):
            where = "the working directory" + (" and inputs_root" if bounds[1:] else "")
            folder = real if stat.S_ISDIR(mode) else os.path.dirname(real)
            problem = f"{link}, outside {where}: set inputs_root to its folder, such as {folder!r}"
            self.problems[problem] = None
        return 0, real


class _Search:
    def __init__(self, reading: _Reading) -> None:
        self.reading = reading
        self.found: dict[str, str | bytes] = {}
        # The folders already searched with ``**``, and how many names of the pattern were left.
        self.seen: set[tuple[str, int]] = set()
        self.passed = False  # whether the search skipped a name in `NEVER`

    def match(self, name: str, path: str, parts: list[str]) -> None:
        """Find what the rest of the pattern matches at and below a path.

        While ``**`` is left in the pattern, a linked folder counts as one digest: folders that link
        to each other have more paths than a walk could visit.
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
        self.found[name] = what
        if len(self.found) > MAX_FILES:
            text = f"the inputs have more than {MAX_FILES} files; name fewer"
            raise OSError(errno.EFBIG, text, name)

    def descend(self, name: str, path: str, parts: list[str]) -> None:
        head, rest = parts[0], parts[1:]
        if head == _BELOW:
            if (path, len(parts)) not in self.seen:
                self.seen.add((path, len(parts)))
                if rest:
                    self.descend(name, path, rest)
                self.each(name, path, sorted(os.listdir(path)), parts)
        elif _MAGIC.isdisjoint(head):
            self.each(name, path, [head], rest)
        else:
            entries = sorted(os.listdir(path))
            self.each(name, path, (e for e in entries if e == head or fnmatchcase(e, head)), rest)

    def each(self, name: str, path: str, entries: Iterable[str], parts: list[str]) -> None:
        for entry in entries:
            inner = os.path.join(path, entry)
            if _NEVER.fullmatch(entry) or (
                entry == ".cache" and os.path.basename(name) == "node_modules"
            ):
                self.passed = self.passed or os.path.lexists(inner)
            else:
                self.match(os.path.join(name, entry), inner, parts)


def _sha256(size: int = 0) -> "_Hash":
    """A new digest, the faster one for this many bytes."""
    if size < _MANY:
        # What hashlib has without OpenSSL: a tenth as fast, and loaded in a tenth of the time.
        with suppress(ImportError):
            module = __import__("_sha2" if sys.version_info >= (3, 12) else "_sha256")
            digest: _Hash = module.sha256()
            return digest
    import hashlib

    return hashlib.sha256()


def _content(path: str, most: int, read: int) -> tuple[bytes, int]:
    size = 0
    try:
        digest = _sha256(read + os.stat(path).st_size)
        for chunk in files.chunks(path, most):
            digest.update(chunk)
            size += len(chunk)
    except OSError as error:
        if error.errno == errno.EFBIG:
            error.strerror = f"with it the inputs are larger than {MAX_BYTES} bytes; name fewer"
        raise
    return digest.digest(), size


def _add(digest: "_Hash", data: bytes) -> None:
    # The length comes first, because "ab" + "c" and "a" + "bc" must differ.
    digest.update(b"%d:" % len(data))
    digest.update(data)
