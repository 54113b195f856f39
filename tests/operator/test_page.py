"""`status --html` and `verify --html`: opened in a browser, and read as a person would."""

from __future__ import annotations

import base64
import fcntl
import json
import threading
from contextlib import ExitStack, contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import pytest

from entrypoint import __version__
from entrypoint.operator import render
from entrypoint.operator.tables import printable
from entrypoint.postgres import lock, transfers
from tests.operator.conftest import (
    RPG,
    RPG_DB,
    SERVICES,
    Operator,
    create_database,
    execute,
    put_aside,
)
from tests.support.browser import BINARY, Browser, Page
from tests.support.npm import HAS_NODE, installed
from tests.support.program import until
from tests.support.server import Server
from tests.support.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parents[2]
CANARY = "canary-7391-in-the-mine"
MISSING, SHUT, MOVING = "gaqno_ai_db", "gaqno_pdv_db", "gaqno_sso_db"
MOVED, PUSHING = "gaqno_omnichannel_db", "gaqno_finance_db"
RELEASE = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"
"""As long as a commit."""

PHONE, DESK = 360, 1200
AXE = "4.14.1"

pytestmark = pytest.mark.skipif(BINARY is None, reason="Chromium is not installed")


class World(NamedTuple):
    """What both commands said of one server, at one time."""

    status: Path
    verify: Path
    seen: dict[str, Any]
    """`status --json`."""

    found: dict[str, Any]
    """`verify --json`."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests of the file."""
    with Browser.running() as running:
        yield running


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> World:
    """One for all processes of a run: only files of it are read."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "world"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not (folder / "found.json").exists():
            make_world(folder, tmp_path_factory.mktemp("stage"))
    seen, found = (json.loads((folder / name).read_text()) for name in ("seen.json", "found.json"))
    return World(folder / "status.html", folder / "verify.html", seen, found)


def make_world(folder: Path, directory: Path) -> None:
    """Six services: pushed and drifted, missing, shut, at work, with strays, and with leftovers."""
    with Server.start() as server:
        for database in {*SERVICES.values()} - {MISSING, MOVED}:
            create_database(server, database)
        execute(server, f"create role ana superuser login password '{CANARY}'")
        ana = Operator(server, folder, server.url("postgres", "ana", CANARY))
        stage = Stage(directory, server, RPG_DB, "ana", CANARY)
        stage.top = {"service": RPG}
        stage.environ |= {"ENTRYPOINT_RELEASE": RELEASE}
        started = stage.start()
        assert started.wait() == 0, started.output
        execute(server, "create table rpg_by_hand (id int); create table sso_lost (id int)", RPG_DB)
        execute(
            server,
            "create table rpg_old as select generate_series(1, 9000) as id;"
            "create table omni_old (id int); create table ai_prompts (id int);"
            "create table odd (id int); analyze",
        )
        there = {"PG_BINDIR": str(server.pg_bin)}
        moved = ana.run("transfer", "gaqno-omnichannel-service", "--yes", environ=there)
        assert moved.code == 0, moved.err
        put_aside(server, RPG_DB, f"{RPG_DB}__undone")
        execute(server, f"alter database {SHUT} allow_connections false")
        with at_work(server):
            seen = ana.run("status", "--json", "--html", "status.html")
            found = ana.run("verify", "--json", "--html", "verify.html")
    assert (seen.code, found.code) == (5, 5), seen.err + found.err
    (folder / "seen.json").write_text(seen.out)
    (folder / "found.json").write_text(found.out)


@contextmanager
def at_work(server: Server) -> Iterator[None]:
    """Somebody has a lock that another waits for, one pushes, and one moves a service."""
    with ExitStack() as stack:
        waiter = stack.enter_context(psycopg.connect(server.url(RPG_DB), autocommit=True))
        thread = threading.Thread(target=lambda: waiter.execute("select from rpg_by_hand"))
        stack.callback(thread.join)
        busy = stack.enter_context(server.connect(RPG_DB))
        busy.execute("set application_name = 'a worker'")
        stack.enter_context(busy.transaction())
        busy.execute("lock table rpg_by_hand")
        for database, key in ((PUSHING, lock.KEY), ("postgres", transfers.target_key(MOVING))):
            holder = stack.enter_context(server.connect(database))
            holder.execute("select pg_advisory_lock(%s)", [key])
        thread.start()
        waiting = "select 1 from pg_stat_activity where wait_event_type = 'Lock'"
        until(lambda: execute(server, waiting), "it waits")
        yield


def text(shown: Page) -> str:
    """What is to be seen."""
    return str(shown.evaluate("document.body.innerText"))


def paths(world: World) -> list[Path]:
    """Both pages."""
    return [world.status, world.verify]


def test_status_says_what_json_says(world: World, browser: Browser) -> None:
    """Each service's row, who is at work, what is kept and what failed, in the terminal's words."""
    shown = browser.open(world.status)
    tables = shown.tables()
    now = datetime.fromisoformat(world.seen["at"])
    head, *rows = tables["Each service's database"]
    assert [row[0] for row in rows] == list(SERVICES)
    for row, said in zip(rows, world.seen["services"], strict=True):
        told = dict(zip(head, row, strict=True))
        last = said["last_push"]
        assert told["Database"] == said["database"]
        assert told["Size"] == render.sized(said["size_bytes"])
        assert told["Tables"] == render.counted(said["tables"])
        assert told["Sessions"] == render.counted(said["sessions"])
        assert told["Waiting"] == render.counted(said["waiting"] or None)
        pushed = f"{render.age(last['at'], now)} ago" if last else "never" if said["exists"] else ""
        assert told["Last push"] == pushed
    states = {row[1]: row[2] for row in rows}
    assert (states[RPG_DB], states[MISSING], states[SHUT]) == (
        "drifted",
        "missing",
        "not looked at",
    )

    jobs = {(row[0], row[2]): row[1] for row in tables["Sessions that others may wait for"][1:]}
    services = {row["database"]: row for row in world.seen["services"]}
    oldest = services[RPG_DB]["oldest_transaction"]
    assert jobs[RPG_DB, "has the oldest transaction"] == f"a worker, pid {oldest['pid']}"
    assert jobs[RPG_DB, "waits for another session's lock"] == "1 session"
    holder = services[PUSHING]["holder"]
    assert f"pid {holder['pid']}" in jobs[PUSHING, f"has the lock: {holder['doing']}"]
    mover = services[MOVING]["transfer"]
    assert f"pid {mover['pid']}" in jobs[MOVING, "moves objects into it"]

    kept = tables["What transfers keep until you drop it"][1:]
    [schema] = services[MOVED]["quarantines"]
    assert [row[:2] for row in kept] == [
        [RPG, f"database {RPG_DB}__undone"],
        ["gaqno-omnichannel-service", f"schema {schema['name']} in postgres"],
    ]
    failure = services[SHUT]["failure"]
    [failed] = tables["Databases that the command could not look at"][1:]
    assert failed == [SHUT, "5", failure["message"], failure["remedy"]]
    shown.close()


def test_the_time_line_can_be_heard(world: World, browser: Browser) -> None:
    """The pushes are an ordered list, with the moment for machines and the age for people."""
    shown = browser.open(world.status)
    [pushed] = [row for row in world.seen["services"] if row["last_push"]]
    last = pushed["last_push"]
    at = shown.evaluate("document.querySelector('.pushes time').dateTime")
    item = shown.evaluate("document.querySelector('.pushes li').innerText").split()
    assert at == last["at"]
    age = render.age(last["at"], datetime.fromisoformat(world.seen["at"]))
    assert " ".join(item) == f"{RPG} {age} ago release {RELEASE}, took {last['elapsed_s']:.1f} s"
    assert [node.name for node in shown.tree() if node.role == "list"][-1] == "Last pushes"
    drawn = shown.evaluate("document.querySelector('.pushes circle').getBoundingClientRect().x")
    assert 0 < drawn < DESK
    shown.close()


def total(numbers: Iterable[int | None]) -> int | None:
    """The sum of those that are known, if any is."""
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def test_verify_says_what_json_says(world: World, browser: Browser) -> None:
    """Every finding stands below its database and its service, with its numbers and what to do."""
    shown = browser.open(world.verify)
    tables = shown.tables()
    head, *rows = tables.pop("Findings by service; rows and size count misplaced objects")
    failed = tables.pop("Databases that the command could not look at")
    assert [row[0] for row in failed[1:]] == [f["database"] for f in world.found["failures"]]
    findings = world.found["findings"]
    for name, misplaced, notices, count, size in rows:
        those = [f for f in findings if (f["service"] or "nobody's") == name]
        levels = [f["level"] for f in those]
        assert (misplaced, notices) == (str(levels.count("misplaced")), str(levels.count("notice")))
        strays = [f for f in those if f["level"] == "misplaced" and f["object"]]
        assert count == render.counted(total(f["rows"] for f in strays))
        assert size == render.sized(total(f["size_bytes"] for f in strays))
    assert len({row[0] for row in rows}) == len({f["service"] for f in findings})
    assert head == ["Service", "Misplaced", "Notices", "Rows", "Size"]

    told = [(caption, *row[:4]) for caption, (_, *those) in tables.items() for row in those]
    assert sorted(told) == sorted(
        (
            f"Objects in {f['database']}, " + (f["service"] or "nobody's"),
            f"{f['kind']} {f['object']}",
            f["level"],
            render.counted(f["rows"]),
            render.sized(f["size_bytes"]),
        )
        for f in findings
        if f["object"]
    )
    seen = " ".join(text(shown).split())
    for each in findings:
        assert " ".join(each["remedy"].split()) in seen
        if not each["object"]:
            assert f"{each['message']}. {render.sized(each['size_bytes'])}".strip() in seen
    shown.close()


def test_a_page_has_an_outline(world: World, browser: Browser) -> None:
    """A language, a title, landmarks, headings in order; every table has a caption and heads."""
    for path in paths(world):
        shown = browser.open(path)
        tree = shown.tree()
        assert shown.evaluate("document.documentElement.lang") == "en"
        assert "postgres" not in tree[0].name
        assert tree[0].name.endswith(f" · {world.seen['server']}")
        roles = [node.role for node in tree]
        assert all(roles.count(role) == 1 for role in ("banner", "main", "contentinfo"))
        levels = [node.level or 0 for node in tree if node.role == "heading"]
        assert levels[0] == 1
        assert all(later <= level + 1 for level, later in pairwise(levels))
        for caption, rows in shown.tables().items():
            assert caption
            assert len({len(row) for row in rows}) == 1
        scopes = "[...document.querySelectorAll('th')].every(th => th.scope)"
        assert shown.evaluate(scopes)
        shown.close()


def test_a_page_says_when_and_where(world: World, browser: Browser) -> None:
    """The server without a URL, its clock for people and for machines, the program's version."""
    for path, said in ((world.status, world.seen), (world.verify, world.found)):
        shown = browser.open(path)
        assert shown.evaluate("document.querySelector('header time').dateTime") == said["at"]
        now = datetime.fromisoformat(said["at"])
        assert f"State of the server {said['server']} on {now:%Y-%m-%d %H:%M:%S} UTC" in text(shown)
        assert f"entrypoint {__version__}" in text(shown)
        shown.close()


def test_no_secret_is_in_a_page(world: World) -> None:
    """Neither a password nor a URL that may have one."""
    for path in paths(world):
        assert CANARY not in path.read_text()
        assert "://" not in path.read_text()


def test_nothing_is_loaded_and_nothing_runs(world: World, browser: Browser) -> None:
    """A page is one file: no request but for itself, no script, no word on the console."""
    for path in paths(world):
        shown = browser.open(path)
        asked = [each["request"]["url"] for each in shown.happened("Network.requestWillBeSent")]
        assert asked == [path.as_uri()]
        assert shown.happened("Log.entryAdded") == shown.happened("Runtime.consoleAPICalled") == []
        assert (
            shown.evaluate("document.querySelectorAll('script, link, img, iframe, a').length") == 0
        )
        shown.close()


def test_a_page_could_not_load_anything(world: World, browser: Browser) -> None:
    """Its own policy forbids pictures, scripts and styles, also such as somebody might put in."""
    attempt = """
    new Promise(resolve => {
      const seen = [];
      document.addEventListener('securitypolicyviolation', event => {
        seen.push(event.effectiveDirective);
        if (seen.length == 3) resolve(seen.sort());
      });
      for (const [tag, key, value] of [
        ['img', 'src', 'http://127.0.0.1:9/x'], ['script', 'textContent', 'hit = 1'],
        ['style', 'textContent', 'body { display: none }'],
      ]) {
        const made = document.createElement(tag);
        made[key] = value;
        document.body.append(made);
      }
    })
    """
    shown = browser.open(world.status)
    assert shown.evaluate(attempt) == ["img-src", "script-src-elem", "style-src-elem"]
    assert shown.evaluate("typeof hit") == "undefined"
    shown.close()


@pytest.mark.parametrize("width", [320, PHONE, 1136, 1137, DESK, 1920])
def test_nothing_is_wider_than_the_window(world: World, browser: Browser, width: int) -> None:
    """No page scrolls sideways, also where cards become tables, and nothing seen is cut off."""
    wide = """
    [...document.body.querySelectorAll('*')].filter(each => {
      const box = each.getBoundingClientRect();
      const out = box.right > innerWidth + 1 || box.left < 0;
      return out && box.width > 1 && !each.closest('thead');
    }).map(each => each.outerHTML.slice(0, 80))
    """
    for path in paths(world):
        shown = browser.open(path, width=width)
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        assert shown.evaluate(wide) == []
        shown.close()


def test_a_telephone_has_all_that_a_desk_has(world: World, browser: Browser) -> None:
    """Tables become cards for the eye, and are the same tables for the ear."""
    for path in paths(world):
        wide, narrow = browser.open(path), browser.open(path, width=PHONE)
        assert wide.tables() == narrow.tables()
        label = "getComputedStyle(document.querySelector('td'), '::before').content"
        assert (wide.evaluate(label), narrow.evaluate(label)[:1]) == ("none", '"')
        wide.close()
        narrow.close()


def test_a_page_without_its_style(world: World, browser: Browser) -> None:
    """Where a wiki or a CI lets no style in, bars and the time line stay as low as words are."""
    for path in paths(world):
        for width in (PHONE, DESK):
            shown = browser.open(path, width=width)
            shown.evaluate("document.querySelector('style').remove()")
            heights = "[...document.querySelectorAll('svg')].map(each => each.clientHeight)"
            drawn = shown.evaluate(heights)
            assert drawn
            assert max(drawn) <= 20
            shown.close()


CONTRAST = """
(() => {
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = colour => {
    const [r, g, b] = numbers(colour).slice(0, 3).map(
      c => c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = each => {
    for (; each; each = each.parentElement) {
      const colour = getComputedStyle(each).backgroundColor;
      if (numbers(colour)[3] !== 0) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const texts = [...document.querySelectorAll('body *')].filter(each =>
    [...each.childNodes].some(node => node.nodeType == 3 && node.data.trim()));
  return Math.min(...texts.map(each => {
    const style = getComputedStyle(each);
    const ink = each instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [light(ink), light(behind(each))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  }));
})()
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_contrast(world: World, browser: Browser, dark: bool) -> None:  # noqa: FBT001  a theme
    """Every text has the contrast of WCAG's level AA, 4.5 to 1, in either theme."""
    for path in paths(world):
        shown = browser.open(path, dark=dark)
        assert shown.evaluate(CONTRAST) >= 4.5
        shown.close()


def test_paper_is_white(world: World, browser: Browser) -> None:
    """Who prints it in the dark gets black on white."""
    shown = browser.open(world.status, dark=True)
    colour = "getComputedStyle(document.body).backgroundColor"
    assert shown.evaluate(colour) != "rgb(255, 255, 255)"
    shown.show(width=DESK, dark=True, media="print")
    assert shown.evaluate(colour) == "rgb(255, 255, 255)"
    assert shown.evaluate(CONTRAST) >= 4.5
    shown.close()


@pytest.mark.skipif(not HAS_NODE, reason="Node is not installed")
def test_axe_finds_nothing(world: World, browser: Browser) -> None:
    """The rules of axe-core for accessible pages hold, on a telephone and at a desk."""
    axe = (installed("axe", {"axe-core": AXE}) / "axe-core" / "axe.min.js").read_text()
    run = "axe.run().then(said => said.violations.map(each => [each.id, each.nodes[0].html]))"
    for path, width in ((world.status, PHONE), (world.verify, DESK)):
        shown = browser.open(path, width=width)
        shown.evaluate(f"{axe}; 0")
        assert shown.evaluate(run) == []
        shown.close()


COLOURS = """
createImageBitmap(new Blob([Uint8Array.from(atob('%s'), each => each.charCodeAt(0))])).then(map => {
  const canvas = new OffscreenCanvas(map.width, map.height).getContext('2d');
  canvas.drawImage(map, 0, 0);
  const data = new Uint32Array(canvas.getImageData(0, 0, map.width, map.height).data.buffer);
  const counts = {};
  for (const each of data) counts[each] = (counts[each] || 0) + 1;
  const [[paper, most]] = Object.entries(counts).sort((a, b) => b[1] - a[1]);
  return [paper & 255, most / data.length, Object.keys(counts).length];
})
"""


def test_pictures(world: World, browser: Browser, tmp_path: Path) -> None:
    """Light is ink on a light ground, dark the other way round, and neither is blank."""
    for path in paths(world):
        grounds = []
        for dark in (False, True):
            shown = browser.open(path, dark=dark)
            picture = shown.picture(tmp_path / f"{path.stem}-{dark}.png")
            encoded = base64.b64encode(picture).decode()
            ground, share, colours = shown.evaluate(COLOURS % encoded)
            assert 0.5 < share < 0.98
            assert colours > 50
            grounds.append(ground)
            shown.close()
        assert grounds[0] > 240
        assert grounds[1] < 40


HOSTILE = [
    "<script>hit=1</script>",
    '"><svg onload="hit=1">',
    "&lt;&amp;",
    "{{ 7 * 7 }}",
    "a\nb\rc",
    "a\u2028b\u202ecod.exe",
    "\u200frtl \u05d0\u05d1",
    "\x1b[31mred",
    "n" * 63,
]


def test_hostile_names(operator: Operator, browser: Browser) -> None:
    """Tables' names are words, shown as on a terminal; none is markup, a template or a script."""
    with operator.server.connect() as connection:
        for name in HOSTILE:
            statement = psycopg.sql.SQL("create table {} ()")
            connection.execute(statement.format(psycopg.sql.Identifier(name)))
    assert operator.run("verify", "--html", "page.html").code == 9
    shown = browser.open(operator.directory / "page.html", width=PHONE)
    names = [row[0] for row in shown.tables()["Objects in postgres, nobody's"][1:]]
    assert sorted(names) == sorted(f"table {printable(name)}" for name in HOSTILE)
    assert "table a\\u2028b\\u202ecod.exe" in names
    assert shown.evaluate("typeof hit") == "undefined"
    assert shown.evaluate("document.querySelectorAll('script').length") == 0
    assert shown.evaluate("document.documentElement.scrollWidth") <= PHONE
    shown.close()


def test_a_server_where_all_is_well(operator: Operator, browser: Browser) -> None:
    """It says so in words, and names every database that was looked at."""
    assert operator.run("verify", "--html", "v.html").code == 0
    assert operator.run("status", "--html", "s.html").code == 0
    shown = browser.open(operator.directory / "v.html")
    assert "Nothing is misplaced" in text(shown)
    assert f"No findings in postgres, {', '.join(SERVICES.values())}." in text(shown)
    shown.close()
    shown = browser.open(operator.directory / "s.html")
    assert "Nothing is missing, nothing has drifted, nobody waits" in text(shown)
    assert "No ledger has a push." in text(shown)
    assert "No session has a lock or an open transaction." in text(shown)
    shown.close()
