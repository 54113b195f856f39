"""What is in /opt/entrypoint, looked at file by file, from outside."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

from tests.support.engine import docker, once

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBC = {
    "node:20-slim": r"libc\.so\.6|lib(m|pthread|dl|rt|util|resolv)\.so\.\d|ld-linux-.+\.so\.\d",
    "node:20-alpine": r"libc\.so|libc\.musl-.+\.so\.1|ld-musl-.+\.so\.1",
}
"""What the base image of a payload has because it is the C library."""

MAX_UNPACKED = 60_000_000
MAX_COMPRESSED = 25_000_000
UNUSED = (
    "pip",
    "idlelib",
    "tkinter",
    "ensurepip",
    "test",
    "tests",
    "turtle",
    "unittest",
    "sqlite3",
)
REQUIREMENTS = Path(__file__).parents[2] / "requirements" / "runtime.txt"


@pytest.fixture
def payload(base: str, payload_folders: dict[str, Path]) -> Path:
    """The payload for `base`, as a folder."""
    return payload_folders[base]


def binaries(payload: Path) -> Iterator[tuple[Path, ELFFile]]:
    """Every ELF file of a payload."""
    for file in sorted(payload.rglob("*")):
        if file.is_file() and not file.is_symlink():
            with file.open("rb") as opened:
                if opened.read(4) == b"\x7fELF":
                    yield file, ELFFile(opened)


def dynamic(binary: ELFFile, tag: str, attribute: str) -> list[str]:
    """The entries of a kind in the dynamic section."""
    section = binary.get_section_by_name(".dynamic")
    if not isinstance(section, DynamicSection):
        return []
    return [str(getattr(entry, attribute)) for entry in section.iter_tags(tag)]


def test_every_library_that_is_needed_is_in_the_payload_or_is_libc(
    base: str, payload: Path
) -> None:
    """By each file's own search path, inside the payload: nothing is left to what an image has."""
    lacking, files = [], 0
    for file, binary in binaries(payload):
        files += 1
        told = dynamic(binary, "DT_RPATH", "rpath") + dynamic(binary, "DT_RUNPATH", "runpath")
        places = [
            Path(place.replace("$ORIGIN", str(file.parent))).resolve()
            for line in told
            for place in line.split(":")
        ]
        inside = [place for place in places if place.is_relative_to(payload)]
        lacking += [
            f"{file.relative_to(payload)}: {name}"
            for name in dynamic(binary, "DT_NEEDED", "needed")
            if not re.fullmatch(LIBC[base], name)
            and not any((place / name).is_file() for place in inside)
        ]
    assert files > 20
    assert lacking == []


def test_no_file_looks_for_libraries_outside(payload: Path) -> None:
    """No search path is absolute or leaves the payload: a service's libraries are not ours."""
    outside = [
        f"{file}: {place}"
        for file, binary in binaries(payload)
        for tag, attribute in (("DT_RPATH", "rpath"), ("DT_RUNPATH", "runpath"))
        for line in dynamic(binary, tag, attribute)
        for place in line.split(":")
        if not Path(place.replace("$ORIGIN", str(file.parent))).resolve().is_relative_to(payload)
    ]
    assert outside == []


def test_the_base_has_the_libc_that_the_payload_asks_for(
    payload_folders: dict[str, Path],
) -> None:
    """No symbol version is newer than the glibc of node:20-slim: build on no newer Debian."""
    asked = [
        tuple(map(int, version.removeprefix("GLIBC_").split(".")))
        for _, binary in binaries(payload_folders["node:20-slim"])
        for section in binary.iter_sections()
        if isinstance(section, GNUVerNeedSection)
        for _, versions in section.iter_versions()
        for version in (each.name for each in versions)
        if re.fullmatch(r"GLIBC_2\.\d+", version)
    ]
    said = docker("run", "--rm", "node:20-slim", "ldd", "--version").stdout
    found = re.search(r" 2\.(\d+)$", said.splitlines()[0])
    assert found
    assert (2, 17) <= max(asked) <= (2, int(found[1]))


def test_the_payload_is_small(base: str, payload: Path, tmp_path: Path) -> None:
    """At most 60 MB unpacked and 25 MB as a compressed layer, on both libcs."""
    unpacked = sum(file.lstat().st_size for file in payload.rglob("*") if not file.is_dir())
    packed = tmp_path / "layer.tar"
    with tarfile.open(packed, "w") as archive:
        archive.add(payload, "opt/entrypoint")
    compressed = len(zlib.compress(packed.read_bytes()))

    assert unpacked <= MAX_UNPACKED, base
    assert compressed <= MAX_COMPRESSED, base


def test_nothing_unused_is_shipped(payload: Path) -> None:
    """No installer, tests, development environment, header or static library."""
    shipped = {path.relative_to(payload).as_posix() for path in payload.rglob("*")}
    # Jinja2 calls so what a template may ask of a value, and imports it.
    own = {path for path in shipped if "/jinja2/tests." not in path}
    names = {part.removesuffix(".pyc") for path in own for part in path.split("/")}

    assert "psycopg_binary" in names
    assert names.isdisjoint(UNUSED)
    assert [path for path in shipped if path.endswith((".a", ".h", ".pyi", ".pyx"))] == []


def test_every_module_is_compiled_and_is_never_checked(payload: Path) -> None:
    """Each source has its compiled file; none of them asks for the time or hash of a source."""
    compiled = list(payload.rglob("*.pyc"))
    stale = [file for file in compiled if file.read_bytes()[4:8] != b"\x01\x00\x00\x00"]
    cached = {file.parent.parent / f"{file.name.split('.')[0]}.py" for file in compiled}

    assert len(compiled) > 500
    assert stale == []
    assert {source for source in payload.rglob("*.py") if source not in cached} == set()


def test_no_path_of_the_build_is_left(payload: Path) -> None:
    """The compiled files say where they are, so that a traceback does."""
    wrong = [file for file in payload.rglob("*.pyc") if b"/payload/" in file.read_bytes()]
    launcher = payload / "bin" / "entrypoint"

    assert wrong == []
    assert launcher.read_text().startswith("#!/opt/entrypoint/python/bin/python3 -IS\n")
    assert launcher.stat().st_mode & 0o777 == 0o755


def test_the_bill_of_materials_is_valid(payload: Path) -> None:
    """It follows the CycloneDX schema, strictly."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator  # compiles 39 grammars, for 3 s

    validator = JsonStrictValidator(SchemaVersion.V1_6)

    assert validator.validate_str((payload / "sbom.cdx.json").read_text()) is None
    assert validator.validate_str('{"bomFormat": "CycloneDX", "nonsense": 1}') is not None


def bill_of(payload: Path) -> list[dict[str, Any]]:
    """The components that a payload's own bill of materials names."""
    found = json.loads((payload / "sbom.cdx.json").read_text())["components"]
    assert isinstance(found, list)
    return found


def has_hash(file: Path, said: dict[str, Any]) -> bool:
    """Whether this is the file's."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return bool(said["hashes"] == [{"alg": "SHA-256", "content": digest}])


def test_the_bill_of_materials_names_what_is_there(payload: Path) -> None:
    """Each package with a hash that the requirements pin, and each shared library with its own."""
    pinned = REQUIREMENTS.read_text()
    packages = {
        folder.name.rpartition("-")[0].removesuffix(".dist").replace("_", "-")
        for folder in payload.glob("python/lib/site-packages/*.dist-info")
    }
    named = {each["name"]: each for each in bill_of(payload)}
    by_index = [each for each in named.values() if each.get("purl", "").startswith("pkg:pypi/")]
    libraries = [
        file
        for file in payload.glob("python/lib/*.so*")
        if not file.name.startswith("libpython")  # CPython's
    ]

    assert {each["purl"][9:].partition("@")[0] for each in by_index} == {
        re.sub(r"-\d.*", "", name.lower()) for name in packages
    }
    assert all(f"sha256:{each['hashes'][0]['content']}" in pinned for each in by_index)
    assert [file for file in libraries if not has_hash(file, named[file.name])] == []
    assert named["libssl.so.3"]["purl"].startswith("pkg:")
    # The characters that a package URL may have as such.
    purls = [each["purl"] for each in named.values() if "purl" in each]
    assert [purl for purl in purls if not re.fullmatch(r"pkg:[\w.:/@%~-]+", purl)] == []


def test_the_bill_of_materials_names_what_the_wheels_bring_along(base: str, payload: Path) -> None:
    """Each library inside a wheel is part of it, with its hash, and OpenSSL with its version."""
    packages = payload / "python/lib/site-packages"
    there = {f"{file.parent.name}/{file.name}": file for file in packages.glob("*.libs/*.so*")}
    inside = {
        part["bom-ref"]: (part, whole["name"])
        for whole in bill_of(payload)
        for part in whole.get("components", [])
    }
    versions = {
        f"{whole}: {part['name'].partition('-')[0]}": part["cpe"].split(":", 5)[3:5]
        for part, whole in inside.values()
        if "version" in part and part["cpe"].split(":")[5] == part["version"]
    }
    bills = [each for whole in bill_of(payload) for each in whole.get("externalReferences", [])]

    assert set(inside) == set(there)
    assert [name for name in there if not has_hash(there[name], inside[name][0])] == []
    wheels = {whole for _, whole in inside.values()}
    assert wheels == {"psycopg-binary", *(["pydantic_core"] if base == "node:20-alpine" else [])}
    for library in ("libcrypto", "libssl"):
        assert versions[f"psycopg-binary: {library}"] == ["openssl", "openssl"]
    assert versions["psycopg-binary: libpq"] == ["postgresql", "postgresql"]
    assert versions["psycopg-binary: libkrb5"] == ["mit", "kerberos_5"]
    assert {each["url"] for each in bills} == {
        file.relative_to(payload).as_posix() for file in packages.glob("*.dist-info/sboms/*")
    }
    assert [each["url"] for each in bills if not has_hash(payload / each["url"], each)] == []


def test_a_base_gains_nothing_but_the_folder(base: str, image: str) -> None:
    """Between the image and its base lie /opt/entrypoint and no other file."""
    listing = ("-c", "find / -xdev \\( -type f -o -type l \\) | sort")
    before = set(once(base, *listing, options=["--entrypoint", "sh"]).stdout.splitlines())
    after = set(once(image, *listing, options=["--entrypoint", "sh"]).stdout.splitlines())
    gained = after - before

    assert before - after == set()
    assert len(gained) > 500
    assert {path for path in gained if not path.startswith("/opt/entrypoint/")} == set()
