"""Writes the payload's bill of materials as CycloneDX JSON: each part, its origin and its hash."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import bundled

Component = dict[str, Any]


def write(
    file: Path, source: Path, packages: Path, report: Path, libraries: dict[Path, Path]
) -> None:
    """Write the bill to `file`.

    `report` is pip's own, with the hashes that pip compared to the requirements; the build may have
    removed some of its packages from `packages`. `libraries` has each copied library's original.
    """
    installed = [
        each
        for each in json.loads(report.read_text())["install"]
        if list(packages.glob(f"{_normal(each['metadata']['name'], '_')}-*.dist-info"))
    ]
    components = [_interpreter(), *(_package(each, packages) for each in installed)]
    components += [_library(copy, origin) for copy, origin in sorted(libraries.items())]
    ours = _ours(source)
    moment = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), UTC)
    bill: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"timestamp": moment.isoformat(), "component": ours},
        "components": components,
        "dependencies": [
            {"ref": ours["bom-ref"], "dependsOn": [each["bom-ref"] for each in components]}
        ],
    }
    # The serial number is a hash of the bill, so that the same payload has the same bill.
    serial = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(bill, sort_keys=True))
    bill["serialNumber"] = serial.urn
    file.write_text(json.dumps(bill, indent=1) + "\n")


def _ours(source: Path) -> Component:
    text = (source / "entrypoint" / "__init__.py").read_text()
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if found is None:
        raise SystemExit("entrypoint/__init__.py names no version")
    return {
        "type": "application",
        "bom-ref": "entrypoint",
        "name": "entrypoint",
        "version": found[1],
        "licenses": [{"expression": "MIT"}],
    }


def _interpreter() -> Component:
    return {
        "type": "platform",
        "bom-ref": "cpython",
        "name": "cpython",
        "version": platform.python_version(),
        "cpe": f"cpe:2.3:a:python:python:{platform.python_version()}:*:*:*:*:*:*:*",
        "licenses": [{"expression": "Python-2.0"}],
    }


def _package(installed: dict[str, Any], packages: Path) -> Component:
    metadata = installed["metadata"]
    purl = f"pkg:pypi/{_normal(metadata['name'], '-')}@{_encoded(metadata['version'])}"
    hashes = installed["download_info"]["archive_info"]["hashes"]
    component: Component = {
        "type": "library",
        "bom-ref": purl,
        "name": metadata["name"],
        "version": metadata["version"],
        "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": hashes["sha256"]}],
    }
    expression, text = metadata.get("license_expression"), metadata.get("license", "")
    if expression:
        component["licenses"] = [{"expression": expression}]
    elif text and "\n" not in text:
        component["licenses"] = [{"license": {"name": text}}]
    folder = _normal(metadata["name"], "_")
    inside = {
        "components": bundled.libraries(packages / f"{folder}.libs"),
        "externalReferences": bundled.bills(packages, folder),
    }
    return component | {key: found for key, found in inside.items() if found}


def _normal(name: str, joint: str) -> str:
    """A package's name in lower case: with `-` as an index has it, with `_` as its folder."""
    return re.sub(r"[-_.]+", joint, name).lower()


def _library(copy: Path, origin: Path) -> Component:
    owner = _owner(origin)
    component: Component = {
        "type": "library",
        "bom-ref": copy.name,
        "name": copy.name,
        "hashes": [bundled.digest(copy)],
        # The copy has a search path of ours; the distribution has signed the original.
        "properties": [
            {"name": "entrypoint:original:SHA-256", "value": bundled.digest(origin)["content"]}
        ],
    }
    if owner:
        package, version = owner
        component |= {"version": version, "purl": f"{package}@{_encoded(version)}"}
    return component


def _encoded(version: str) -> str:
    """A version in the form of a package URL."""
    return quote(version, safe=":")


def _owner(file: Path) -> tuple[str, str] | None:
    """The package URL and the version of the distribution's package that a file is from, if any."""
    if shutil.which("dpkg-query"):
        # Debian's packages name their files as they were before /usr was merged, or after.
        for path in (file, Path("/", *file.parts[2:])):
            name = _output("dpkg-query", "--search", str(path)).partition(": ")[0].strip()
            if name:
                version = _output("dpkg-query", "--show", "--showformat=${Version}", name)
                return f"pkg:deb/debian/{_encoded(name.partition(':')[0])}", version
    if shutil.which("apk"):
        found = re.search(
            r" is owned by (\S+)-(\d\S*-r\d+)", _output("apk", "info", "-W", str(file))
        )
        if found:
            return f"pkg:apk/alpine/{_encoded(found[1])}", found[2]
    return None


def _output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout
