"""A fingerprint changes with the words and the files of a command, and with nothing else."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from entrypoint.fingerprint import InputsError, fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILES = {
    "push.js": b"push",
    "drizzle.config.ts": b"config",
    ".env": b"hidden",
    "src/schema/a.ts": b"a",
    "src/schema/b.ts": b"b",
    "src/schema/.hidden.ts": b"h",
    "src/schema/deep/er/c.ts": b"c",
    "src/schema/.d/d.ts": b"d",
    "src/schema.ts": b"s",
    "src/[id].ts": b"i",
    "src/i.ts": b"other",
    "binary": bytes(range(256)) * 2000,
    "empty": b"",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with the files of `FILES`."""
    root = tmp_path / "app"
    for name, content in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def of(tree: Path, *patterns: str) -> str:
    return fingerprint(["node", "push.js"], patterns, str(tree))


def matched(tree: Path, *patterns: str) -> set[str]:
    """The files that count for patterns: those whose change changes the fingerprint."""
    before = of(tree, *patterns)
    found = set()
    for path in sorted(tree.rglob("*")):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            path.write_bytes(content + b"!")
            if of(tree, *patterns) != before:
                found.add(str(path.relative_to(tree)))
            path.write_bytes(content)
    assert of(tree, *patterns) == before
    return found


SCHEMA = {"src/schema/a.ts", "src/schema/b.ts", "src/schema/.hidden.ts"}
BELOW = SCHEMA | {"src/schema/deep/er/c.ts", "src/schema/.d/d.ts"}

PATTERNS = [
    (["push.js"], {"push.js"}),
    (["./push.js"], {"push.js"}),
    (["src//schema/./a.ts"], {"src/schema/a.ts"}),
    (["*.js"], {"push.js"}),
    (["drizzle.config.*"], {"drizzle.config.ts"}),
    (["*"], {"push.js", "drizzle.config.ts", ".env", "binary", "empty"}),
    (["src/*"], {"src/schema.ts", "src/[id].ts", "src/i.ts"}),
    (["src/schema/*.ts"], SCHEMA),
    (["src/*/*.ts"], SCHEMA),
    (["*/*/a.ts"], {"src/schema/a.ts"}),
    (["src/schema/**"], BELOW),
    (["src/schema"], BELOW),
    (["src/schema/"], BELOW),
    (["./src/schema"], BELOW),
    (["src/schema/**/*.ts"], BELOW),
    (["**/schema/**"], BELOW),
    (["**/schema"], BELOW),
    (["src/**/schema/**"], BELOW),
    (["**/c.ts"], {"src/schema/deep/er/c.ts"}),
    (["**/er/*"], {"src/schema/deep/er/c.ts"}),
    (["**/push.js"], {"push.js"}),
    (["**/**/push.js"], {"push.js"}),
    (["push.js/**"], {"push.js"}),
    (["**/deep/**/c.ts"], {"src/schema/deep/er/c.ts"}),
    (["**/*.js"], {"push.js"}),
    (["**"], set(FILES)),
    (["."], set(FILES)),
    (["./"], set(FILES)),
    (["src/schema/[ab].ts"], {"src/schema/a.ts", "src/schema/b.ts"}),
    (["src/schema/[!a].ts"], {"src/schema/b.ts"}),
    (["src/schema/?.ts"], {"src/schema/a.ts", "src/schema/b.ts"}),
    (["src/[id].ts"], {"src/[id].ts", "src/i.ts"}),
    (["src/[[]id].ts"], {"src/[id].ts"}),
    ([".*"], {".env"}),
    (["push.js", "src/schema/a.ts", "push.js"], {"push.js", "src/schema/a.ts"}),
    (["binary", "empty"], {"binary", "empty"}),
    ([], set()),
]


@pytest.mark.parametrize(
    ("patterns", "files"), PATTERNS, ids=[" ".join(patterns) for patterns, _ in PATTERNS]
)
def test_patterns(tree: Path, patterns: list[str], files: set[str]) -> None:
    """Exactly the files that a pattern means count."""
    assert matched(tree, *patterns) == files


@pytest.mark.parametrize(
    "pattern",
    [
        "missing.js",
        "*.py",
        "src/*.js",
        "missing/**",
        "**/missing",
        "*/push.js",
        "src/schema/**/x.ts",
        "PUSH.JS",
        "*.{js,ts}",
        "",
        "a\0b",
        "empty-folder",
        "empty-folder/**",
        "push.js/x",
    ],
)
def test_pattern_without_a_file(tree: Path, pattern: str) -> None:
    """A pattern that matches no file is an error that names it, whatever the others match."""
    (tree / "empty-folder").mkdir()
    with pytest.raises(InputsError) as caught:
        of(tree, "push.js", pattern)
    assert str(caught.value) == f"{pattern!r} matches no file"


@pytest.mark.parametrize(
    "pattern", ["../x", "..", "src/../push.js", "**/../../x", "/etc/passwd", "/", "//x", "/**"]
)
def test_pattern_out_of_the_tree(tree: Path, pattern: str) -> None:
    """A pattern that leaves the tree, or could, is an error that says so."""
    (tree.parent / "x").write_bytes(b"outside")
    with pytest.raises(InputsError, match="is not a path below the working directory"):
        of(tree, pattern)


COMMANDS = [
    [],
    [""],
    ["", ""],
    ["abc"],
    ["ab", "c"],
    ["a", "bc"],
    ["a", "b", "c"],
    ["abc", ""],
    ["", "abc"],
    ["ABC"],
    ["abc\n"],
    ["äbc"],
    ["a\udcffbc"],
    ["1:a", "bc"],
    ["push.js", "push"],
]


def test_command_counts() -> None:
    """Commands that differ in a word, or only in where a word ends, have their own fingerprints."""
    found = {fingerprint(command, [], ".") for command in COMMANDS}
    assert len(found) == len(COMMANDS)
    assert all(len(each) == 64 for each in found)


def test_words_are_not_files(tree: Path) -> None:
    """A file's name and content are not taken for two more words."""
    with_file = fingerprint(["x"], ["empty"], str(tree))
    assert with_file != fingerprint(["x", "empty", ""], [], str(tree))
    assert with_file != fingerprint(["x"], [], str(tree))


def rename(tree: Path) -> None:
    (tree / "src/schema/a.ts").rename(tree / "src/schema/z.ts")


def move(tree: Path) -> None:
    (tree / "src/schema/a.ts").rename(tree / "src/schema/deep/a.ts")


def swap(tree: Path) -> None:
    (tree / "src/schema/a.ts").write_bytes(b"b")
    (tree / "src/schema/b.ts").write_bytes(b"a")


def shift(tree: Path) -> None:
    (tree / "src/schema/a.ts").write_bytes(b"")
    (tree / "src/schema/b.ts").write_bytes(b"ab")


def link(tree: Path) -> None:
    (tree / "src/schema/z.ts").symlink_to("a.ts")


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda tree: (tree / "src/schema/a.ts").write_bytes(b"A"),
    "content emptied": lambda tree: (tree / "src/schema/a.ts").write_bytes(b""),
    "newline": lambda tree: (tree / "src/schema/a.ts").write_bytes(b"a\n"),
    "line ends": lambda tree: (tree / "src/schema/a.ts").write_bytes(b"a\r\n"),
    "hidden file": lambda tree: (tree / "src/schema/.d/d.ts").write_bytes(b"D"),
    "name": rename,
    "folder": move,
    "contents swapped": swap,
    "contents shifted": shift,
    "file added": lambda tree: (tree / "src/schema/new.ts").write_bytes(b"n"),
    "empty file added": lambda tree: (tree / "src/schema/new.ts").touch(),
    "file removed": lambda tree: (tree / "src/schema/b.ts").unlink(),
    "folder removed": lambda tree: shutil.rmtree(tree / "src/schema/deep"),
    "link added": link,
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_with_the_files(tree: Path, name: str) -> None:
    """Every change of the files changes the fingerprint."""
    before = of(tree, "src/schema/**")
    CHANGES[name](tree)
    assert of(tree, "src/schema/**") != before


SAME: dict[str, Callable[[Path], object]] = {
    "time": lambda tree: os.utime(tree / "src/schema/a.ts", (1, 1)),
    "same content": lambda tree: (tree / "src/schema/a.ts").write_bytes(b"a"),
    "mode": lambda tree: (tree / "src/schema/a.ts").chmod(0o700),
    "empty folder": lambda tree: (tree / "src/schema/nothing").mkdir(),
    "other file": lambda tree: (tree / "src/new.ts").write_bytes(b"n"),
    "similar folder": lambda tree: shutil.copytree(tree / "src/schema", tree / "src/schema2"),
}


@pytest.mark.parametrize("name", SAME)
def test_stays_with_everything_else(tree: Path, name: str) -> None:
    """What is neither a name nor a content leaves the fingerprint as it is."""
    before = of(tree, "src/schema/**")
    SAME[name](tree)
    assert of(tree, "src/schema/**") == before


def test_large_files_count_to_their_end(tree: Path) -> None:
    """The last byte of a file of megabytes counts."""
    (tree / "large").write_bytes(b"x" * 3_000_000)
    before = of(tree, "large")
    (tree / "large").write_bytes(b"x" * 2_999_999 + b"y")
    assert of(tree, "large") != before


@pytest.mark.parametrize("size", [10, 300_000, 900_000])
def test_which_digest_does_not_matter(
    tree: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Python's own SHA-256 and that of OpenSSL, which large inputs get, are the same."""
    for name in "ab":
        (tree / name).write_bytes(name.encode() * size)
    found = of(tree, "a", "b", "src")
    for module in ("_sha2", "_sha256"):
        monkeypatch.setitem(sys.modules, module, None)
    assert of(tree, "a", "b", "src") == found


def test_order_of_patterns_does_not_matter(tree: Path) -> None:
    """Patterns in another order, twice, or written otherwise, mean the same files."""
    before = of(tree, "push.js", "src/schema/**")
    assert of(tree, "src/schema/**", "push.js") == before
    assert of(tree, "src/schema/**", "push.js", "*.js", "src/schema/a.ts") == before
    assert of(tree, "./src//schema", "./push.js") == before


def test_order_of_listing_does_not_matter(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that lists its folders in another order gives the same fingerprint."""
    (tree / "src/schema/link").symlink_to("deep")
    (tree / "src/schema/a-link").symlink_to("deep")
    before = of(tree, "**"), of(tree, "*/*/*/**"), of(tree, "**/*.ts")
    list_sorted = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: sorted(list_sorted(path), reverse=True))
    assert (of(tree, "**"), of(tree, "*/*/*/**"), of(tree, "**/*.ts")) == before


def test_place_of_the_tree_does_not_matter(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy elsewhere, a relative path, and a link to the tree give the same fingerprint."""
    (tree / "inside").symlink_to(tree / "src")
    (tree / "relative").symlink_to("src/schema")
    before = of(tree, "**")
    (tmp_path / "link").symlink_to(tree)
    assert of(tmp_path / "link", "**") == before
    monkeypatch.chdir(tree)
    assert of(Path(), "**") == before
    monkeypatch.chdir(tree / "src")
    assert of(Path(".."), "**") == before
    tree.rename(tmp_path / "moved")
    moved = tmp_path / "moved"
    (moved / "inside").unlink()
    (moved / "inside").symlink_to(moved / "src")
    assert of(moved, "**") == before


def test_link_to_a_file_inside_is_followed(tree: Path) -> None:
    """What such a link leads to counts, under the link's name, over several links."""
    (tree / "one").symlink_to("two")
    (tree / "two").symlink_to(tree / "src" / "schema.ts")
    assert matched(tree, "one") == {"src/schema.ts"}
    assert of(tree, "one") != of(tree, "two")


def test_link_to_a_folder_inside_is_followed(tree: Path) -> None:
    """The files below such a link count, through whichever pattern."""
    (tree / "linked").symlink_to("src/schema")
    for pattern in ("linked", "linked/**", "linked/**/*.ts", "link*/**", "**/linked/**"):
        assert matched(tree, pattern) == BELOW, pattern
    assert matched(tree, "linked/*.ts") == SCHEMA
    assert matched(tree, "linked/a.ts") == {"src/schema/a.ts"}


@pytest.mark.parametrize("pattern", ["linked/**", "linked/*.ts", "**", "*nk*/**/*.ts"])
def test_where_a_link_leads_does_not_count(tree: Path, pattern: str) -> None:
    """Two links are alike if what they lead to is: the target's name is nobody's input."""
    (tree / "other").mkdir()
    moved = tree / "linked/a.ts", tree / "linked/e.ts"
    (tree / "linked").symlink_to("src/schema")
    shutil.copytree(tree / "src/schema", tree.parent / "elsewhere/schema")
    (tree / "src/schema/link").symlink_to("deep/er")
    (tree.parent / "elsewhere/schema/link").symlink_to("deep/er")
    before = reaching(tree, pattern)
    (tree / "linked").unlink()
    (tree / "linked").symlink_to(tree.parent / "elsewhere/schema")
    assert reaching(tree, pattern) == before
    moved[0].rename(moved[1])
    assert reaching(tree, pattern) != before


def reaching(tree: Path, *patterns: str) -> str:
    """A fingerprint whose links may lead to the folder above the tree."""
    return fingerprint(["node", "push.js"], patterns, str(tree), "..")


def pod(folder: Path, stamp: str, files: dict[str, str]) -> Path:
    """A ConfigMap's volume as the kubelet writes it."""
    data = folder / f"schema/..{stamp}"
    data.mkdir(parents=True)
    for name, content in files.items():
        (data / name).parent.mkdir(exist_ok=True)
        (data / name).write_text(content)
        top = name.partition("/")[0]
        if not (folder / "schema" / top).is_symlink():
            (folder / "schema" / top).symlink_to(f"..data/{top}")
    (folder / "schema/..data").symlink_to(f"..{stamp}")
    return folder


@pytest.mark.parametrize("pattern", ["schema/**", "schema", "schema/*", "**/*.sql", "**"])
def test_a_config_map_in_two_pods(tmp_path: Path, pattern: str) -> None:
    """Equal content gives one fingerprint, however the kubelet named its folder; other, another."""
    made = {"schema.sql": "one", "more/types.sql": "two"}
    one = pod(tmp_path / "one", "2026_11_29_08_15_00.2184671102", made)
    two = pod(tmp_path / "two", "2026_11_29_11_59_59.77", made)
    (two / "schema/..2026_11_29_08_00_00.1").mkdir()
    (two / "schema/..2026_11_29_08_00_00.1/old.sql").write_text("left by a crash")
    (two / "schema/..data_tmp").symlink_to("..2026_11_29_08_00_00.1")
    three = pod(tmp_path / "three", "2026_11_29_08_15_00.3", {**made, "schema.sql": "three"})
    assert of(one, pattern) == of(two, pattern)
    assert of(one, pattern) != of(three, pattern)


@pytest.mark.parametrize("pattern", ["link", "*nk", "**", "li*/**", "link/**", "**/li*/**"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_link_to_outside_is_refused(tree: Path, kind: str, pattern: str) -> None:
    """A link that leaves the tree is named with its target, unless a root that has it is named."""
    outside = tree.parent / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"x")
    target = f"../outside/{kind}" if kind == "file" else "../outside"
    (tree / "link").symlink_to(target)
    if (kind, pattern) == ("folder", "*nk"):
        with pytest.raises(InputsError, match="matches no file"):  # as of a folder in its place
            of(tree, pattern)
        return
    with pytest.raises(InputsError) as caught:
        of(tree, pattern)
    assert caught.value.problems == [
        (
            f"the link 'link' points to '{target}', outside the working directory: set "
            f"inputs_root to its folder, such as '{outside}'"
        )
    ]
    for root in (str(outside), "../outside", "..", "/"):
        before = fingerprint([], [pattern], str(tree), root)
        (outside / "file").write_bytes(os.urandom(8))
        assert fingerprint([], [pattern], str(tree), root) != before
    with pytest.raises(InputsError, match="outside the working directory and inputs_root"):
        fingerprint([], [pattern], str(tree), "src")


def test_a_root_that_is_no_folder(tree: Path) -> None:
    """A misspelt root is an error that names it."""
    for root in ("push.js", "missing"):
        with pytest.raises(InputsError, match=f"the inputs_root '{root}' is not a folder"):
            fingerprint([], ["src"], str(tree), root)


@pytest.mark.parametrize("pattern", ["link/file", "link/*", "link/folder/**", "*/folder/file"])
def test_pattern_through_a_link_to_outside(tree: Path, pattern: str) -> None:
    """A pattern does not reach through a link that leaves the tree."""
    outside = tree.parent / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "file").write_bytes(b"x")
    (outside / "folder/file").write_bytes(b"x")
    (tree / "link").symlink_to(outside)
    with pytest.raises(InputsError, match="the link 'link' points to '/"):
        of(tree, pattern)
    assert len(reaching(tree, pattern)) == 64


def test_sibling_with_a_longer_name_is_outside(tree: Path) -> None:
    """A folder beside the tree whose name begins as the tree's is not in it."""
    beside = tree.with_name(f"{tree.name}-2")
    beside.mkdir()
    (beside / "file").write_bytes(b"x")
    (tree / "link").symlink_to(beside / "file")
    with pytest.raises(InputsError, match="outside the working directory"):
        of(tree, "link")


@pytest.mark.parametrize("pattern", ["src/gone.ts", "src/*.ts", "src/**", "**/*.ts"])
@pytest.mark.parametrize("target", ["nowhere.ts", "gone.ts", "i.ts/x", "/no/such/file"])
def test_link_to_nowhere_is_refused(tree: Path, target: str, pattern: str) -> None:
    """What was to be read is not there: the link is named with its target."""
    (tree / "src/gone.ts").symlink_to(target)
    with pytest.raises(InputsError) as caught:
        of(tree, pattern)
    assert caught.value.problems == [
        (
            f"the link 'src/gone.ts' points to {target!r}, which does not exist: remove the link, "
            "or name inputs without it"
        )
    ]


def test_a_link_that_no_pattern_means_is_nobody_s(tree: Path) -> None:
    """Neither a lost link nor one to outside speaks against patterns for other files."""
    before = of(tree, "**/*.ts")
    (tree / "src/gone.js").symlink_to("nowhere")
    (tree / "src/out.js").symlink_to("/etc/passwd")
    (tree / "src/out").symlink_to("/etc/passwd")
    assert of(tree, "**/*.ts") == before


def test_every_problem_is_told_at_once(tree: Path) -> None:
    """Patterns without a file, patterns that leave the tree and lost links: all in one error."""
    (tree / "src/gone.ts").symlink_to("nowhere")
    with pytest.raises(InputsError) as caught:
        of(tree, "missing.js", "push.js", "../x", "src/**", "*.py", "src/*.ts")
    assert [problem.partition(" points")[0] for problem in caught.value.problems] == [
        "'missing.js' matches no file",
        "'../x' is not a path below the working directory",
        "the link 'src/gone.ts'",
        "'*.py' matches no file",
    ]


NEVER_COUNT = [
    "src/__pycache__/env.cpython-313.pyc",
    "src/schema/__pycache__/x/y.txt",
    "src/env.pyc",
    ".git/HEAD",
    "src/.hg/store",
    "src/.svn/entries",
    "src/node_modules/.cache/babel/x.json",
    "node_modules/.cache/x",
    "src/..data/a.sql",
    "src/..data_tmp/a.sql",
    "src/..2026_11_29_08_15_00.123/a.sql",
]


@pytest.mark.parametrize("name", NEVER_COUNT)
def test_names_that_never_count(tree: Path, name: str) -> None:
    """What tools write beside the files is left out, and a pattern for nothing else is told."""
    before = [of(tree, pattern) for pattern in ("**", ".", "src/**", "**/*.ts", "*/*")]
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    assert [of(tree, pattern) for pattern in ("**", ".", "src/**", "**/*.ts", "*/*")] == before
    with pytest.raises(InputsError, match="matches only files that never count"):
        of(tree, name)


@pytest.mark.parametrize(
    "name",
    [
        "src/pycache",
        "src/x.pyc.py",
        "src/.gitignore",
        "src/git",
        "src/.cache/x",
        "node_modules/cache/x",
        "src/..data.sql",
        "src/...",
        "src/2026_11_29_08_15_00.123",
    ],
)
def test_names_that_are_like_those_count(tree: Path, name: str) -> None:
    """Only exactly what never counts is left out."""
    before = of(tree, "**")
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).write_bytes(b"x")
    assert of(tree, "**") != before


def test_fingerprints_of_former_versions_hold(tree: Path) -> None:
    """Ledgers that were written before links were followed still prove the same."""
    everything, some = of(tree, "**"), of(tree, "push.js", "src/schema/*.ts")
    assert everything == "41f21a00aaa6c9ba28e77ecf060a33480242038341e4e0dfddc8e1619358085e"
    assert some == "cf02b5e7de7c6f8e174b55ac594046b8efb3cfdedbc070093c4c9e4b97e6a047"


def test_loops_of_links_end(tree: Path) -> None:
    """Links to folders above them neither hang nor fail, and hide nothing."""
    (tree / "src/up").symlink_to("..")
    (tree / "src/schema/here").symlink_to(".")
    for pattern in ("**", "**/*.ts", "*/*/*/**", "src/**/a.ts", "src/up/src/up/push.js"):
        assert len(of(tree, pattern)) == 64
    assert matched(tree, "**") == set(FILES)
    assert matched(tree, "**/a.ts") == {"src/schema/a.ts"}
    assert matched(tree, "src/up/**") == set(FILES)


def test_folders_that_link_to_each_other(tree: Path) -> None:
    """Many folders with links to all others, as package managers make them, are read once."""
    folders = [tree / "store" / f"package-{number}" for number in range(12)]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "index.js").write_text(folder.name)
        for other in folders:
            (folder / other.name).symlink_to(other)
    assert matched(tree, "store/**") == {f"store/{folder.name}/index.js" for folder in folders}
    assert matched(tree, "store/**/index.js") == matched(tree, "store/**")


def test_a_long_chain_of_packages(tree: Path) -> None:
    """Thousands of packages, each linked from the one before it, are read to the last."""
    count = 2000
    for number in range(count):
        (tree / f"store/{number}").mkdir(parents=True)
        (tree / f"store/{number}/next").symlink_to(f"../{(number + 1) % count}")
    last = tree / f"store/{count - 1}/index.js"
    last.write_text("x")
    (tree / "first").symlink_to("store/0")
    before = of(tree, "first/**")
    last.write_text("y")
    assert of(tree, "first/**") != before


@pytest.mark.parametrize(
    "name",
    [b"line\nbreak.ts", b"\xff\xfe.ts", "größe-表.ts".encode(), b" .ts", b"-> a.ts", b"\\*.ts"],
)
def test_odd_names(tree: Path, name: bytes) -> None:
    """Any name that a file can have, UTF-8 or not, is matched and counts."""
    before = of(tree, "**/*.ts")
    path = tree / "src" / os.fsdecode(name)
    path.write_bytes(b"x")
    after = of(tree, "**/*.ts")
    assert after != before
    assert of(tree, "src/*.ts") != of(tree, "src/i.ts", "src/schema.ts")
    path.write_bytes(b"y")
    assert of(tree, "**/*.ts") != after
    assert len(of(tree, f"src/{path.name}")) == 64


def test_what_is_no_file_is_left_out(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A FIFO, a socket or a device, and a link to one, is neither read nor counted."""
    before = of(tree, "src/**")
    monkeypatch.chdir(tree / "src")  # a socket's path is short
    os.mkfifo("fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        Path("link").symlink_to("fifo")
        assert of(tree, "src/**") == before
        for name in ("fifo", "socket", "link"):
            with pytest.raises(InputsError):
                of(tree, f"src/{name}")


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder of files to close to us, who are not root until the test is over."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for name in ("app", "app/folder"):
            (root / name).mkdir()
            (root / name / "file").write_bytes(b"x")
        superuser = os.geteuid() == 0
        if superuser:
            for path in (root, *root.rglob("*")):
                os.chown(path, 65534, 65534)
            os.seteuid(65534)
        try:
            yield root / "app"
        finally:
            if superuser:
                os.seteuid(0)
            (root / "app/folder").chmod(0o700)


@pytest.mark.parametrize("pattern", ["folder/file", "folder", "**", "*/*", "**/file"])
@pytest.mark.parametrize(("name", "mode"), [("folder/file", 0o000), ("folder", 0o600)])
def test_unreadable_is_an_error(closed: Path, name: str, mode: int, pattern: str) -> None:
    """A file that cannot be read, or looked at, raises OSError instead of being left out."""
    assert len(of(closed, pattern)) == 64
    (closed / name).chmod(mode)
    with pytest.raises(PermissionError) as caught:
        of(closed, pattern)
    assert caught.value.filename == str(closed / "folder/file")


def test_folder_that_cannot_be_listed_is_an_error(closed: Path) -> None:
    """A folder whose entries cannot be listed raises OSError with its name."""
    (closed / "folder").chmod(0o300)
    with pytest.raises(PermissionError) as caught:
        of(closed, "**")
    assert caught.value.filename == str(closed / "folder")
    assert len(of(closed, "folder/file")) == 64


def test_failing_read_is_an_error() -> None:
    """A file that opens and cannot be read raises OSError."""
    with pytest.raises(OSError, match="Input/output error"):
        of(Path("/proc/self"), "mem")
