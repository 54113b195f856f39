"""The shared libraries inside wheels, which no requirement names: what they are, as components."""

from __future__ import annotations

import ctypes
import hashlib
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

Component = dict[str, Any]

PROJECTS: Final = {
    "openssl:openssl": (r"lib(crypto|ssl)", rb"\0OpenSSL (\d+\.\d+\.\d+\w*) "),
    "mit:kerberos_5": (r"lib(krb5|krb5support|k5crypto|gssapi_krb5)", rb"krb5-(\d[\d.]*)-final"),
}
"""By a project's name in CPE: its libraries, and how one of them gives the version of them all."""


def libraries(folder: Path) -> list[Component]:
    """Those in a wheel's folder, which need not exist; with a version where they tell it.

    Loads libpq to ask for its own.
    """
    files = sorted(folder.glob("*.so*"))
    told = _told(files)
    return [
        {
            "type": "library",
            "bom-ref": f"{folder.name}/{file.name}",
            "name": file.name,
            "hashes": [digest(file)],
            **told.get(_stem(file), {}),
        }
        for file in files
    ]


def bills(packages: Path, folder: str) -> list[dict[str, Any]]:
    """A wheel's own bills of materials, for what is inside its binaries, by their places."""
    root = packages.parents[2]
    return [
        {"type": "bom", "url": file.relative_to(root).as_posix(), "hashes": [digest(file)]}
        for file in sorted(packages.glob(f"{folder}-*.dist-info/sboms/*.json"))
    ]


def digest(file: Path) -> dict[str, str]:
    """A file's SHA-256 as CycloneDX has it."""
    return {"alg": "SHA-256", "content": hashlib.sha256(file.read_bytes()).hexdigest()}


def _told(files: list[Path]) -> dict[str, Component]:
    """Version and CPE name by a library's name without what follows it."""
    told: dict[str, Component] = {}
    for project, (names, said) in PROJECTS.items():
        ours = [file for file in files if re.fullmatch(names, _stem(file))]
        found = {
            match[1].decode() for file in ours for match in re.finditer(said, file.read_bytes())
        }
        if len(found) == 1:
            told |= {_stem(file): _version(project, *found) for file in ours}
    for file in files:
        if _stem(file) == "libpq":
            major, minor = divmod(ctypes.CDLL(str(file)).PQlibVersion(), 10_000)
            told["libpq"] = _version("postgresql:postgresql", f"{major}.{minor}")
    return told


def _version(project: str, version: str) -> Component:
    return {"version": version, "cpe": f"cpe:2.3:a:{project}:{version}:*:*:*:*:*:*:*"}


def _stem(file: Path) -> str:
    """A library's name without the tag that the wheel's maker put into it, and its version."""
    return re.split(r"-[0-9a-f]{8}\.|\.so", file.name)[0]
