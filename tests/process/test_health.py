"""`entrypoint health`: right in every phase of a real start, and whatever the service answers."""

from __future__ import annotations

import base64
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from entrypoint.health import state
from tests.process.test_rails import QUICK
from tests.support.program import namespaces, python, until, with_hosts
from tests.support.site import HANG, Answer, Site, dripping, http
from tests.support.stage import Stage, service

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CANARY = "c4n4ry-pass"

OK = http(body=b"ok")

PATH = "/v1/health"


class Health(NamedTuple):
    """What one probe said."""

    code: int
    line: str


STRANGER = 61234
"""A user who has nothing else on this machine."""

AS_STRANGER = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups"]
"""What makes a program his, if root runs it."""


def health(
    folder: Path,
    *words: str,
    environ: dict[str, str] | None = None,
    through: Sequence[str] = (),
    launcher: Sequence[str] = ("-m", "entrypoint"),
) -> Health:
    """Run one, as a platform does: a process of its own in the container."""
    given = {"PATH": os.environ["PATH"], "ENTRYPOINT_STATE_DIR": str(folder), **(environ or {})}
    argv = [*through, sys.executable, "-I", *launcher, "health", *words]
    done = subprocess.run(
        argv, env=given, cwd="/", check=False, capture_output=True, text=True, timeout=30
    )
    assert done.stderr == ""
    assert done.stdout.endswith("\n")
    assert done.stdout.count("\n") == 1
    return Health(done.returncode, done.stdout.strip())


@pytest.fixture
def stranger() -> list[str]:
    """What makes a program another user's; Python may be in root's home, where he cannot look."""
    argv = [*AS_STRANGER, sys.executable, "-I", "-c", "import socket"]
    if os.geteuid() or subprocess.run(argv, check=False, capture_output=True).returncode:
        pytest.skip("another user cannot run this Python")
    return AS_STRANGER


@pytest.fixture
def watched(stage: Stage) -> Stage:
    """A stage whose starts leave their state in the stage's folder."""
    stage.environ["ENTRYPOINT_STATE_DIR"] = str(stage.directory)
    return stage


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user may write to."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o1777)  # noqa: PTH101, S103  as /dev/shm is
        yield Path(folder)


def started(folder: Path, url: str | None, pid: int | None = None) -> None:
    """Leave the state of a service that runs; this process stands for it, or another."""
    pid = pid or os.getpid()
    values = {"pid": str(pid), "began": state.process(pid)[1], "phase": state.STARTED}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENTRYPOINT_STATE_DIR", str(folder))
        state.replace(str(folder), {**values, "since": "1", **({"url": url} if url else {})})


# --- the start


def test_a_container_that_was_never_started_says_so(tmp_path: Path) -> None:
    """Where a platform's field has replaced our ENTRYPOINT, no state is found."""
    found = health(tmp_path)
    assert found.code == 1
    assert found.line.startswith("not started: ")
    assert "ENTRYPOINT" in found.line


def test_while_it_waits_the_cause_is_shown(watched: Stage) -> None:
    """A server that is not there yet, for how long, and why."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    watched.environ["DATABASE_URL"] = f"postgresql://u:{CANARY}@127.0.0.1:{port}/app"
    program = watched.start()
    program.until("wait.retry_scheduled")
    found = health(watched.directory)
    assert found.code == 1
    assert re.fullmatch(r"starting: wait \d+ s \(.*refused.*\)", found.line), found
    assert CANARY not in found.line
    program.signal(signal.SIGTERM)
    assert program.wait() == 143
    assert health(watched.directory) == Health(1, "failed: wait (exit code 143): ended by SIGTERM")


def test_a_follower_names_the_holder_of_the_lock(watched: Stage, tmp_path: Path) -> None:
    """Its clock is the push's, and the holder's beside it."""
    watched.push = python("push", "ready", "wait-for", str(watched.gate))
    leader = watched.start()
    until(lambda: leader.all("push.printed"), "it pushes")
    assert re.fullmatch(r"starting: push \d+ s", health(watched.directory).line)
    beside = tmp_path / "beside"
    beside.mkdir()
    watched.environ["ENTRYPOINT_STATE_DIR"] = str(beside)
    follower = watched.start()
    follower.until("lock.contended")
    host = re.escape(socket.gethostname())
    line = rf"starting: push \d+ s \(lock held by demo/{host} since \d+ s\)"
    until(lambda: re.fullmatch(line, health(beside).line), "the holder")
    watched.gate.touch()
    assert leader.wait() == follower.wait() == 0


def test_seed_is_a_phase_of_its_own(watched: Stage) -> None:
    """Once the push is done its line is the seed's."""
    watched.seed = python("push", "ready", "wait-for", str(watched.gate))
    program = watched.start()
    until(lambda: program.all("seed.printed"), "it seeds")
    assert re.fullmatch(r"starting: seed \d+ s", health(watched.directory).line)
    watched.gate.touch()
    assert program.wait() == 0


CHATTY = 'for word; do echo "$word"; until test -e "$word"; do sleep 0.02; done; done'
"""A push that says each of its words, and waits for the file of that name before the next."""


def test_a_push_that_prints_again_is_not_silent(watched: Stage) -> None:
    """Its silence is told as long as it lasts, and the next one has a clock of its own."""
    words = [str(watched.directory / each) for each in ("a", "b", "c")]
    talk = f"{CHATTY}; until test -e c; do echo more; sleep 0.02; done"
    watched.push = ["sh", "-c", talk, "sh", *words[:2]]
    program = watched.start(launcher=QUICK)
    silent = r"starting: push \d+ s \(the program prints nothing since {} s\)"

    def until_shown(pattern: str) -> None:
        until(lambda: re.fullmatch(pattern, health(watched.directory).line), pattern)

    until_shown(silent.format("[3-9]"))
    Path(words[0]).touch()
    until_shown(silent.format("[01]"))
    Path(words[1]).touch()
    until_shown(r"starting: push \d+ s")
    Path(words[2]).touch()
    program.wait()


TOLD = """
import time
from entrypoint.health import progress, state
progress.begin()
progress.entered("lock")
for seconds in (30.0, 30.9, 0.5):
    progress.detail("lock held by demo/host", seconds)
    print(round(time.monotonic() - state.number(state.read(), "detail_since")))
"""


def test_a_holder_s_clock_is_not_its_predecessor_s(tmp_path: Path) -> None:
    """Two of one name are told apart by since when; one that is measured twice is the same."""
    environ = {"ENTRYPOINT_STATE_DIR": str(tmp_path)}
    argv = [sys.executable, "-I", "-c", TOLD]
    done = subprocess.run(argv, env=environ, check=True, capture_output=True, text=True)
    assert [int(word) <= 1 for word in done.stdout.split()] == [False, False, True]
    assert len(set(done.stdout.split()[:2])) == 1


def test_a_push_waits_no_more_for_what_its_guard_did(watched: Stage) -> None:
    """Whoever arms the guard is tried for five seconds, and the push goes on without."""
    assert watched.start().wait() == 0
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    watched.environ["ENTRYPOINT_ADMIN_URL"] = f"postgresql://a:{CANARY}@127.0.0.1:{port}/postgres"
    watched.environ["ENTRYPOINT_FORCE"] = "push"
    watched.push = python("push", "ready", "wait-for", str(watched.gate))
    program = watched.start()
    until(lambda: "refused" in health(watched.directory).line, "the admin's is tried")
    program.until("push.printed")
    assert re.fullmatch(r"starting: push \d+ s", health(watched.directory).line)
    watched.gate.touch()
    assert program.wait() == 0


def test_a_failed_start_says_why(watched: Stage) -> None:
    """The step, the exit code and the reason, with no secret in it."""
    watched.environ["DATABASE_URL"] = f"postgresql://u:{CANARY}@127.0.0.1/postgres"
    assert watched.start().wait() == 3
    found = health(watched.directory)
    assert found.code == 1
    assert found.line.startswith("failed: settings (exit code 3): DATABASE_URL names the database")
    assert CANARY not in found.line


def test_a_start_that_was_killed_is_no_start(watched: Stage) -> None:
    """Right after SIGKILL nothing is said to be starting."""
    watched.push = python("push", "ready", "sleep", "60")
    program = watched.start()
    until(lambda: program.all("push.printed"), "it pushes")
    program.signal(signal.SIGKILL)
    program.wait()
    expected = "failed: the start ended in push and reported no error; did a signal kill it?"
    assert health(watched.directory) == Health(1, expected)


def test_the_service_is_asked_after_the_handoff(watched: Stage) -> None:
    """The state's URL has the variables filled in; what died is not asked any more."""
    with Site(OK) as site:
        watched.sections["health"] = {"url": "http://127.0.0.1:${PORT}/v1/health?deep=1"}
        watched.environ["PORT"] = str(site.port)
        program = watched.start(*service("serve-and-say"))
        program.until("service.ready")
        until(lambda: health(watched.directory).code == 0, "it is healthy")
        found = health(watched.directory)
        assert found.line == f"healthy: {site.url(PATH)}: 200 OK"
        assert site.requests[-1].startswith(b"GET /v1/health?deep=1 HTTP/1.1\r\n")
        program.signal(signal.SIGKILL)
        program.wait()
        found = health(watched.directory)
    assert found == Health(1, f"unhealthy: the service (PID {program.process.pid}) has ended")


def test_without_a_url_a_running_service_is_well(watched: Stage) -> None:
    """All that can be known is that it runs."""
    program = watched.start(*service("serve-and-say"))
    program.until("service.ready")
    until(lambda: health(watched.directory).code == 0, "it runs")
    assert health(watched.directory).line.startswith("running: started ")
    program.signal(signal.SIGKILL)
    program.wait()


def test_a_url_with_an_unset_variable_is_no_url(watched: Stage) -> None:
    """The start warns and goes on, and the probe says what is missing."""
    watched.sections["health"] = {"url": "http://127.0.0.1:${PORT}/"}
    program = watched.start(*service("serve-and-say"))
    program.until("service.ready")
    problem = "entrypoint.toml: health.url needs the variable PORT, which is not set"
    assert program.one("health.url_ignored")["reason"] == problem
    assert health(watched.directory) == Health(1, f"unhealthy: {problem}")
    program.signal(signal.SIGTERM)
    program.wait()


def test_prepare_leaves_the_service_to_somebody_else(watched: Stage) -> None:
    """After `prepare && exec service` the URL is asked, whoever the service is."""
    with Site(OK) as site:
        watched.sections["health"] = {"url": site.url(PATH)}
        assert watched.start(command="prepare").wait() == 0
        assert health(watched.directory).code == 0


def test_a_recycled_pid_is_nobody(watched: Stage) -> None:
    """A state whose PID is somebody else's by now does not speak for him."""
    program = watched.start(*service("serve-and-say"))
    program.until("service.ready")
    [path] = watched.directory.glob("entrypoint-*[0-9]")
    until(lambda: "phase started" in path.read_text(), "it runs")
    path.write_text(re.sub(r"\nbegan \d+", "\nbegan 17", path.read_text()))
    assert health(watched.directory).line.endswith("has ended")
    path.write_text(re.sub(r"phase \w+", "phase push", path.read_text()))
    assert health(watched.directory).line.startswith("failed: the start ended in push")
    program.signal(signal.SIGKILL)
    program.wait()


def test_an_operator_s_command_says_nothing_of_the_service(watched: Stage) -> None:
    """`docker exec ... entrypoint verify` in a container that runs leaves its state as it is."""
    program = watched.start(*service("serve-and-say"))
    program.until("service.ready")
    until(lambda: health(watched.directory).code == 0, "it runs")
    watched.environ["ENTRYPOINT_ADMIN_URL"] = "postgresql://u:p@127.0.0.1:1/x"
    assert watched.start(command="verify").wait() in (3, 4, 5)
    assert health(watched.directory).code == 0
    program.signal(signal.SIGKILL)
    program.wait()


CONTAINER = namespaces("--mount", "--pid", "--fork", "--mount-proc")
"""What makes a program the main process of something like a container."""


def test_a_container_that_is_gone_says_nothing_of_the_next(watched: Stage) -> None:
    """In a folder that both write to, as of a pod's containers, the kernel's number comes again."""
    assert watched.start(command="prepare", through=CONTAINER).wait() == 0
    [left] = watched.directory.glob("entrypoint-*[0-9]")
    again = (
        'to="${1%/*}/entrypoint-$(readlink /proc/self/ns/mnt | tr -dc 0-9)" && '
        '{ [ "$1" = "$to" ] || mv "$1" "$to"; } && shift && "$@"'
    )
    through = [*CONTAINER, "sh", "-c", again, "sh", str(left)]
    assert health(watched.directory, through=through).line.startswith("not started: ")


def test_another_start_says_nothing_of_the_service(watched: Stage) -> None:
    """A pre-deploy step or a one-off command in a container that serves leaves its state alone."""
    program = watched.start(*service("serve-and-say"))
    program.until("service.ready")
    until(lambda: health(watched.directory).code == 0, "it runs")
    assert watched.start().wait() == 0
    assert health(watched.directory).line.startswith("running: started ")
    watched.push = ["false"]
    watched.environ["ENTRYPOINT_FORCE"] = "push"
    assert watched.start(command="prepare").wait() == 7
    assert health(watched.directory).line.startswith("running: started ")
    program.signal(signal.SIGKILL)
    program.wait()


def test_another_start_says_nothing_of_one_that_goes_on(watched: Stage) -> None:
    """The container is still being started, whatever else was tried in it meanwhile."""
    watched.push = python("push", "ready", "wait-for", str(watched.gate))
    program = watched.start()
    until(lambda: program.all("push.printed"), "it pushes")
    watched.environ["DATABASE_URL"] = "postgresql://u:p@127.0.0.1/postgres"
    assert watched.start(command="prepare").wait() == 3
    assert health(watched.directory).line.startswith("starting: push ")
    watched.gate.touch()
    assert program.wait() == 0


def test_the_next_start_has_the_word(watched: Stage) -> None:
    """What a start left that is over is nobody's any more: `prepare`, and then `run`."""
    assert watched.start(command="prepare").wait() == 0
    assert health(watched.directory).line.startswith("running: prepared ")
    watched.push = ["false"]
    watched.environ["ENTRYPOINT_FORCE"] = "push"
    assert watched.start().wait() == 7
    assert health(watched.directory).line.startswith("failed: push (exit code 7)")


def test_a_start_with_nowhere_to_write_goes_on(watched: Stage) -> None:
    """It warns, because the probe will know nothing, and starts the service."""
    watched.environ["ENTRYPOINT_STATE_DIR"] = str(watched.directory / "missing")
    program = watched.start()
    assert program.wait() == 0
    assert "ENTRYPOINT_STATE_DIR" in program.one("state.not_written")["remedy"]


PROBE = [sys.executable, "-I", "-m", "entrypoint", "health"]
"""A service that says what a probe in its container would say of it."""

SMALL = 'for each in $FOLDERS; do mount -t tmpfs -o size=8k none "$each"; done; exec "$0" "$@"'
"""What makes folders take one state and the next, and no more."""

FILL = 'dd if=/dev/zero of="$FULL/full" bs=4k; exec "$0" "$@"'


@pytest.mark.parametrize("folders", [["state"], ["/run", "/dev/shm"]], ids=["named", "another"])  # noqa: S108  mounts
def test_a_disk_that_fills_up_does_not_keep_what_was(watched: Stage, folders: list[str]) -> None:
    """The end of a start is told in another folder, or in the room of what was told before."""
    places = [str(watched.directory / each) for each in folders]
    watched.environ |= {"FOLDERS": " ".join(places), "FULL": places[0]}
    if folders == ["state"]:
        watched.directory.joinpath("state").mkdir()
        watched.environ["ENTRYPOINT_STATE_DIR"] = places[0]
    else:
        del watched.environ["ENTRYPOINT_STATE_DIR"]
    watched.push = ["sh", "-c", FILL, *watched.push]
    program = watched.start(*PROBE, through=[*namespaces("--mount"), "sh", "-c", SMALL])
    program.wait()
    assert program.stdout.startswith(b"running: started "), program.output
    assert program.all("state.not_written") == []


def test_a_folder_that_goes_away_is_told_once(watched: Stage) -> None:
    """The start goes on without its state."""
    gone = watched.directory / "state"
    gone.mkdir()
    watched.environ["ENTRYPOINT_STATE_DIR"] = str(gone)
    watched.push = ["sh", "-c", f'rm -r {shlex.quote(str(gone))}; exec "$0" "$@"', *watched.push]
    program = watched.start()
    assert program.wait() == 0
    program.one("state.not_written")


def leave_former_life(folder: Path, number: int, **values: str) -> Path:
    """The state of a start in a container that is gone; its PIDs may be somebody's by now."""
    gone = {"pid": "1", "began": "17", "main": "1", "main_began": "17", "phase": state.STARTED}
    path = folder / f"entrypoint-{number}"
    pairs = {**gone, **values}.items()
    path.write_text("\n".join([state.VERSION, *(f"{key} {value}" for key, value in pairs), ""]))
    return path


def test_a_start_forgets_its_former_lives_and_nothing_else(watched: Stage) -> None:
    """Where the folder is the container's own, what else begins with `entrypoint-` is kept."""
    folder = watched.directory
    if folder.stat().st_dev != Path("/").stat().st_dev:
        pytest.skip("the temp folder is a file system of its own")
    former = [
        leave_former_life(folder, 1),
        leave_former_life(folder, 2).rename(folder / "entrypoint-2.7"),
    ]
    lives = str(os.getpid())
    kept = [leave_former_life(folder, 3, pid=lives, began="")]
    kept.append(leave_former_life(folder, 4).rename(folder / "entrypoint-4.toml"))
    kept += [folder / f"entrypoint-{each}" for each in ("prod.toml", "hook", "5", "6.7.8", "")]
    for path in kept[2:]:
        path.write_text("somebody's")
    folder.joinpath("entrypoint-9").mkdir()
    folder.joinpath("entrypoint-10").symlink_to(kept[0])
    if not os.geteuid():
        kept.append(leave_former_life(folder, 11))
        os.chown(kept[-1], STRANGER, STRANGER)
    assert watched.start().wait() == 0
    assert [path.name for path in former if path.exists()] == []
    assert [path.name for path in kept if not path.exists()] == []
    assert folder.joinpath("entrypoint-9").is_dir()
    assert folder.joinpath("entrypoint-10").is_symlink()
    assert folder.joinpath(state.name()).exists()


# --- the service

ANSWERS: dict[str, tuple[bytes, int, str]] = {
    "200": (OK, 0, "200 OK"),
    "204": (http("204 No Content"), 0, "204 No Content"),
    "100 first": (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, 0, "200 OK"),
    "no reason": (b"HTTP/1.1 200\r\n\r\n", 0, "200"),
    "HTTP/1.0, closed": (b"HTTP/1.0 200 OK\r\n", 0, "200 OK"),
    "10 MB": (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 10_000_000, 0, "200 OK"),
    "301": (
        http("301 Moved Permanently", location="https://sso/login?token=t"),
        1,
        "301 Moved Permanently to https://sso/login; a probe follows no redirect",
    ),
    "301 with a password": (
        http(
            "301 Moved Permanently", location=f"http://{'u' * 95}:{CANARY}@sso/login#token={CANARY}"
        ),
        1,
        "301 Moved Permanently to http://sso/login; a probe follows no redirect",
    ),
    "301 in place": (
        http("301 Moved Permanently", location=f"//u:{CANARY}@sso//a@b/c?d"),
        1,
        "301 Moved Permanently to //sso//a@b/c; a probe follows no redirect",
    ),
    "404": (http("404 Not Found"), 1, "404 Not Found"),
    "500": (http("500 Internal Server Error"), 1, "500 Internal Server Error"),
    "101": (http("101 Switching Protocols"), 1, "101 Switching Protocols"),
    "nothing": (b"\r\n\r\n", 1, "the answer is not HTTP/1.1"),
    "garbage": (b"\x00\xff\x16garbage", 1, "the answer is not HTTP/1.1"),
    "HTTP/2": (b"HTTP/2 200\r\n\r\n", 1, "the answer is not HTTP/1.1"),
    "no status": (b"HTTP/1.1 abc OK\r\n\r\n", 1, "the answer is not HTTP/1.1"),
    "10 MB of header": (
        b"HTTP/1.1 500 Oh\r\nX: " + b"x" * 10_000_000,
        1,
        "500 Oh",
    ),
    "control characters": (b"HTTP/1.1 500 \x1b[2J oh\r\n\r\n", 1, "500 oh"),
}


@pytest.mark.parametrize(("answer", "code", "said"), ANSWERS.values(), ids=ANSWERS)
def test_what_the_service_answers(tmp_path: Path, answer: bytes, code: int, said: str) -> None:
    """2xx is well, everything else is not, and the line says what came back."""
    with Site(answer) as site:
        started(tmp_path, site.url(PATH))
        found = health(tmp_path)
    assert found.code == code
    if code == 0:
        assert found.line == f"healthy: {site.url(PATH)}: {said}"
    else:
        assert re.match(
            re.escape(f"unhealthy: {site.url(PATH)}: {said} (started ") + r"\d+ s ago\)$",
            found.line,
        ), found


@pytest.mark.parametrize("answer", [HANG, dripping(OK)], ids=["hangs", "one byte a second"])
def test_a_service_that_hangs_is_not_waited_for(tmp_path: Path, answer: Answer | None) -> None:
    """The timeout is for the whole answer, whether nothing comes or a byte now and then."""
    with Site(answer) as site:
        started(tmp_path, site.url(PATH))
        found = health(tmp_path, "--timeout", "0.5")
    assert found.code == 1
    assert "no answer within 0.5 s" in found.line


def test_nobody_listens(tmp_path: Path) -> None:
    """The kernel's own word for it."""
    with Site(OK) as site:
        pass
    started(tmp_path, site.url(PATH))
    found = health(tmp_path)
    assert found.code == 1
    assert f"unhealthy: {site.url(PATH)}: connection refused" in found.line


BOTH = "::1 {name}\n127.0.0.1 {name}\n"
"""A name of two addresses, of which the resolver puts IPv6 first."""


def seen_from_within(stage: Stage, url: str, *words: str) -> str:
    """What a probe says in a container where `probe.invalid` and `localhost` are `BOTH`."""
    hosts = stage.directory / "hosts"
    hosts.write_text("".join(BOTH.format(name=name) for name in ("localhost", "probe.invalid")))
    stage.sections["health"] = {"url": url}
    program = stage.start(*PROBE, *words, through=with_hosts(hosts))
    program.wait()
    return program.stdout.decode().strip()


@pytest.mark.parametrize(
    ("listens", "host"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "[::1]"),
        ("127.0.0.1", "localhost"),
        ("::1", "localhost"),
    ],
)
def test_both_families_of_addresses(watched: Stage, listens: str, host: str) -> None:
    """IPv4 and IPv6, by address and by name, whichever of its addresses it is."""
    with Site(OK, address=listens) as site:
        url = site.url(PATH, host=host)
        assert seen_from_within(watched, url) == f"healthy: {url}: 200 OK"
    assert site.requests[0].split(b"\r\n")[1] == f"Host: {host}:{site.port}".encode()


def test_an_address_where_nobody_answers_leaves_time_for_the_next(watched: Stage) -> None:
    """Each has its share of it."""
    with Site(OK) as site, ExitStack() as clients:
        address = ("::1", site.port)
        full = socket.create_server(address, family=socket.AF_INET6, backlog=0)
        clients.enter_context(full)
        with suppress(TimeoutError):
            while True:  # what no queue takes gets no answer, as from an address that is gone
                clients.enter_context(socket.create_connection(address, 0.2))
        url = site.url(PATH, host="probe.invalid")
        assert seen_from_within(watched, url, "--timeout", "4") == f"healthy: {url}: 200 OK"


NO_IPV6 = """
import socket
class NoIPv6(socket.socket):
    def __init__(self, family=-1, *rest, **named):
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        super().__init__(family, *rest, **named)
both = [each for host in ("::1", "127.0.0.1") for each in socket.getaddrinfo(host, 0)]
socket.socket = NoIPv6
socket.getaddrinfo = lambda host, port, **_: [(*e[:4], (*e[4][:1], port, *e[4][2:])) for e in both]
from entrypoint.__main__ import main
main()
"""
"""The probe where the kernel knows no IPv6, and the resolver does."""


def test_an_address_that_the_kernel_does_not_know_is_passed_over(tmp_path: Path) -> None:
    """The next one is tried."""
    with Site(OK) as site:
        started(tmp_path, site.url(PATH, host="localhost"))
        found = health(tmp_path, launcher=("-c", NO_IPV6))
    assert found == Health(0, f"healthy: {site.url(PATH, host='localhost')}: 200 OK")


@pytest.mark.parametrize("scheme", ["HTTP", "Http"])
def test_a_scheme_in_capitals_is_the_same(watched: Stage, scheme: str) -> None:
    """The settings take it, so the probe does too."""
    with Site(OK) as site:
        url = site.url(PATH, scheme=scheme)
        assert seen_from_within(watched, url) == f"healthy: {url}: 200 OK"


@pytest.mark.parametrize("certificate", ["localhost", "elsewhere"])
def test_a_certificate_is_not_verified(tmp_path: Path, certificate: str) -> None:
    """Not its name nor its issuer; so no certificate of an authority is read, which takes time."""
    unread = tmp_path / "ca.pem"
    os.mkfifo(unread)
    with Site(OK, certificate=certificate) as site:
        url = site.url(PATH, scheme="https")
        started(tmp_path, url)
        found = health(tmp_path, environ={"SSL_CERT_FILE": str(unread)})
    assert found == Health(0, f"healthy: {url}: 200 OK")


@pytest.mark.parametrize("answer", [OK, HANG, dripping(OK)], ids=["well", "hangs", "drips"])
def test_a_probe_that_gets_no_thread(
    shared: Path, answer: Answer | None, request: pytest.FixtureRequest
) -> None:
    """Where a limit of processes is reached it answers, and in time, as ever."""
    whom = [] if os.geteuid() else request.getfixturevalue("stranger")
    through = ["prlimit", "--nproc=1", *whom]
    with Site(answer) as site:
        started(shared, site.url(PATH))
        found = health(shared, "--timeout", "2", through=through)
    if answer == OK:
        assert found == Health(0, f"healthy: {site.url(PATH)}: 200 OK")
    else:
        assert "no answer within 2 s" in found.line


def test_a_name_that_is_not_known(tmp_path: Path) -> None:
    """It is said, and not waited for."""
    started(tmp_path, "http://no-such-host.invalid/")
    found = health(tmp_path)
    assert found.code == 1
    assert "does not resolve" in found.line or "no answer within 3 s" in found.line


def test_the_given_url_wins_over_the_state_s(tmp_path: Path) -> None:
    """`--url` is asked in place of health.url, without a proxy of the environment's."""
    with Site(OK) as site, Site(http("502 Proxy")) as proxy:
        started(tmp_path, "http://127.0.0.1:1/")
        environ = {"http_proxy": proxy.url(""), "HTTP_PROXY": proxy.url("")}
        found = health(tmp_path, "--url", site.url("?x=1"), environ=environ)
    assert found == Health(0, f"healthy: {site.url('')}: 200 OK")
    assert site.requests[0].startswith(b"GET /?x=1 HTTP/1.1\r\n")
    assert proxy.requests == []


@pytest.mark.parametrize(
    ("user", "sent"),
    [
        (f"ada:{CANARY}@", f"ada:{CANARY}"),
        ("ada@", "ada:"),
        ("a%40b:p%C3%A4%3a%@", "a@b:p\u00e4:%"),
        ("a@b:c@d@", "a@b:c@d"),
    ],
)
def test_a_user_in_the_url_is_sent_and_not_told(tmp_path: Path, user: str, sent: str) -> None:
    """As a gate sends it, and the line has neither a user nor a password."""
    with Site(OK) as site:
        started(tmp_path, site.url(PATH).replace("://", f"://{user}"))
        found = health(tmp_path)
        site.answer = http("401 Unauthorized")
        refused = health(tmp_path)
    assert found == Health(0, f"healthy: {site.url(PATH)}: 200 OK")
    assert refused.line.startswith(f"unhealthy: {site.url(PATH)}: 401 Unauthorized (started ")
    head = site.requests[0].decode().split("\r\n")
    assert f"Host: 127.0.0.1:{site.port}" in head
    assert f"Authorization: Basic {base64.b64encode(sent.encode()).decode()}" in head


@pytest.mark.parametrize(
    ("url", "mode"),
    [
        ("http://127.0.0.1:1/v1/health", 0o644),
        (f"http://127.0.0.1:1/v1/health?token={CANARY}", 0o600),
        (f"http://ada:{CANARY}@127.0.0.1:1/", 0o600),
    ],
)
def test_a_url_with_a_secret_is_its_user_s_alone(watched: Stage, url: str, mode: int) -> None:
    """The state holds the whole URL, so others may not read it then."""
    watched.sections["health"] = {"url": url}
    assert watched.start().wait() == 0
    [path] = watched.directory.glob("entrypoint-*[0-9]")
    assert url in path.read_text()
    assert path.stat().st_mode & 0o777 == mode


def test_a_state_that_another_user_keeps_to_himself(shared: Path, stranger: list[str]) -> None:
    """It is not taken for none."""
    with Site(OK) as site:
        started(shared, site.url("/?token=t"))
        found = health(shared, through=stranger)
        assert health(shared).code == 0
    assert found.code == 1
    assert found.line.startswith("unhealthy: only root and the user of the start may read")


def test_root_does_not_believe_just_anybody(shared: Path, stranger: list[str]) -> None:
    """Only root, and whom the service runs as; not who may write to the same folder."""
    with subprocess.Popen([*stranger, "sleep", "60"]) as sleep:
        until(lambda: Path(f"/proc/{sleep.pid}").stat().st_uid == STRANGER, "it is the stranger's")
        started(shared, None, sleep.pid)
        os.chown(shared / state.name(), STRANGER, STRANGER)
        believed = health(shared)
        started(shared, None)
        os.chown(shared / state.name(), STRANGER, STRANGER)
        forged = health(shared)
        sleep.kill()
    assert believed.line.startswith("running: started ")
    assert forged.line.startswith("not started: ")


@pytest.mark.parametrize("words", [["--url"], ["--uri", "x"], ["x"], ["--timeout", "soon"]])
def test_wrong_usage(tmp_path: Path, words: list[str]) -> None:
    """Exit code 2, with what is known."""
    argv = [sys.executable, "-I", "-m", "entrypoint", "health", *words]
    done = subprocess.run(argv, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "usage: entrypoint health" in done.stdout


def test_a_probe_imports_nothing_of_the_rest(tmp_path: Path) -> None:
    """The standard library's smallest part, and of ours only the probe and the state."""
    with Site(OK) as site:
        started(tmp_path, site.url(PATH))
        environ = {"PATH": os.environ["PATH"], "ENTRYPOINT_STATE_DIR": str(tmp_path)}
        argv = [sys.executable, "-I", "-X", "importtime", "-m", "entrypoint", "health"]
        done = subprocess.run(argv, env=environ, check=True, capture_output=True, text=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    ours = {name for name in imported if name.startswith("entrypoint")}
    names = ("health", "health.probe", "health.state")
    assert ours == {"entrypoint", *(f"entrypoint.{name}" for name in names)}
    heavy = {"psycopg", "structlog", "httpx", "json", "argparse", "http.client", "urllib.parse"}
    assert imported & heavy == set()
