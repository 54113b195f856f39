"""The pins have no known vulnerability, as far as the list knows that the repository ships."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOME = ["-c", "user.name=Some", "-c", "user.email=some@example.org"]
NEW = """
id: PYSEC-2027-1
aliases: [CVE-2027-1]
summary: structlog logs what it should not.
affected:
- package: {name: Structlog, ecosystem: PyPI}
  ranges:
  - {type: GIT, events: [{introduced: "0"}]}
  - type: ECOSYSTEM
    events: [{introduced: "0"}, {fixed: 20.1.0}, {introduced: 26.0.0}, {last_affected: 26.1.0}]
"""


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    """A copy of the pins, the list and the script, to be changed."""
    return Path(shutil.copytree(ROOT / "requirements", tmp_path / "requirements"))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A checkout of a database that knows one package of ours, and one of others."""
    folder = tmp_path / "advisory-database"
    for name in ("structlog", "django"):
        (folder / "vulns" / name).mkdir(parents=True)
        (folder / "vulns" / name / "PYSEC-2027-1.yaml").write_text(NEW)
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    for words in (["add", "."], [*SOME, "commit", "--quiet", "--message=All"]):
        subprocess.run(["git", "-C", folder, *words], check=True)
    return folder


def compare(requirements: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the script that stands beside the pins."""
    argv = [sys.executable, requirements / "advisories.py", *words]
    return subprocess.run(argv, check=False, capture_output=True, text=True)


def pin(requirements: Path, name: str, version: str, *, looked_up: bool = True) -> None:
    """Change a pin wherever it stands, and the list as if somebody had looked it up."""
    changed = 0
    for file in [*requirements.glob("*.txt"), *[requirements / "advisories.toml"] * looked_up]:
        lines = file.read_text().splitlines()
        ours = [
            index for index, line in enumerate(lines) if line.strip(' "').startswith(f"{name}==")
        ]
        changed += len(ours)
        for index in ours:
            before, _, after = lines[index].partition("==")
            lines[index] = f"{before}=={version}{after.lstrip('0123456789.')}"
        file.write_text("\n".join(lines) + "\n")
    assert changed


def test_no_pin_has_a_known_vulnerability() -> None:
    """Somebody looked up every pin, and none is affected by what the list knows."""
    done = compare(ROOT / "requirements")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("name", "version", "advisory"),
    [
        ("urllib3", "2.6.2", "PYSEC-2026-1996, CVE-2026-21441, GHSA-38jv-5279-wg99"),
        ("pygments", "2.19.2", "PYSEC-2026-2987"),
        ("idna", "3.6", "PYSEC-2024-60"),
        ("pydantic", "2.3.0", "PYSEC-2026-1812"),
        ("pyyaml", "5.3.1", "PYSEC-2021-142"),
    ],
)
def test_an_old_pin_is_found(requirements: Path, name: str, version: str, advisory: str) -> None:
    """A vulnerable version fails the check, with the ids and the command that raises the pin."""
    pin(requirements, name, version)

    done = compare(requirements)

    assert done.returncode == 1
    assert f"{name}=={version} is vulnerable ({advisory}" in done.stderr
    assert f"make requirements ARGS='--upgrade-package {name}'" in done.stderr
    assert "nobody has looked up" not in done.stderr


def test_a_pin_that_nobody_looked_up_is_found(requirements: Path) -> None:
    """A new version may have new vulnerabilities: it fails until somebody looks."""
    pin(requirements, "rich", "99.0.0", looked_up=False)

    done = compare(requirements)

    assert done.returncode == 1
    assert done.stderr.startswith("rich==99.0.0: nobody has looked up its advisories\n")
    assert "requirements/advisories.py .cache/advisory-database\n" in done.stderr


def test_looking_it_up_is_the_remedy(requirements: Path, database: Path) -> None:
    """What the database says is taken over, what was known stays, and the pin counts as seen."""
    pin(requirements, "rich", "99.0.0", looked_up=False)
    before = (requirements / "advisories.toml").read_text().split("[[advisory]]\n")[1:]

    looked = compare(requirements, database)
    again = compare(requirements)

    found = "structlog==26.1.0 is vulnerable (PYSEC-2027-1, CVE-2027-1): structlog logs what it"
    after = (requirements / "advisories.toml").read_text().split("[[advisory]]\n")[1:]
    assert looked.stderr == again.stderr
    assert again.stderr.startswith(found)
    assert "rich" not in again.stderr
    gained = {entry.strip() for entry in after} - {entry.strip() for entry in before}
    assert len(after) == len(before) + 1
    assert [entry for entry in gained if 'affected = ["<20.1.0", ">=26.0.0,<=26.1.0"]' in entry]


def test_what_the_database_withdraws_is_no_vulnerability(
    requirements: Path, database: Path
) -> None:
    """A record that its authors took back fails nobody's build."""
    record = database / "vulns/structlog/PYSEC-2027-1.yaml"
    record.write_text(f"{NEW}withdrawn: '2027-02-01T00:00:00Z'\n")

    assert compare(requirements, database).returncode == 0


def test_another_folder_is_not_taken_for_the_database(requirements: Path, tmp_path: Path) -> None:
    """A wrong argument changes nothing: an empty look is no look."""
    before = (requirements / "advisories.toml").read_text()

    done = compare(requirements, tmp_path)

    assert done.returncode == 1
    assert "is not a checkout of github.com/pypa/advisory-database" in done.stderr
    assert (requirements / "advisories.toml").read_text() == before


def test_the_network_is_asked_about_every_pin() -> None:
    """`make audit` reads all three files, and fails on a package that it gets no answer for."""
    words = ["make", "--dry-run", "audit"]
    told = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    files = {f"-r requirements/{file.name}" for file in (ROOT / "requirements").glob("*.txt")}

    assert len(files) == 3
    assert {file for file in files if file not in told} == set()
    assert "--strict" in told
