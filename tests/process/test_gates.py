"""Gates: what a start waits for before it looks at its database."""

from __future__ import annotations

import re
import signal
import socket
import sys
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tests.process.test_health import health
from tests.process.test_rails import imported
from tests.support.program import deaf_names, with_hosts
from tests.support.site import CA, HANG, Answer, Site, dripping, http

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.program import Program
    from tests.support.stage import Stage

UNWELL = http("503 Service Unavailable")


@pytest.fixture
def site() -> Iterator[Site]:
    """A server that is well."""
    with Site(http()) as made:
        yield made


@pytest.fixture
def port() -> int:
    """A port where nobody listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        return int(taken.getsockname()[1])


def start(stage: Stage, *urls: str, timeout: float = 20, **options: Any) -> Program:  # noqa: ANN401  Popen's own
    """Start with gates at these URLs."""
    stage.gates = [{"url": url, "timeout": timeout} for url in urls]
    return stage.start(**options)


def failure(program: Program, code: int = 4) -> str:
    """The error of a start that a gate ended before any look at the database."""
    assert program.wait() == code, program.output
    assert program.names()[-1] == "gates.failed"
    assert "wait.started" not in program.names()
    event = program.one("gates.failed")
    assert event["exit_code"] == code
    assert event["remedy"].endswith(".")
    return str(event["error"])


def plain(event: dict[str, object]) -> dict[str, object]:
    """An event without what differs from run to run."""
    return {k: v for k, v in event.items() if k not in ("timestamp", "elapsed_s", "waited_s")}


def test_an_open_gate(stage: Stage, site: Site) -> None:
    """It is asked once, between the settings and the server, and each step is told."""
    program = start(stage, site.url("/v1/health"))
    assert program.wait() == 0

    names = program.names()
    gates = ["gates.started", "gate.opened", "gates.finished"]
    at = names.index("settings.finished") + 1
    assert names[at : at + 4] == [*gates, "wait.started"]
    assert [plain(program.one(name)) for name in gates] == [
        {"level": "info", "event": "gates.started", "service": "demo", "count": 1},
        {
            "level": "info",
            "event": "gate.opened",
            "service": "demo",
            "url": site.url("/v1/health"),
        },
        {"level": "info", "event": "gates.finished", "service": "demo"},
    ]
    assert program.one("gate.opened")["elapsed_s"] >= 0
    assert len(site.requests) == 1


def test_prepare_waits_too(stage: Stage, site: Site) -> None:
    """An init container is held up like the start itself."""
    site.answer = UNWELL
    program = start(stage, site.url(), command="prepare")
    program.until("gate.retry_scheduled")
    site.answer = http()

    assert program.wait() == 0
    assert program.names()[-1] == "prepare.finished"


def test_a_gate_that_opens_late(stage: Stage, port: int) -> None:
    """The first failure is told at once, with all that a person wants to know, and no other."""
    program = start(stage, f"http://127.0.0.1:{port}/v1/health?secret=canary")
    told = program.until("gate.retry_scheduled", timeout=5)
    with Site(http(), port=port):
        assert program.wait() == 0

    assert plain(told) == {
        "level": "warning",
        "event": "gate.retry_scheduled",
        "service": "demo",
        "url": f"http://127.0.0.1:{port}/v1/health",
        "cause": "connection refused",
        "attempts": 1,
        "timeout_s": 20.0,
    }
    assert len(program.all("gate.retry_scheduled")) == 1
    assert "canary" not in program.output


def test_a_probe_shows_the_gate(stage: Stage, port: int) -> None:
    """A platform's deployment log has the gate and its cause, less what is private."""
    stage.environ["ENTRYPOINT_STATE_DIR"] = str(stage.directory)
    program = start(stage, f"http://ada:canary@127.0.0.1:{port}/?canary")
    program.until("gate.retry_scheduled")
    found = health(stage.directory)

    cause = rf"http://127\.0\.0\.1:{port}/: connection refused"
    assert re.fullmatch(rf"starting: gates \d+ s \({cause}\)", found.line), found
    assert found.code == 1


def test_gates_are_waited_for_at_once(stage: Stage) -> None:
    """They open in any order, whichever is named first."""
    with ExitStack() as stack:
        first, second, third = (stack.enter_context(Site(UNWELL)) for _ in range(3))
        program = start(stage, first.url(), second.url(), third.url())
        for each in (third, first, second):
            program.until("gate.retry_scheduled", url=each.url())
        for each in (third, first, second):
            each.answer = http()
            program.until("gate.opened", url=each.url())
        assert program.wait() == 0

    assert program.one("gates.started")["count"] == 3


def test_each_gate_has_its_own_deadline(stage: Stage, site: Site) -> None:
    """The first that passes ends the start, whatever the others may still become."""
    with Site(UNWELL) as slow:
        stage.gates = [
            {"url": slow.url(), "timeout": 60},
            {"url": site.url("/short"), "timeout": 2},
        ]
        site.answer = http("500 Internal Server Error")
        program = stage.start()
        error = failure(program)

    assert error.startswith(f"the gate {site.url('/short')} was not open after 2.")
    assert error.endswith(": answered 500 Internal Server Error")
    assert program.one("gates.failed")["url"] == site.url("/short")
    assert program.one("gates.failed")["attempts"] > 1
    assert "raise its timeout" in program.one("gates.failed")["remedy"]


def test_a_gate_without_any_time_is_asked_once(stage: Stage, site: Site) -> None:
    """A timeout of 0 means now, not never."""
    assert start(stage, site.url(), timeout=0).wait() == 0

    site.answer = UNWELL
    assert "answered 503" in failure(start(stage, site.url(), timeout=0))


def test_the_statuses_that_open_it(stage: Stage, site: Site) -> None:
    """Those that are named, and then no other."""
    site.answer = http("401 Unauthorized")
    stage.gates = [{"url": site.url(), "timeout": 1, "status": [204, 401]}]
    assert stage.start().wait() == 0

    site.answer = http("200 OK")
    assert failure(stage.start()).endswith(": answered 200 OK")


WRONG: dict[str, tuple[Answer | None, str]] = {
    "not found": (http("404 Not Found"), "answered 404 Not Found"),
    "unwell": (http("500 Oops"), "answered 500 Oops"),
    "no reason": (http("503"), "answered 503"),
    "redirect": (
        http("301 Moved Permanently", Location="/login?canary=1"),
        "answered 301 Moved Permanently, which leads to {site}/login; a gate follows no redirect",
    ),
    "redirect away": (
        http("302 Found", Location="https://u:canary@sso/x?canary#canary"),
        "answered 302 Found, which leads to https://sso/x; a gate follows no redirect",
    ),
    "redirect to nowhere": (
        http("302 Found", Location="http://[canary"),
        "answered 302 Found, which leads to an invalid URL; a gate follows no redirect",
    ),
    "garbage": (b"\0\xff garbage\r\n\r\n", "no valid HTTP answer (illegal status line"),
    "hangs up": (b"", "no valid HTTP answer (Server disconnected without sending a response.)"),
    "never answers": (HANG, "no answer within 2 s"),
    "one byte a second": (dripping(http()), "no answer within 2 s"),
}


@pytest.mark.parametrize(("answer", "cause"), WRONG.values(), ids=WRONG.keys())
def test_what_opens_no_gate(stage: Stage, site: Site, answer: Answer | None, cause: str) -> None:
    """It is waited out, and its last word is in the error, less what is private."""
    site.answer = answer
    program = start(stage, site.url().replace("://", "://ada:canary@"), timeout=2)

    assert cause.format(site=site.url("")) in failure(program)
    assert "canary" not in program.output


def test_a_gate_that_hangs_and_heals(stage: Stage, site: Site) -> None:
    """A server that is stuck is asked again, and not waited for on the first connection."""
    site.answer = HANG
    program = start(stage, site.url())
    assert program.until("gate.retry_scheduled")["cause"] == "no answer within 5 s"
    site.answer = http()

    assert program.wait() == 0


def test_a_gate_behind_a_redirect(stage: Stage, site: Site) -> None:
    """Where it leads is not asked, though that is well; the cause is told at once."""
    with Site(http("308 Permanent Redirect", Location=site.url("/well"))) as front:
        program = start(stage, front.url(), timeout=1)
        assert f"leads to {site.url('/well')}" in failure(program)

    assert "a gate follows no redirect" in program.one("gate.retry_scheduled")["cause"]
    assert site.requests == []


def test_a_gate_that_flaps(stage: Stage, site: Site) -> None:
    """One answer opens it: what it says while others are waited for is not asked."""
    answers = iter([UNWELL, b"", UNWELL, http()])
    site.answer = lambda _: next(answers, UNWELL)
    with Site(UNWELL) as other:
        program = start(stage, site.url(), other.url())
        program.until("gate.opened", url=site.url())
        asked = len(site.requests)
        other.answer = http()
        assert program.wait() == 0

    assert len(site.requests) == asked == 4
    assert len(program.all("gate.opened")) == 2


def test_a_certificate_for_another_name(stage: Stage) -> None:
    """No waiting heals it: exit 5 at once, and the name is told."""
    stage.environ["SSL_CERT_FILE"] = str(CA)
    with Site(http(), certificate="elsewhere") as site:
        program = start(stage, site.url(host="localhost", scheme="https"), timeout=90)
        error = failure(program, 5)

    assert "certificate is not valid for 'localhost'" in error
    assert "gate.retry_scheduled" not in program.names()
    assert "certificate" in program.one("gates.failed")["remedy"]


def test_a_certificate_that_becomes_right(stage: Stage, port: int) -> None:
    """One of an unknown issuer is waited for: a reverse proxy's own, until it has the other."""
    url = f"https://localhost:{port}/"
    with Site(http(), certificate="localhost", port=port):
        program = start(stage, url, timeout=5)
        assert failure(program).endswith("unable to get local issuer certificate")
        assert "SSL_CERT_FILE" in program.one("gates.failed")["remedy"]

        stage.environ["SSL_CERT_FILE"] = str(CA)
        assert start(stage, url).wait() == 0


def test_a_gate_at_a_socket(stage: Stage, tmp_path: Path) -> None:
    """A sidecar's socket that is not there yet, and then answers."""
    path = tmp_path / "sidecar.sock"
    url = f"http+unix://{str(path).replace('/', '%2F')}/health"
    program = start(stage, url)
    assert program.until("gate.retry_scheduled")["cause"] == "no such file or directory"
    with Site(http(), address=path) as site:
        assert program.wait() == 0

    assert site.requests[0].startswith(b"GET /health HTTP/1.1\r\n")


def test_a_tcp_gate(stage: Stage, port: int) -> None:
    """A connection opens it; nothing is said there."""
    url = f"tcp://127.0.0.1:{port}"
    program = start(stage, url)
    assert program.until("gate.retry_scheduled")["cause"] == "connection refused"
    with Site(port=port) as site:
        assert program.wait() == 0
        assert b"".join(site.requests) == b""

    assert program.one("gate.opened")["url"] == url


def test_a_name_that_appears_after_five_seconds(stage: Stage, site: Site, tmp_path: Path) -> None:
    """A service's name is there when its container is, and that is soon enough."""
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    urls = [site.url(host="late.invalid"), f"tcp://late.invalid:{site.port}"]
    program = start(stage, *urls, through=with_hosts(hosts))
    for url in urls:
        cause = program.until("gate.retry_scheduled", url=url)["cause"]
        assert cause.startswith("the host name 'late.invalid' does not resolve (")
    late = threading.Timer(5, hosts.write_text, ["127.0.0.1 localhost late.invalid\n"])
    late.start()

    assert program.wait() == 0, program.output
    late.join()
    assert all(event["elapsed_s"] >= 5 for event in program.all("gate.opened"))


@pytest.mark.parametrize(
    "names", ["::1 gate.invalid", "127.0.0.1 gate.invalid\n::1 gate.invalid"], ids=["only", "also"]
)
def test_a_gate_that_only_ipv6_reaches(stage: Stage, tmp_path: Path, names: str) -> None:
    """Whichever of a name's addresses answers is enough, and so is a bare one."""
    hosts = tmp_path / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{names}\n")
    with Site(http(), address="::1") as site:
        urls = [site.url(host="gate.invalid"), site.url(host="[::1]")]
        urls += [f"tcp://gate.invalid:{site.port}", f"tcp://[::1]:{site.port}"]
        program = start(stage, *urls, through=with_hosts(hosts))
        assert program.wait() == 0, program.output

    assert {event["url"] for event in program.all("gate.opened")} == set(urls)
    assert program.all("gate.retry_scheduled") == []


def test_a_deaf_name_server_does_not_stretch_a_deadline(stage: Stage) -> None:
    """Nor the exit: who asks is left behind."""
    started = time.monotonic()
    urls = ["http://sso-service.invalid/", "tcp://sso-service.invalid:80"]
    program = start(stage, *urls, timeout=2, through=deaf_names(stage.directory))

    assert "no answer within 2 s" in failure(program)
    assert time.monotonic() - started < 8


def test_a_deaf_name_server_is_told(stage: Stage) -> None:
    """It is the cause, though the resolver has not come back yet; SIGTERM ends it at once."""
    program = start(stage, "http://sso-service.invalid/", through=deaf_names(stage.directory))
    told = program.until("gate.retry_scheduled")
    assert told["cause"] == "no answer from the name server for 'sso-service.invalid'"
    assert told["attempts"] == 0

    program.signal(signal.SIGTERM)
    assert program.wait(timeout=2) == 143
    assert program.one("gates.failed")["error"] == "ended by SIGTERM"


@pytest.mark.parametrize("answer", [HANG, UNWELL], ids=["asking", "resting"])
def test_sigterm_while_waiting_for_a_gate(stage: Stage, site: Site, answer: Answer | None) -> None:
    """The wait ends at once, with a request under way or between two."""
    site.answer = answer
    program = start(stage, site.url(), site.url("/2"))
    if answer is HANG:
        program.until("gates.started")
    else:
        program.until("gate.retry_scheduled")

    program.signal(signal.SIGTERM)

    assert program.wait(timeout=2) == 143
    assert program.one("gates.failed")["exit_code"] == 143
    assert "wait.started" not in program.names()


@pytest.mark.timeout(180)
def test_two_services_that_wait_for_each_other(stage: Stage, tmp_path: Path) -> None:
    """After 60 s each start says why that may be, and at its end again; what it advises helps.

    So do starts whose other service has no name before it is healthy, as with Swarm's dnsrr.
    """
    ports = []
    with ExitStack() as stack:
        for _ in range(2):
            taken = stack.enter_context(closing(socket.create_server(("127.0.0.1", 0))))
            ports.append(taken.getsockname()[1])
    services = [[sys.executable, "-m", "http.server", "-b", "127.0.0.1", str(p)] for p in ports]
    (tmp_path / "sso").mkdir()
    stages = [stage, replace(stage, directory=tmp_path / "sso")]
    programs = []
    for each, argv, other in zip(stages, services, reversed(ports), strict=True):
        each.gates = [{"url": f"http://localhost:{other}/", "timeout": 66}]
        programs.append(each.start(*argv))
    nameless = []
    for name, through in (("unknown", []), ("deaf", deaf_names(tmp_path))):
        (tmp_path / name).mkdir()
        start_of = replace(stage, directory=tmp_path / name)
        nameless.append(start(start_of, "tcp://sso.invalid:80", timeout=66, through=through))

    for program in nameless:
        assert program.wait(timeout=120) == 4, program.output
        hint = program.one("gates.failed")["hint"]
        assert hint.startswith("Likely cause: sso.invalid waits for demo in turn")
        hints = [event.get("hint") for event in program.all("gate.retry_scheduled")]
        assert hints[0] is None
        assert hints[-1] == hint
    for program in programs:
        assert program.wait(timeout=120) == 4, program.output
        *before, hinted = program.all("gate.retry_scheduled")
        assert [event for event in before if "hint" in event] == []
        assert 60 <= hinted["waited_s"] < 66
        assert hinted["hint"] == program.one("gates.failed")["hint"]
        assert hinted["hint"].startswith("Likely cause: localhost waits for demo in turn")
        waited = [event["waited_s"] for event in before]
        assert waited[0] < 5
        assert all(late - early > 9.9 for early, late in pairwise(waited))

    stages[0].gates = []
    first, second = (each.start(*argv) for each, argv in zip(stages, services, strict=True))
    for program in (first, second):
        assert program.until("handoff.executed")


def test_with_everything_skipped_nobody_is_asked(stage: Stage, site: Site) -> None:
    """Who only wants to be handed off is, and the gates are told like the other steps."""
    stage.environ["ENTRYPOINT_SKIP"] = "push,seed"
    program = start(stage, site.url())

    assert program.wait() == 0
    assert program.one("gates.skipped")["reason"] == "ENTRYPOINT_SKIP"
    assert site.requests == []


def test_without_gates_nothing_is_told_or_imported(stage: Stage, site: Site) -> None:
    """Who names none does not pay; a tcp gate pays for no HTTP."""
    launcher = ("-X", "importtime", "-m", "entrypoint")
    ours = {"entrypoint.start.gates", "entrypoint.http_client"}
    program = start(stage, launcher=launcher)
    assert program.wait() == 0
    assert not (ours | {"httpx", "httpcore"}) & imported(program)
    assert [name for name in program.names() if name.startswith("gate")] == []

    program = start(stage, f"tcp://127.0.0.1:{site.port}", launcher=launcher)
    assert program.wait() == 0
    assert ours <= imported(program)
    assert "httpx" not in imported(program)

    program = start(stage, site.url(), launcher=launcher)
    assert program.wait() == 0
    assert {*ours, "httpx"} <= imported(program)
