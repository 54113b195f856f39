"""A child that prints a secret in another form than it got it in (X6).

The programs that print are real ones: what they make of a text is theirs to say, not this file's.
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from entrypoint import log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECRET = "k4nary/P@ss:w#rd%?\"'\\ü& <x>$`+~"

HALVES = ("k4nary", "w#rd", "ss:w", "k4na", "P@ss")
"""Parts that no form below changes; none of them may be left of it."""


@contextmanager
def knowing(secret: str) -> Iterator[None]:
    """A log that knows a secret and no other, and forgets it afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "_secrets", set())
        patch.setattr(log, "_codes", set())
        patch.setattr(log, "_pattern", None)
        log.hide([secret])
        yield


@pytest.fixture(autouse=True)
def hidden() -> Iterator[None]:
    """A log that knows the secret."""
    with knowing(SECRET):
        yield


NODE = "const s = process.env.SECRET; const u = require('util');"

JAVASCRIPT = {
    "console.log of an object": "console.log({ password: s, deep: { list: [s] } })",
    "util.inspect": "console.log(u.inspect(s))",
    "JSON": "console.log(JSON.stringify({ s }))",
    "JSON in JSON": "console.log(JSON.stringify({ a: JSON.stringify({ s }) }))",
    "encodeURIComponent": "console.log(encodeURIComponent(s))",
    "encodeURI": "console.log(encodeURI(s))",
    "a URL's password": "const x = new URL('http://h'); x.password = s; console.log(x.password)",
    "a URL": "const x = new URL('postgres://u@h/d'); x.password = s; console.log(x)",
    "a URL in a URL": "console.log('x=' + encodeURIComponent(encodeURIComponent(s)))",
    "URLSearchParams": "console.log(String(new URLSearchParams({ s })))",
    "querystring": "console.log(require('querystring').stringify({ s }))",
    "base64": "console.log(Buffer.from(s).toString('base64'))",
    "base64 of a user and it": "console.log(Buffer.from('ada:' + s).toString('base64'))",
    "base64url of a user and it": "console.log(Buffer.from('bob:' + s).toString('base64url'))",
    "hex": "console.log(Buffer.from(s).toString('hex'))",
    "a buffer": "console.log(Buffer.from(s))",
    "an error": "console.log(new Error(s).stack)",
    "a template's JSON": "console.log(JSON.stringify(`psql ${JSON.stringify(s)}`))",
}

PYTHON = {
    "repr": "print(repr(s))",
    "repr of repr": "print(repr(repr(s)))",
    "ascii": "print(ascii(s))",
    "repr of bytes": "print(s.encode())",
    "JSON": "import json; print(json.dumps({'a': json.dumps([s])}))",
    "HTML": "import html; print(html.escape(s))",
    "XML": "from xml.sax.saxutils import quoteattr; print(quoteattr(s))",
    "shlex": "import shlex; print(shlex.quote(s))",
    "quote_plus": "from urllib.parse import quote_plus; print(quote_plus(s))",
    "lower case": "import re; from urllib.parse import quote; "
    "print(re.sub('%..', lambda found: found[0].lower(), quote(s, safe='')))",
    "CSV": "import csv, sys; csv.writer(sys.stdout).writerow([s, 1])",
    "base64": "import base64; print(base64.b64encode(('someone:' + s).encode()))",
    "hex": "print(s.encode().hex().upper())",
}

SHELL = {
    "sh -x": "sh -xc ': \"$SECRET\"'",
    "bash -x": "bash -xc ': \"$SECRET\"'",
    "printf %q": "bash -c 'printf %q \"$SECRET\"'",
    "bash's @Q": "bash -c 'echo \"${SECRET@Q}\"'",
    "declare -p": "bash -c 'declare -p SECRET'",
    "export -p": "sh -c 'export -p'",
    "base64": 'printf %s "user:$SECRET" | base64 -w 0',
    "xxd -p": 'printf %s "$SECRET" | xxd -p -c 200',
    "curl's words": 'echo "> Authorization: Basic $(printf %s "x:$SECRET" | base64 -w 0)"',
}


def said(argv: list[str]) -> str:
    """What a program that has the secret in its environment prints."""
    environ = {"PATH": os.environ["PATH"], "SECRET": SECRET, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(argv, check=True, capture_output=True, env=environ)
    return (done.stdout + done.stderr).decode()


def assert_gone(printed: str) -> None:
    """Nothing of it is left, and something of it was there."""
    masked = log.mask(printed)
    assert masked != printed, f"the secret was not found in {printed}"
    assert [half for half in HALVES if half in masked] == [], masked
    for code in (base64.b64encode(SECRET.encode()).decode()[8:16], SECRET.encode().hex()[4:20]):
        assert code not in masked


@pytest.mark.parametrize("code", JAVASCRIPT.values(), ids=JAVASCRIPT)
def test_node(code: str) -> None:
    """What JavaScript prints of it is masked."""
    assert_gone(said(["node", "-e", NODE + code]))


@pytest.mark.parametrize("code", PYTHON.values(), ids=PYTHON)
def test_python(code: str) -> None:
    """What Python prints of it is masked."""
    assert_gone(said([sys.executable, "-c", f"import os; s = os.environ['SECRET']; {code}"]))


@pytest.mark.parametrize("script", SHELL.values(), ids=SHELL)
def test_shell(script: str) -> None:
    """What shells and their tools print of it is masked."""
    assert_gone(said(["sh", "-c", script]))


def test_conninfo() -> None:
    """What libpq's own quoting makes of it is masked."""
    from psycopg.conninfo import make_conninfo

    assert_gone(make_conninfo(host="h", password=SECRET).replace("password", "secret"))


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        ("Authorization: Basic YWRhOnB3IGQ=", "Authorization: Basic ****"),
        ('{"authorization":"Basic YWRhOnB3IGQ="}', '{"authorization":"Basic ****"}'),
        ("authorization: Bearer abc.def-ghi", "authorization: Bearer ****"),
        ("sent basic YWRhOnB3IGQ to h", "sent basic **** to h"),
        ("proxy-authorization=secret; x", "proxy-authorization=****; x"),
    ],
)
def test_credentials_of_strangers(line: str, masked: str) -> None:
    """A header with anybody's credentials is masked, though nobody registered them."""
    assert log.mask(line) == masked


@pytest.mark.parametrize(
    "line", ["Basic authentication failed", "basic tests passed", "no authorization for role x"]
)
def test_words_about_credentials(line: str) -> None:
    """Sentences about authentication stay as they are."""
    assert log.mask(line) == line


@pytest.mark.parametrize(
    "form",
    [
        SECRET[::-1],
        " ".join(SECRET),
        "\n".join((SECRET[:9], SECRET[9:])),
        json.dumps(json.dumps(json.dumps(SECRET)[1:-1])[1:-1])[1:-1],
        base64.b64encode(base64.b64encode(SECRET.encode())).decode(),
        base64.b32encode(SECRET.encode()).decode(),
    ],
    ids=["reversed", "spaced", "on two lines", "quoted three times", "base64 twice", "base32"],
)
def test_the_control(form: str) -> None:
    """The checks above see what is not masked: forms that the page on events leaves out."""
    assert log.mask(form) == form


FORMS: list[Callable[[str], str]] = [
    str,
    lambda text: quote(text, safe=""),
    lambda text: quote(text, safe="/:@!$&'()*+,;=~"),
    lambda text: quote(text, safe="").replace("%2F", "%2f").replace("%3A", "%3a"),
    quote_plus,
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    lambda text: repr(text)[1:-1],
    lambda text: repr(text.encode())[2:-1],
    lambda text: ascii(text)[1:-1],
    lambda text: text.replace("'", "''"),
    lambda text: text.replace("'", "'\\''"),
    lambda text: text.replace("'", "'\"'\"'"),
    lambda text: text.replace("\\", "\\\\").replace("'", "\\'"),
    html.escape,
    lambda text: "".join(f"&#{ord(each)};" for each in text),
    lambda text: "".join(f"&#x{ord(each):X};" for each in text),
]


def is_usual(text: str) -> bool:
    """A password such as one could type; a form of it is not a form of another."""
    return text.isprintable() and log.MASK not in text


USUAL = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=4).filter(
    is_usual
)


@settings(deadline=None)
@given(USUAL, st.sampled_from(FORMS), st.sampled_from(FORMS))
@example('a%41b"c', FORMS[5], FORMS[0])
@example("''''", FORMS[10], FORMS[0])
def test_any_password_quoted_twice(
    secret: str, once: Callable[[str], str], twice: Callable[[str], str]
) -> None:
    """Every pair of forms around every password is found, and what stands beside it is left."""
    form = twice(once(secret))
    with knowing(secret):
        assert re.fullmatch(r"\[(\*{4})+\]", log.mask(f"[{form}]")), form


@settings(deadline=None)
@given(USUAL.filter(lambda text: len(text) > 5), st.binary(max_size=5), st.binary(max_size=5))
def test_any_password_in_base64(secret: str, before: bytes, after: bytes) -> None:
    """Whatever was encoded with it, and in both alphabets, the whole word goes; so does hex."""
    data = before + secret.encode() + after
    words = base64.b64encode(data), base64.urlsafe_b64encode(data), data.hex().encode()
    with knowing(secret):
        assert {log.mask(f"[{word.decode()}]") for word in words} == {"[****]"}
