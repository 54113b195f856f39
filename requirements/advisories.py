"""Compares the pins in requirements/*.txt with advisories.toml, without a network.

``advisories.py`` prints each pin that has a known vulnerability, or that nobody has looked up, with
the remedy, and ends with exit code 1 if there is one. ``advisories.py CHECKOUT`` first copies the
advisories about the pinned packages from a checkout of github.com/pypa/advisory-database, and
records that somebody has looked up today's pins.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import yaml
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

HERE: Final = Path(__file__).parent
LIST: Final = HERE / "advisories.toml"
SUMMARY_LENGTH: Final = 150

HEADER: Final = """\
# The known vulnerabilities of the pinned packages, which `make test` reads without a network.
# requirements/advisories.py copies them from the PyPI Advisory Database (CC BY 4.0), and keeps what
# people add by hand. `make audit` asks the network, which knows newer ones.
# `by_hand` says which packages somebody looked up elsewhere, and when. A newer database clears it.
"""

UPGRADE: Final = "  raise the pin: make requirements ARGS='--upgrade-package {}'"
LOOK: Final = """\
  look them up, and write that down:
    git clone --depth=1 https://github.com/pypa/advisory-database .cache/advisory-database
    .venv/bin/python requirements/advisories.py .cache/advisory-database
    make audit"""

Advisory = dict[str, Any]
Pin = tuple[str, str]


def pins() -> list[Pin]:
    """The name and the version of every pin, once."""
    found = set()
    for file in sorted(HERE.glob("*.txt")):
        found.update(re.findall(r"^([\w.-]+)==([^\s;\\]+)", file.read_text(), re.MULTILINE))
    return sorted(found)


def problems(known: dict[str, Any], pinned: Iterable[Pin]) -> Iterator[str]:
    """The vulnerable pins and those that nobody has looked up, as lines with their remedies."""
    unknown = []
    for name, version in pinned:
        found = [each for each in known["advisory"] if affects(each, name, version)]
        for each in found:
            ids = ", ".join([each["id"], *each["aliases"]])
            yield f"{name}=={version} is vulnerable ({ids}): {each['summary']}"
        if found:
            yield UPGRADE.format(name)
        if f"{name}=={version}" not in known["looked_up"]:
            unknown.append(f"{name}=={version}: nobody has looked up its advisories")
    if unknown:
        yield from unknown
        yield LOOK


def affects(advisory: Advisory, name: str, version: str) -> bool:
    """Whether a version of a package is among those that an advisory is about."""
    return advisory["package"] == name and any(
        SpecifierSet(affected).contains(version, prereleases=True)
        for affected in advisory["affected"]
    )


def merged(known: dict[str, Any], checkout: Path, pinned: list[Pin]) -> dict[str, Any]:
    """The known advisories with those of a checkout, which replace them one by one.

    Raises `SystemExit` if the folder is not a checkout of the database.
    """
    if not (checkout / "vulns").is_dir():
        raise SystemExit(f"{checkout} is not a checkout of github.com/pypa/advisory-database")
    commit = ["git", "-C", str(checkout), "log", "-1", "--format=%cs"]
    date = subprocess.run(commit, check=True, capture_output=True, text=True).stdout.strip()
    new = [each for name in sorted({name for name, _ in pinned}) for each in read(checkout, name)]
    names = {(each["package"], word) for each in new for word in (each["id"], *each["aliases"])}
    kept = [
        each
        for each in known["advisory"]
        if not any((each["package"], word) in names for word in (each["id"], *each["aliases"]))
    ]
    return {
        "database": date,
        "by_hand": known["by_hand"] if date <= known["database"] else "",
        "looked_up": [f"{name}=={version}" for name, version in pinned],
        "advisory": sorted([*new, *kept], key=lambda each: (each["package"], each["id"])),
    }


def read(checkout: Path, name: str) -> Iterator[Advisory]:
    """The database's advisories about a package, without withdrawn ones."""
    for file in sorted((checkout / "vulns" / name).glob("*.yaml")):
        record = yaml.safe_load(file.read_text())
        about = [
            each
            for each in record["affected"]
            if canonicalize_name(each["package"]["name"]) == name
        ]
        if about and not record.get("withdrawn"):
            text = " ".join((record.get("summary") or record["details"]).split())
            yield {
                "package": name,
                "id": record["id"],
                "aliases": record.get("aliases", []),
                "affected": [words for each in about for words in specifiers(each)],
                "summary": text if len(text) <= SUMMARY_LENGTH else f"{text[:SUMMARY_LENGTH]}…",
            }


def specifiers(affected: dict[str, Any]) -> Iterator[str]:
    """The affected versions as pip writes them; an empty one means every version."""
    ranges = [each for each in affected.get("ranges", []) if each["type"] == "ECOSYSTEM"]
    for each in ranges:
        start = None
        for event in each["events"]:
            if "introduced" in event:
                if start is not None:
                    yield start
                start = "" if event["introduced"] == "0" else f">={event['introduced']}"
            else:
                end = f"<{event['fixed']}" if "fixed" in event else f"<={event['last_affected']}"
                yield f"{start},{end}".removeprefix(",")
                start = None
        if start is not None:
            yield start
    if not ranges:
        yield from (f"=={version}" for version in affected.get("versions", []))


def written(known: dict[str, Any]) -> str:
    """The list as TOML, one pin and one key a line, so that a diff reads well."""
    lines = [HEADER, f"database = {quoted(known['database'])} # the date of its last commit"]
    lines += [f"by_hand = {quoted(known['by_hand'])}", ""]
    lines += ["looked_up = [", *(f"    {quoted(pin)}," for pin in known["looked_up"]), "]"]
    for each in known["advisory"]:
        lines += ["", "[[advisory]]", *(f"{key} = {quoted(value)}" for key, value in each.items())]
    return "\n".join(lines) + "\n"


def quoted(value: str | list[str]) -> str:
    """A string, or a list of strings, in TOML."""
    return json.dumps(value, ensure_ascii=False)


def main() -> None:
    """Merge a checkout, if the command line names one, and compare."""
    known = tomllib.loads(LIST.read_text())
    if len(sys.argv) > 1:
        known = merged(known, Path(sys.argv[1]), pins())
        LIST.write_text(written(known))
    found = list(problems(known, pins()))
    if found:
        raise SystemExit("\n".join(found))


if __name__ == "__main__":
    main()
