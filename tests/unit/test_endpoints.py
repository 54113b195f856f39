"""Gates, the health URL, the tenant's lookup and the webhook, as the settings name them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib import parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoint import log
from entrypoint.config import load as config
from entrypoint.config import urls
from entrypoint.config.conninfo import quote, unquote
from entrypoint.config.environment import Environment
from entrypoint.config.settings import Gate, Lookup
from entrypoint.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from entrypoint.config.settings import Settings

HOOK = "https://hooks.example.com/services/T0/c4n4ry-of-a-hook"
TWO_XX: frozenset[int] = frozenset()


@given(
    st.sampled_from(["http", "https", "HTTP", "tcp", "ftp", "http+unix"]),
    st.text("a1.-_%@[]:", max_size=8),
    st.sampled_from(["", ":", ":0", ":80", ":08080", ":65536", ":x", ":9999"]),
    st.text("/a1._-~%?# ", max_size=6),
    st.sampled_from([urls.HTTP, urls.GATES]),
)
def test_a_plain_url_is_judged_as_any(
    scheme: str, host: str, port: str, path: str, schemes: tuple[str, ...]
) -> None:
    """What is accepted at a glance is accepted by the parser too."""

    def refusal(check: Callable[[str, tuple[str, ...]], None]) -> str | None:
        try:
            check(f"{scheme}://{host}{port}{path}", schemes)
        except urls.BadUrlError as error:
            return str(error)
        return None

    assert refusal(urls.check) == refusal(urls._check)  # noqa: SLF001  the parser's part


@given(st.text() | st.text("aZ09-._~%:/@ é"))
def test_percent_encoding_is_urllibs(text: str) -> None:
    """Also of what needs none."""
    assert (quote(text), quote(text, ":")) == (parse.quote(text, ""), parse.quote(text, ":"))
    assert unquote(text) == parse.unquote(text)


def load(folder: Path, toml: str = "", /, **variables: str) -> Settings:
    (folder / "entrypoint.toml").write_text(toml)
    variables = {"DATABASE_URL": "postgresql://u:pw@db/app", **variables}
    block = {name.encode(): value.encode() for name, value in variables.items()}
    return config.load(Environment(block), folder)


def problems(folder: Path, toml: str, /, **variables: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(folder, toml, **variables)
    return caught.value.problems


def test_gates_wait_as_long_as_for_the_server_unless_they_say(tmp_path: Path) -> None:
    """A gate's timeout is its own, or that of the wait for PostgreSQL."""
    toml = "[[gates]]\nurl = 'tcp://a:1'\n[[gates]]\nurl = 'http://b/'\ntimeout = 7\nstatus = 204"
    found = load(tmp_path, toml, ENTRYPOINT_WAIT_TIMEOUT="9")
    expected = Gate("tcp://a:1", 9.0, TWO_XX), Gate("http://b/", 7.0, frozenset({204}))
    assert found.gates == expected


def test_a_variable_replaces_the_gates_of_the_image(tmp_path: Path) -> None:
    """ENTRYPOINT_GATES names others, or none; empty leaves the image's."""
    toml = "[[gates]]\nurl = 'http://sso:4001/health'"
    [gate] = load(tmp_path, toml, ENTRYPOINT_GATES="tcp://x:2").gates
    assert gate.url == "tcp://x:2"
    assert load(tmp_path, toml, ENTRYPOINT_GATES="none").gates == ()
    assert len(load(tmp_path, toml, ENTRYPOINT_GATES="").gates) == 1


@pytest.mark.parametrize(
    ("url", "variables", "filled"),
    [
        ("http://127.0.0.1:${PORT}/h", {"PORT": "4001"}, "http://127.0.0.1:4001/h"),
        ("http://127.0.0.1:${PORT:-80}/h", {}, "http://127.0.0.1:80/h"),
        ("http://127.0.0.1:${PORT:-80}/h", {"PORT": ""}, "http://127.0.0.1:80/h"),
        ("http://[::1]:${P1}${P2}/", {"P1": "4", "P2": "2"}, "http://[::1]:42/"),
    ],
)
def test_variables_are_filled_in(
    tmp_path: Path, url: str, variables: dict[str, str], filled: str
) -> None:
    """`${NAME}` and `${NAME:-default}` are as in compose files, where empty counts as unset."""
    assert load(tmp_path, f"[health]\nurl = '{url}'", **variables).health_url == filled


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("127.0.0.1:80", "must begin with http:// or https://"),
        ("ftp://host/", "must begin with http:// or https://"),
        ("http://", "has no host that is a valid name or address"),
        ("http://-x/", "has no host that is a valid name or address"),
        ("http://h:99999/", "is no URL: its host or port cannot be read"),
        ("http://h:eighty/", "is no URL: its host or port cannot be read"),
        ("http://[::1/", "is no URL: its host or port cannot be read"),
        ("http://h/a b", "has a character that no URL has, such as a blank or a ${ left over"),
        ("http://h/${", "has a character that no URL has, such as a blank or a ${ left over"),
    ],
)
def test_a_url_that_nobody_can_ask_is_refused(tmp_path: Path, url: str, problem: str) -> None:
    """What is wrong with a URL is said before any network, with the setting's name."""
    found = problems(tmp_path, f"[health]\nurl = '{url}'")
    assert found == [f"entrypoint.toml: health.url {problem}"]
    assert problems(tmp_path, "", ENTRYPOINT_HEALTH_URL=url) == [f"ENTRYPOINT_HEALTH_URL {problem}"]


@pytest.mark.parametrize("port", ["tcp://10.0.0.1:80", "80 ", "eighty", "4001\r"])
def test_a_foreign_port_is_named(tmp_path: Path, port: str) -> None:
    """A URL that a variable spoils says which one that is."""
    found = problems(tmp_path, "[health]\nurl = 'http://127.0.0.1:${PORT}/'", PORT=port)
    assert found[0].startswith("entrypoint.toml: health.url ")
    assert found[0].endswith(" (with PORT filled in)")


def test_a_health_url_whose_variable_is_not_set_stops_no_start(tmp_path: Path) -> None:
    """A job that only prepares has no PORT; the probe will say what it misses."""
    found = load(tmp_path, "[health]\nurl = 'http://127.0.0.1:${PORT}/'")
    assert found.health_url is None
    problem = "entrypoint.toml: health.url needs the variable PORT, which is not set"
    assert found.health_problem == problem


@pytest.mark.parametrize(
    ("gate", "problem"),
    [
        ("url = 'udp://h:1'", " must begin with http:// or https:// or http+unix:// or tcp://"),
        ("url = 'http://${SSO}/'", " needs the variable SSO, which is not set"),
        ("url = 'tcp://h'", " must be tcp://HOST:PORT and no more"),
        ("url = 'tcp://h:1/x'", " must be tcp://HOST:PORT and no more"),
        (
            "url = 'http+unix:///run/x'",
            " must name the socket percent-encoded, as http+unix://%2Frun%2Fx/path",
        ),
        ("url = 'http://h'\nstatus = 'ok'", ": status must be HTTP statuses, not 'ok'"),
        ("url = 'http://h'\nstatus = [20]", ": status must be HTTP statuses, not [20]"),
        ("url = 'http://h'\nstatus = true", ": status must be HTTP statuses, not True"),
        (
            "url = 'http://h'\ntimeout = -1",
            ": timeout must be a number of seconds from 0 to 604800, not -1",
        ),
    ],
)
def test_a_gate_that_cannot_be_is_refused(tmp_path: Path, gate: str, problem: str) -> None:
    """Each gate is named by its number."""
    assert problems(tmp_path, f"[[gates]]\n{gate}") == [f"entrypoint.toml: gates[1]{problem}"]


def test_a_socket_may_be_a_gate(tmp_path: Path) -> None:
    """http+unix names the socket's path percent-encoded, then the request's."""
    url = "http+unix://%2Frun%2Fsso.sock/v1/health"
    assert load(tmp_path, f"[[gates]]\nurl = '{url}'").gates == (Gate(url, 300.0, TWO_XX),)


def test_a_tenant_is_looked_up_where_none_is_set(tmp_path: Path) -> None:
    """By a field of a URL's answer, or by a query; SEED_TENANT_ID makes both needless."""
    toml = "[seed]\ntenant_lookup = { url = 'http://sso/tenants?name=x' }"
    assert load(tmp_path, toml).seed.lookup == Lookup(
        "http://sso/tenants?name=x", "id", None, None, 300.0
    )
    tenant = "6f1c2b3a-9d4e-4f50-8a61-7b2c3d4e5f60"
    assert load(tmp_path, toml, SEED_TENANT_ID=tenant).seed.lookup is None
    query = "{ database = 'gaqno_sso_db', query = 'select id from sso_tenants', timeout = 5 }"
    assert load(tmp_path, ENTRYPOINT_SEED_TENANT_LOOKUP=query).seed.lookup == Lookup(
        None, "id", "gaqno_sso_db", "select id from sso_tenants", 5.0
    )


def test_a_lookup_is_enough_for_a_seed_that_needs_a_tenant(tmp_path: Path) -> None:
    """`seed.when = "always"` with `{tenant_id}` wants the variable or a lookup."""
    seed = "[seed]\nwhen = 'always'\ncommand = ['seed', '{tenant_id}']\n"
    assert "SEED_TENANT_ID is not set" in problems(tmp_path, seed)[0]
    assert load(tmp_path, f"{seed}tenant_lookup = {{ url = 'http://sso/' }}").seed.lookup


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("{ field = 'id' }", " must have url and field, or database and query"),
        ("{ url = 'http://s', query = 'x' }", " must have url and field, or database and query"),
        ("{ database = 'd' }", " must have url and field, or database and query"),
        ("{ url = 1 }", " must have texts for url, field, database and query"),
        ("{ url = 'http://s', field = '' }", " must have texts for url, field, database and query"),
        ("{ url = 'sso' }", ": url must begin with http:// or https://"),
    ],
)
def test_a_lookup_that_cannot_be_is_refused(tmp_path: Path, table: str, problem: str) -> None:
    """It says how to ask in one of two ways."""
    found = problems(tmp_path, f"[seed]\ntenant_lookup = {table}")
    assert found == [f"entrypoint.toml: seed.tenant_lookup{problem}"]


def test_a_webhook_s_url_is_a_secret(tmp_path: Path) -> None:
    """It may come from a file, nobody but us gets it, and no log shows it."""
    secret = tmp_path / "hook"
    secret.write_text(HOOK + "\n")
    for variables in (
        {"ENTRYPOINT_NOTIFY_URL": HOOK},
        {"ENTRYPOINT_NOTIFY_URL_FILE": str(secret)},
    ):
        found = load(tmp_path, "", **variables)
        assert found.notifies
        assert list(found.service_environment) == ["DATABASE_URL"]
    assert log.mask(f"POST {HOOK}") == f"POST {log.MASK}"
    bad = problems(tmp_path, "", ENTRYPOINT_NOTIFY_URL=HOOK.replace("https", "ftp"))
    assert bad == ["ENTRYPOINT_NOTIFY_URL must begin with http:// or https://"]


def test_a_url_for_people_has_nothing_private() -> None:
    """No user, password, query or fragment of a URL is shown."""
    assert urls.safe("https://u:p@h:1/path?token=x#y") == "https://h:1/path"
    assert urls.safe("http+unix://%2Frun%2Fx/h") == "http+unix://%2Frun%2Fx/h"
