"""Copies the libraries that a folder of ELF files links to, so that it needs nothing but libc.

Runs in the image's build, on glibc and on musl.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LIBC: Final = re.compile(
    r"ld-linux\S*|ld-musl\S*|libc\.musl\S*|libc\.so(\.6)?"
    r"|lib(m|pthread|dl|rt|util|resolv|anl|nsl)\.so\.\d|linux-vdso\S*"
)
"""The names of libc's own files, which every base image has and which must be the base image's."""


def complete(folder: Path, library: Path, patchelf: str) -> dict[Path, Path]:
    """Copy the libraries that the ELF files under `folder` need to `library`, and set search paths.

    The paths are relative to each file. On glibc they come before the service's LD_LIBRARY_PATH: an
    RPATH does, a RUNPATH does not. On musl nothing comes before LD_LIBRARY_PATH.
    Returns each copy with its original.
    Raises `SystemExit` with every file that would still lack a library.
    """
    copies = {}
    waiting = list(elf_files(folder))
    while waiting:
        file = waiting.pop()
        for name, path in _links(file).items():
            if not LIBC.fullmatch(name) and not path.is_relative_to(folder):
                copy = library / name
                if not copy.exists():
                    copies[copy] = path.resolve()
                    shutil.copy2(copies[copy], copy)
                    copy.chmod(0o755)
                    waiting.append(copy)
    lacking = [
        f"{file} needs {name}"
        for file in elf_files(folder)
        for name in _place(file, library, patchelf)
    ]
    if lacking:
        raise SystemExit("\n".join(lacking))
    return copies


def elf_files(folder: Path) -> Iterator[Path]:
    """Every ELF file under a folder, once, in a fixed order."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.is_symlink():
            with file.open("rb") as opened:
                if opened.read(4) == b"\x7fELF":
                    yield file


def _links(file: Path) -> dict[str, Path]:
    """The libraries that this image's loader finds for a file, also indirectly, by name."""
    # musl's ldd also complains about the interpreter's own symbols, which no extension links to.
    output = subprocess.run(["ldd", file], capture_output=True, text=True, check=False).stdout
    found = re.findall(r"^\s*(\S+) => (/\S+)", output, re.MULTILINE)
    return {name: Path(path) for name, path in found}


def _place(file: Path, library: Path, patchelf: str) -> Iterator[str]:
    """Add `library` to a file's search path if the file needs it; returns what is found nowhere."""
    needed = [name for name in _ask(patchelf, "--print-needed", file) if not LIBC.fullmatch(name)]
    rpath = [place for line in _ask(patchelf, "--print-rpath", file) for place in line.split(":")]
    places = [Path(place.replace("$ORIGIN", str(file.parent))) for place in rpath]
    missing = [name for name in needed if not any((place / name).exists() for place in places)]
    if needed:
        ours = f"$ORIGIN/{os.path.relpath(library, file.parent)}"
        changed = ":".join([*rpath, *([ours] if missing else [])])
        _ask(patchelf, "--force-rpath", "--set-rpath", changed, file)
    return (name for name in missing if not (library / name).exists())


def _ask(patchelf: str, *arguments: str | Path) -> list[str]:
    done = subprocess.run([patchelf, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.split()
