"""The container's environment, byte for byte, and the parts of it that children get.

The only user of ``os.environ``. Python changes its copy at start (PEP 538 sets ``LC_CTYPE``), so
`Environment.of_container` reads the kernel's block.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cache


class Environment(Mapping[str, str]):
    """Variables as bytes, read as text with surrogateescape; its repr shows names only."""

    def __init__(self, block: Mapping[bytes, bytes]) -> None:
        self._block = dict(block)

    @classmethod
    @cache
    def of_container(cls) -> "Environment":
        """The environment that this process was started with; of duplicate names the first wins.

        Reads the kernel's block once, because `process` wipes our secrets from it before the first
        child runs, and a start that fails later still needs its webhook's URL.
        """
        try:
            with open("/proc/self/environ", "rb") as file:
                entries = file.read().split(b"\0")
        except OSError:
            return cls(os.environb)  # no /proc: no container, or not Linux
        block: dict[bytes, bytes] = {}
        for entry in entries:
            name, equals, value = entry.partition(b"=")
            if equals and name:
                block.setdefault(name, value)
        return cls(block)

    def __getitem__(self, name: str) -> str:
        return os.fsdecode(self._block[os.fsencode(name)])

    def __iter__(self) -> Iterator[str]:
        return map(os.fsdecode, self._block)

    def __len__(self) -> int:
        return len(self._block)

    def __repr__(self) -> str:
        return f"Environment({', '.join(sorted(self))})"

    def changed(
        self, *, without: Iterable[str] = (), added: Mapping[str, str] | None = None
    ) -> "Environment":
        """Return a copy in the same order; an added variable replaces its old value in place."""
        gone = {os.fsencode(name) for name in without}
        block = {name: value for name, value in self._block.items() if name not in gone}
        for name, value in (added or {}).items():
            block[os.fsencode(name)] = os.fsencode(value)
        return Environment(block)

    def block(self) -> dict[bytes, bytes]:
        """The block for exec and for child processes; contains secrets."""
        return dict(self._block)


def forget_libpq_variables() -> None:
    """Remove ``PG*`` from this process, or libpq would apply the service's to our connections."""
    for name in list(os.environ):
        if name.startswith("PG"):
            del os.environ[name]
