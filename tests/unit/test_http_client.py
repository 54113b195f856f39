"""What `http_client` answers, and how it says that nobody did, against real sockets."""

from __future__ import annotations

import gc
import json
import socket
import time
import warnings
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

import pytest

from entrypoint import __version__, http_client
from tests.support.site import CA, HANG, Site, dripping, http

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def site() -> Iterator[Site]:
    with Site(http(body=b"well")) as made:
        yield made


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' issuer is trusted by the variable that OpenSSL knows."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CA))


class Refusal(NamedTuple):
    """What is left of a `http_client.RequestError`."""

    text: str
    permanent: bool


def refusal(url: str, timeout_s: float = 5) -> Refusal:
    """Why `ask` has no answer."""
    with pytest.raises(http_client.RequestError) as caught:
        http_client.ask(url, timeout_s)
    return Refusal(caught.value.text, caught.value.permanent)


def test_an_answer(site: Site) -> None:
    """Status, reason, where a redirect leads, and the body come back; the redirect is not taken."""
    site.answer = http("302 Found", b"elsewhere", Location="/login?token=x")

    assert http_client.ask(site.url("/v1/health?x=1"), 5) == (
        302,
        "Found",
        "/login?token=x",
        b"elsewhere",
    )
    assert len(site.requests) == 1


def test_what_is_sent(site: Site) -> None:
    """Who asks, that the connection ends, no compression, and the URL's user and password."""
    http_client.ask(site.url("/v1/health?x=1").replace("://", "://ada:pw%20d@"), 5)
    head, *lines = site.requests[0].decode().lower().split("\r\n")

    assert head == "get /v1/health?x=1 http/1.1"
    expected = {
        f"user-agent: entrypoint/{__version__}",
        "connection: close",
        "accept-encoding: identity",
        "authorization: basic ywrhonb3igq=",
    }
    assert set(lines) >= expected


def test_a_post_of_json(site: Site) -> None:
    """The data arrives whole, whatever bytes its texts were made from, and the status is told."""
    site.answer = http("202 Accepted")
    data = {"line": "ü\udcff", "code": 7}

    assert http_client.tell(site.url("/hook"), data, 5) == 202
    head, _, body = site.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /hook HTTP/1.1\r\n")
    assert b"\r\nContent-Type: application/json" in head
    assert json.loads(body) == data


def test_no_proxy_of_the_environment(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dependency is asked where it is, not through what the service uses for the world."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    assert http_client.ask(site.url(), 5).body == b"well"


def test_a_body_is_read_up_to_a_mebibyte(site: Site) -> None:
    """More is cut off, and an answer without an end comes to one."""
    site.answer = http(body=b"x" * 10_000_000)

    assert len(http_client.ask(site.url(), 5).body) == http_client.MAX_BODY == 2**20


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\n"

SLOW: dict[str, bytes | list[bytes] | None] = {
    "nothing": HANG,
    "a head of one byte a second": dripping(HEAD),
    "a body of one byte a second": [HEAD, *dripping(b"x" * 600)],
    "a body of one byte a second until it hangs up": [b"HTTP/1.0 200 OK\r\n\r\n", *[b"x"] * 600],
}


@pytest.mark.parametrize("answer", SLOW.values(), ids=SLOW.keys())
def test_the_timeout_is_for_all_of_it(site: Site, answer: bytes | list[bytes] | None) -> None:
    """However it is spent: a request ends with it, where httpx alone would go on reading."""
    site.answer = answer
    started = time.monotonic()

    failure = refusal(site.url(), 2.2)
    assert time.monotonic() - started < 10  # the answers take minutes
    assert (failure.text, failure.permanent) == ("no answer within 2.2 s", False)


def test_the_timeout_is_for_the_handshake_too() -> None:
    """A server that accepts and does not speak TLS is not waited for any longer."""
    with closing(socket.create_server(("127.0.0.1", 0))) as deaf:
        failure = refusal(f"https://127.0.0.1:{deaf.getsockname()[1]}/", 0.5)

    assert (failure.text, failure.permanent) == ("no answer within 0.5 s", False)


def closed_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        return int(taken.getsockname()[1])


def test_nobody_listens() -> None:
    """Refused is said in the system's word."""
    failure = refusal(f"http://127.0.0.1:{closed_port()}/?secret=x")

    assert (failure.text, failure.permanent) == ("connection refused", False)


def test_a_name_that_nobody_knows() -> None:
    """The cause names the host, and may heal: names appear late in a stack."""
    failure = refusal("http://sso-service.invalid/?secret=x")

    assert failure.text.startswith("the host name 'sso-service.invalid' does not resolve (")
    assert not failure.permanent


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"", "no valid HTTP answer (Server disconnected without sending a response.)"),
        (b"-ERR unknown command\r\n\r\n", "no valid HTTP answer (illegal status line"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", "no valid HTTP answer (peer closed"),
    ],
)
def test_an_answer_that_is_none(site: Site, answer: bytes, cause: str) -> None:
    """Silence, another protocol and half an answer are told apart, and may heal."""
    site.answer = answer
    failure = refusal(site.url())

    assert failure.text.startswith(cause)
    assert not failure.permanent


@pytest.mark.parametrize("url", ["ftp://h/", "http://", "http://h:port/", "http://x..y/"])
def test_a_url_that_cannot_be_asked(url: str) -> None:
    """No waiting heals it."""
    assert refusal(url).permanent


@pytest.mark.usefixtures("trusted")
def test_tls_by_an_issuer_of_ours() -> None:
    """SSL_CERT_FILE adds to what is trusted."""
    with Site(http(body=b"well"), certificate="localhost") as site:
        assert http_client.ask(site.url(host="localhost", scheme="https"), 5).body == b"well"


def test_tls_by_a_folder_of_issuers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSL_CERT_DIR does too, with its names of OpenSSL's kind."""
    (tmp_path / "97bd4ed4.0").symlink_to(CA)  # openssl x509 -hash
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with Site(http(body=b"well"), certificate="localhost") as site:
        assert http_client.ask(site.url(host="localhost", scheme="https"), 5).body == b"well"


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    ("certificate", "host", "word"),
    [("elsewhere", "localhost", "'localhost'"), ("localhost", "127.0.0.1", "'127.0.0.1'")],
)
def test_a_certificate_for_another_name(certificate: str, host: str, word: str) -> None:
    """By a trusted issuer it is final: the URL has the wrong name, or the server."""
    with Site(http(), certificate=certificate) as site:
        failure = refusal(site.url(host=host, scheme="https"))

    assert "not valid for" in failure.text
    assert word in failure.text
    assert failure.permanent


def test_a_certificate_of_an_unknown_issuer() -> None:
    """It may heal: a reverse proxy shows its own until it has the right one."""
    with Site(http(), certificate="localhost") as site:
        failure = refusal(site.url(host="localhost", scheme="https"))

    assert failure.text == ("TLS: certificate not trusted: unable to get local issuer certificate")
    assert not failure.permanent


def test_a_port_that_speaks_plain_http(site: Site) -> None:
    """The words of TLS are said as they are."""
    site.answer = lambda _: http()
    failure = refusal(site.url(scheme="https"))

    assert failure.text.startswith("TLS: ")
    assert not failure.permanent


@pytest.fixture
def unclosed() -> Iterator[None]:
    """Httpcore 1.0.9 leaves a Unix socket whose connect fails to the garbage collector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


@pytest.mark.usefixtures("unclosed")
def test_a_socket(tmp_path: Path) -> None:
    """http+unix asks at a socket, for the path and the query."""
    path = tmp_path / "x.sock"
    url = f"http+unix://{str(path).replace('/', '%2F')}/v1/health?x=1"
    assert refusal(url).text == "no such file or directory"

    with Site(http(body=b"well"), address=path) as site:
        assert http_client.ask(url, 5).body == b"well"
    assert site.requests[0].startswith(b"GET /v1/health?x=1 HTTP/1.1\r\nHost: localhost\r\n")
    assert refusal(url).text == "connection refused"


def test_ipv6() -> None:
    """An address in brackets, and a name of both families where only one is served."""
    with Site(http(body=b"well"), address="::1") as site:
        assert http_client.ask(site.url(host="[::1]"), 5).body == b"well"
        http_client.reach("::1", site.port, 5)


def test_a_connection_is_all_that_tcp_wants(site: Site) -> None:
    """`reach` says nothing, and tells why where nobody listens."""
    http_client.reach("127.0.0.1", site.port, 5)
    http_client.reach("localhost", site.port, 5)
    with pytest.raises(http_client.RequestError, match="connection refused"):
        http_client.reach("127.0.0.1", closed_port(), 5)
    assert b"".join(site.requests) == b""
