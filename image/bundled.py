"""Lists the shared libraries inside wheels, which no requirement names, as components of a bill."""

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
"""By vendor and product in CPE: patterns of the libraries' names, and of the version in them."""


def libraries(folder: Path) -> list[Component]:
    """The libraries in a wheel's folder, if there is one, with the versions that they contain.

    Loads libpq to call `PQlibVersion`.
    """
    files = sorted(folder.glob("*.so*"))
    versions = _versions(files)
    return [
        {
            "type": "library",
            "bom-ref": f"{folder.name}/{file.name}",
            "name": file.name,
            "hashes": [digest(file)],
            **versions.get(_stem(file), {}),
        }
        for file in files
    ]


def bills(packages: Path, folder: str) -> list[dict[str, Any]]:
    """A wheel's own bills of materials, for the contents of its binaries, by their paths."""
    root = packages.parents[2]
    return [
        {"type": "bom", "url": file.relative_to(root).as_posix(), "hashes": [digest(file)]}
        for file in sorted(packages.glob(f"{folder}-*.dist-info/sboms/*.json"))
    ]


def digest(file: Path) -> dict[str, str]:
    """A file's SHA-256 in the form of CycloneDX."""
    return {"alg": "SHA-256", "content": hashlib.sha256(file.read_bytes()).hexdigest()}


def _versions(files: list[Path]) -> dict[str, Component]:
    """The version and the CPE name of each library that has them, by its stem."""
    versions: dict[str, Component] = {}
    for project, (names, text) in PROJECTS.items():
        ours = [file for file in files if re.fullmatch(names, _stem(file))]
        found = {
            match[1].decode() for file in ours for match in re.finditer(text, file.read_bytes())
        }
        if len(found) == 1:
            versions |= {_stem(file): _version(project, *found) for file in ours}
    for file in files:
        if _stem(file) == "libpq":
            major, minor = divmod(ctypes.CDLL(str(file)).PQlibVersion(), 10_000)
            versions["libpq"] = _version("postgresql:postgresql", f"{major}.{minor}")
    return versions


def _version(project: str, version: str) -> Component:
    return {"version": version, "cpe": f"cpe:2.3:a:{project}:{version}:*:*:*:*:*:*:*"}


def _stem(file: Path) -> str:
    """A library's file name without the hash that auditwheel adds, and without its version."""
    return re.split(r"-[0-9a-f]{8}\.|\.so", file.name)[0]
