"""What counts as a tenant in a server's answer; the server is a real one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from entrypoint.config import dialects
from entrypoint.config.settings import Lookup
from entrypoint.errors import EntrypointError, SeedError, UnreachableError
from entrypoint.start import tenant
from tests.support.site import Site, http

if TYPE_CHECKING:
    from entrypoint.config.conninfo import Conninfo
    from entrypoint.postgres.session import Session

TENANT = "6f1c2b3a-9d4e-4f50-8a61-7b2c3d4e5f60"
ROW = {"id": TENANT}


def nobody(_conninfo: Conninfo, _timeout_s: float) -> Session:
    raise AssertionError


def find(field: str, body: bytes, timeout_s: float = 5.0) -> str:
    """What is found in an answer."""
    server = dialects.parse("postgresql://u:p@h/d")
    with Site(http(body=body)) as site:
        lookup = Lookup(site.url(), field, None, None, timeout_s)
        return tenant.find(lookup, server, nobody, lambda: None)


@pytest.mark.parametrize(
    ("field", "answer"),
    [
        ("id", ROW),
        ("id", {"id": TENANT.upper()}),
        ("id", [ROW]),
        ("data.id", {"data": ROW}),
        ("data.id", {"data": [ROW]}),
        ("id", [[ROW]]),
        ("data.id", {"data": [[ROW]]}),
        ("data.id", [{"data": [[ROW]]}]),
        ("ids", {"ids": [[TENANT]]}),
        ("data.0.id", {"data": [ROW, {"id": "another"}]}),
        ("1", ["another", TENANT]),
        ("0", {"0": TENANT}),
        ("ids", {"ids": [TENANT]}),
        ("ä", {"ä": TENANT}),
    ],
)
def test_a_path_with_dots_leads_to_the_tenant(field: str, answer: object) -> None:
    """Through objects by name, through lists by number; a list of one stands for its element."""
    assert find(field, json.dumps(answer).encode()) == TENANT


@pytest.mark.parametrize(
    ("field", "body", "words"),
    [
        ("id", b"<html>", "the answer is not JSON"),
        ("id", b"\xff", "the answer is not JSON"),
        ("id", b"[" * 100_000, "the answer is not JSON"),
        ("id", b" " * (1 << 20) + b"{}x", "longer than 1 MiB"),
        ("id", b"1", "the answer has no field 'id'"),
        ("id", b'"x"', "the answer has no field 'id'"),
        ("uuid", json.dumps(ROW).encode(), "the answer has no field 'uuid'"),
        ("id.x", json.dumps(ROW).encode(), "the answer has no field 'id.x'"),
        ("id", json.dumps([ROW, ROW]).encode(), "more than one tenant"),
        ("id", json.dumps([[ROW, ROW]]).encode(), "more than one tenant"),
        ("data", json.dumps({"data": [ROW, ROW]}).encode(), "more than one tenant"),
        ("id", b'{"id": 7}', "7 is not a UUID"),
        ("id", b'{"id": "gaqno-development"}', "'gaqno-development' is not a UUID"),
        ("id", b'{"id": {}}', "{} is not a UUID"),
        ("id", b'{"id": ""}', "'' is not a UUID"),
        ("id", json.dumps({"id": f"{TENANT}\n"}).encode(), "is not a UUID"),
        ("id", json.dumps({"id": "x" * 9999}).encode(), "xxx... is not a UUID"),
        ("id", b'{"id": "postgres://u:c4n4ry@h/d"}', "'postgres://... is not a UUID"),
    ],
)
def test_an_answer_that_is_not_one_tenant_ends_the_wait(
    field: str, body: bytes, words: str
) -> None:
    """Waiting would not heal it, and what it was is quoted only in part."""
    with pytest.raises(SeedError) as caught:
        find(field, body, timeout_s=60)
    assert words in caught.value.message
    assert len(caught.value.message) < 200
    assert "SEED_TENANT_ID" in caught.value.remedy


@pytest.mark.parametrize(
    ("field", "body", "cause"),
    [
        ("id", b"", "the answer is empty"),
        ("id", b" \n", "the answer is empty"),
        ("id", b"[]", "there is no tenant yet"),
        ("id", b"[[]]", "there is no tenant yet"),
        ("id", b"[null]", "the answer has no value at 'id'"),
        ("ids", b'{"ids": [null]}', "the answer has no value at 'ids'"),
        ("data.id", b'{"data": []}', "there is no tenant yet"),
        ("data.0.id", b'{"data": []}', "the answer has no value at 'data.0.id'"),
        ("data.id", b'{"data": null}', "the answer has no value at 'data.id'"),
        ("id", b"null", "the answer has no value at 'id'"),
    ],
)
def test_an_answer_without_a_tenant_is_waited_out(field: str, body: bytes, cause: str) -> None:
    """The tenant may be on its way; at the end the last cause is told."""
    with pytest.raises(UnreachableError) as caught:
        find(field, body, timeout_s=0)
    assert caught.value.message.endswith(f": {cause}")
    assert caught.value.remedy.startswith("Set SEED_TENANT_ID")


def test_what_is_checked_between_two_attempts_ends_the_wait() -> None:
    """A lock that is lost while waiting is somebody else's by then."""
    calls: list[int] = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise EntrypointError("lost", remedy="r")

    with Site(http("404 Not Found")) as site:
        lookup = Lookup(site.url(), "id", None, None, 60)
        server = dialects.parse("postgresql://u:p@h/d")
        with pytest.raises(EntrypointError, match=r"^lost$"):
            tenant.find(lookup, server, nobody, check)
        assert len(site.requests) == 2
