"""The pages lead somewhere, and the commands and settings in them work."""

from __future__ import annotations

import ast
import re
import tomllib
from typing import TYPE_CHECKING

import pytest

from entrypoint.config import registry as services
from entrypoint.config.keys import IN_FILE
from entrypoint.errors import EntrypointError
from tests.support.docs import PAGES, Block, block, blocks, page, prose, section
from tests.support.engine import two_lines
from tests.support.manifests import ROOT
from tests.unit.test_changelog import NEWEST
from tests.unit.test_endpoints import load
from tests.unit.test_reference import EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_README_LINES = 150

LINK = re.compile(r"\]\((?!https?:|mailto:)([^()\s#]*)(?:#([^()\s]+))?\)")

COMMANDS = ("sh", "bash", "shell", "console", "sql", "toml", "dockerfile")
"""The languages of what a reader copies and runs."""

RUN = re.compile(r"<!-- run by (tests/[\w/]+\.py)::(test_\w+) -->")
NOT_RUN = re.compile(r"<!-- not run: \w.* -->")

EXAMPLES = sorted(
    f"examples/{path.parent.name}/README" for path in ROOT.glob("examples/*/README.md")
)
BLOCKS = [
    pytest.param(each, id=f"{name}-{number}")
    for name in [*PAGES, *EXAMPLES]
    for number, each in enumerate(blocks(page(name)), 1)
]


def anchors(name: str) -> set[str]:
    """What a forge makes of a page's headings."""
    heads = re.findall(r"^#+ (.*)$", prose(name), re.MULTILINE)
    words = [re.sub(r"\]\([^)]*\)", "", head).lower() for head in heads]
    slugs = [re.sub(r"[^\w\- ]", "", head).replace(" ", "-") for head in words]
    seen: dict[str, int] = {}
    for slug in slugs:
        seen[slug] = seen.get(slug, 0) + 1
    return {*slugs, *(f"{slug}-{n}" for slug, count in seen.items() for n in range(1, count))}


def links(name: str) -> Iterator[tuple[Path, str]]:
    """The file that each relative link of a page leads to, and the heading there."""
    for target, anchor in LINK.findall(re.sub(r"`[^`]*`", "", prose(name))):
        source = ROOT / f"{name}.md"
        yield (source.parent / target).resolve() if target else source, anchor


def wrong(name: str) -> Iterator[str]:
    """The links of a page that lead nowhere."""
    for path, anchor in links(name):
        if not path.exists():
            yield str(path)
        elif anchor and anchor not in anchors(str(path.relative_to(ROOT).with_suffix(""))):
            yield f"{path}#{anchor}"


def test_the_readme_is_short() -> None:
    """A page that is read whole."""
    assert len(page("README").splitlines()) <= MAX_README_LINES


@pytest.mark.parametrize("name", [*PAGES, *EXAMPLES])
def test_every_link_leads_somewhere(name: str) -> None:
    """To a file or folder of the repository, and to a heading where it names one."""
    assert [*wrong(name)] == []


def test_every_page_is_two_links_away() -> None:
    """The README leads to each page, over one other page at most."""
    found = {"README"}
    for _ in range(2):
        paths = {path for name in found for path, _ in links(name) if path.suffix == ".md"}
        found |= {str(path.relative_to(ROOT).with_suffix("")) for path in paths}
    assert found >= {*PAGES}


def test_every_page_has_one_title() -> None:
    """It begins with its only heading of the first level."""
    titles = {name: re.findall(r"^# ", prose(name), re.MULTILINE) for name in PAGES}
    assert [name for name, found in titles.items() if len(found) != 1] == []


def test_no_sentence_is_written_twice() -> None:
    """A sentence of eight words or more that people wrote stands on one page, once."""
    seen: dict[str, list[str]] = {}
    for name in PAGES:
        if name == "CHANGELOG":
            continue
        written = re.sub(r"<!-- ([\w-]+) -->.*<!-- /\1 -->", "", prose(name), flags=re.DOTALL)
        text = re.sub(r"^(\||#|<!--).*$", "\n\n", written, flags=re.MULTILINE)
        for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:-|\d+\.) )", text):
            for sentence in re.split(r"(?<=[.:?])\s", " ".join(paragraph.split())):
                if len(sentence.split()) >= 8:
                    seen.setdefault(sentence, []).append(name)
    assert {sentence: names for sentence, names in seen.items() if len(names) > 1} == {}


@pytest.mark.parametrize("found", BLOCKS)
def test_every_command_is_run_or_says_why_not(found: Block) -> None:
    """A block names its language; what a reader runs has a test, or a reason, right above it."""
    assert found.language, found.text
    named = re.findall(r"tests/\w[\w./]*", found.above)
    assert [path for path in named if not (ROOT / path).exists()] == []
    if found.language not in COMMANDS or NOT_RUN.fullmatch(found.above):
        return
    if found.language == "toml":
        return  # the next test loads it
    run = RUN.fullmatch(found.above)
    assert run, f"neither `run by` nor `not run` above:\n{found.text}"
    tree = ast.parse((ROOT / run[1]).read_text())
    assert run[2] in {each.name for each in tree.body if isinstance(each, ast.FunctionDef)}


@pytest.mark.parametrize(
    "found", [each for each in BLOCKS if getattr(each.values[0], "language", "") == "toml"]
)
def test_the_program_reads_every_toml(found: Block, tmp_path: Path) -> None:
    """Our own readers take the settings files and registries in the pages."""
    rows = tomllib.loads(found.text)
    if all(isinstance(row, dict) and "database" in row for row in rows.values()):
        (tmp_path / "services.toml").write_text(found.text)
        assert [*services.load(tmp_path / "services.toml")] == [*rows]
        return
    for pattern in rows.get("push", {}).get("inputs", []) + rows.get("seed", {}).get("inputs", []):
        path = tmp_path / pattern.replace("**", "x.ts").replace("*", "ts")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    if "services" in rows:
        registry = f"[{rows['service']}]\ndatabase = 'app'\n"
        (tmp_path / rows["services"]).write_text(registry)
    row = services.load().get(rows.get("service", ""))
    url = f"postgresql://u:pw@db/{row.database if row else 'app'}"
    load(tmp_path, found.text, PORT="8000", DATABASE_URL=url)


@pytest.mark.parametrize("name", PAGES)
def test_every_event_and_key_is_there(name: str) -> None:
    """What a page calls `noun.word`, with the noun of an event or a section, is one or a key."""
    text = NEWEST if name == "CHANGELOG" else page(name)
    events = {
        event.replace("<step>", step)
        for event, row in EVENTS.items()
        for step in row.get("of", [""])
    }
    known = {*events, *IN_FILE}
    nouns = "|".join({each.partition(".")[0] for each in known})
    found = {*re.findall(rf"(?:`|\| [\d:.]+ )((?:{nouns})\.[a-z_]+)(?=[` ])", text)}
    files = {each for each in found if each.endswith((".py", ".toml", ".yml"))}
    assert found - files - known == set()


@pytest.mark.parametrize("name", ["CONTRIBUTING", "docs/development/architecture"])
def test_every_path_is_there(name: str) -> None:
    """What the pages for contributors name exists, in the repository or in the package."""
    paths = re.findall(r"`([\w/.]+(?:/|\.py|\.toml|\.sql))`", page(name))
    roots = (ROOT, ROOT / "entrypoint", ROOT / "tests/attacks")
    assert paths
    assert [path for path in paths if not any((root / path).exists() for root in roots)] == []


def test_the_readme_s_dockerfile_is_what_the_examples_build() -> None:
    """Its two lines are those that the container tests build images from."""
    ours = block("README", "Two lines in a Dockerfile", "dockerfile").splitlines()
    assert {*two_lines("node:20-alpine").split("\n")} - {""} <= {*ours}
    copied = (ROOT / "examples/node-service/Dockerfile").read_text()
    assert [line for line in ours if "/opt/entrypoint /" in line and line not in copied] == []


def said() -> Iterator[str]:
    """Every text in the program, with … for what it fills in."""
    for path in (ROOT / "entrypoint").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.JoinedStr(values=values):
                    parts = [
                        each.value if isinstance(each, ast.Constant) else "…" for each in values
                    ]
                    yield "".join(map(str, parts))
                case ast.Constant(value=str(text)):
                    yield re.sub(r"\{\w*\}", "…", text)


@pytest.mark.parametrize("name", ["docs/how-to/troubleshoot", "docs/how-to/move-a-service"])
def test_quoted_errors_are_the_program_s(name: str) -> None:
    """Three words or more in double quotes are a part of a text in the program."""
    text = re.sub(r"`[^`]*`", "", " ".join(prose(name).split()))
    quoted = re.findall(r'"([^"]+ [^"]+ [^"]+)"', text)
    texts = "\n".join(re.sub("…+", "…", text) for text in said())
    assert quoted
    assert [each for each in quoted if each.removesuffix(": …") not in texts] == []


def test_the_lines_of_a_probe_are_the_program_s() -> None:
    """Each line in the table of the health check is one of its texts, filled in."""
    lines = re.findall(
        r"\| `(.+)` \| [01] \|", section("docs/how-to/health-checks", "The health check")
    )
    texts = [re.escape(text).replace("…", ".+") for text in said() if re.match(r"[a-z ]+: ", text)]
    assert lines
    assert [line for line in lines if not any(re.fullmatch(text, line) for text in texts)] == []


def test_every_failure_has_a_remedy() -> None:
    """The page on troubles has each event that ends something, and each exit code."""
    found = page("docs/how-to/troubleshoot")
    events = [f"{step}.failed" for step in EVENTS["<step>.failed"]["of"]]
    events += ["entrypoint.crashed", "notify.failed"]
    assert [event for event in events if f"`{event}`" not in found] == []
    codes = {str(each.exit_code) for each in EntrypointError.__subclasses__()}
    codes |= {"1", "126", "127", "128"}
    assert codes - {*re.findall(r"(?<=[ ,])\d+\b", found)} == set()
