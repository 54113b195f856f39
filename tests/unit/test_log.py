"""The log: what it masks, what its lines look like, and that it never stops a start."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoint import log

MASKED = [
    # the password of any URL, up to the last @ of the word
    ("postgres://u:pw@h/d", "postgres://u:****@h/d"),
    ("postgresql://u:p@ss@word@h:1/d?a=b", "postgresql://u:****@h:1/d?a=b"),
    ("postgresql://u:p/s?s#w@h/d", "postgresql://u:****@h/d"),
    ("redis://:pw@h", "redis://:****@h"),
    ("amqps://u:@h", "amqps://u:****@h"),
    ("a=postgres://u:pw@h/d b=mysql://u:pw@h", "a=postgres://u:****@h/d b=mysql://u:****@h"),
    ('{"url":"postgres://u:pw@h/d","n":1}', '{"url":"postgres://u:****@h/d","n":1}'),
    ("see=http://x/,db=postgres://u:pw@h", "see=http://x/,db=postgres://u:****@h"),
    ("<postgres://u:pw@h/d>", "<postgres://u:****@h/d>"),
    ("postgresql+psycopg://u:pw@h/d", "postgresql+psycopg://u:****@h/d"),
    # password= in conninfo, in query strings and in environments
    ("host=h password=pw dbname=d", "host=h password=**** dbname=d"),
    ("password = 'it\\'s' x", "password = **** x"),
    ("password='never closed", "password=****"),
    ('PGPASSWORD="p w" psql', "PGPASSWORD=**** psql"),
    ("DB_Password=a\\ b c", "DB_Password=**** c"),
    ("postgres://h/d?sslpassword=pw&x=1", "postgres://h/d?sslpassword=****&x=1"),
]


@pytest.mark.parametrize(("text", "masked"), MASKED)
def test_passwords_of_strangers(text: str, masked: str) -> None:
    """Passwords are recognized by what stands around them, without being registered."""
    assert log.mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://h:80/a",
        "postgres://u@h/d",
        "http://h/a:b@c",
        "https://h/?mail=a:b@c",
        "git@host:path",
        "FATAL: password authentication failed for user u",
        "password",
        "at 10:30 http://h and me@home",
    ],
)
def test_nothing_to_mask(text: str) -> None:
    """What holds no password stays as it is."""
    assert log.mask(text) == text


SECRET = "a/b?c#d@e f%g'h\"i\\j+kü~l!m(n)*&="

FORMS = {
    "plain": SECRET,
    "percent-encoded": quote(SECRET, safe=""),
    "percent-encoded in lower case": quote(SECRET, safe="").replace("%2F", "%2f").lower(),
    "encodeURIComponent": quote(SECRET, safe="!'()*~"),
    "encodeURI": quote(SECRET, safe=";,/?:@&=+$-_.!~*'()#"),
    "form": quote(SECRET, safe="").replace("%20", "+"),
    "JSON": json.dumps(SECRET)[1:-1],
    "JSON in UTF-8": json.dumps(SECRET, ensure_ascii=False)[1:-1],
    "repr": repr(SECRET)[1:-1],
    "SQL": SECRET.replace("'", "''"),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_registered_secret(form: str) -> None:
    """A secret that was registered is masked in every form in which programs print it."""
    log.hide([SECRET])
    assert log.mask(f"before {form}after {form} {form}") == "before ****after **** ****"


@given(st.text(min_size=4).filter(lambda text: text not in "****"))
def test_any_registered_secret(secret: str) -> None:
    """No text of four characters or more survives, however odd."""
    log.hide([secret])
    assert log.mask(f"<{secret}>") == "<****>"


def test_surrogates_are_masked() -> None:
    """A password that is not UTF-8 can be registered, and is masked."""
    log.hide(["pass\udcffword"])
    assert log.mask("pass\udcffword pass%FFword") == "**** ****"


def test_longest_first() -> None:
    """A secret that holds another one is masked as a whole."""
    log.hide(["secret", "secret-and-more"])
    assert log.mask("secret-and-more secret") == "**** ****"


@pytest.mark.parametrize("secret", ["", "a", "abc", "gaqno_rpg_db"])
def test_names_and_trifles_are_not_masked(secret: str) -> None:
    """Masking what is shown anyway, or three letters, would shred every line."""
    log.hide([secret], shown=["gaqno_rpg_db"])
    assert log.mask(f"database {secret}abc") == f"database {secret}abc"
    assert log.mask(f"postgres://u:{secret}@h") == "postgres://u:****@h"


def test_longest_secret() -> None:
    """A cut looks ahead as far as any form of the longest secret goes."""
    assert log.longest_secret() == 0
    log.hide(["secret", "a b c d \U0001f600"])
    twice = json.dumps(json.dumps("a b c d \U0001f600")[1:-1])[1:-1]
    assert log.longest_secret() >= len(twice)


@pytest.mark.parametrize(
    "text",
    ["x://a:" * 20_000, "x://a:" * 20_000 + "@", "a." * 60_000 + "://@", "password='" * 12_000],
    ids=["colons", "at", "dots", "quotes"],
)
def test_masking_takes_linear_time(text: str) -> None:
    """A long line of a child costs no more than a blink, whatever it is made of."""
    started = os.times().user
    log.mask(text)
    assert os.times().user - started < 0.5


def lines(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    out, err = capfd.readouterr()
    assert out == ""
    return [json.loads(line) for line in err.splitlines()]


def test_json_line(capfd: pytest.CaptureFixture[str]) -> None:
    """One line of JSON on stderr: when, how bad and what come first, then the fields."""
    log.configure(form="json", level="info")
    log.bind(service="orders")
    log.event("warning", "wait.retry_scheduled", attempt=1, delay_s=0.5, error=None, ok=True)
    [event] = lines(capfd)
    assert list(event)[:3] == ["timestamp", "level", "event"]
    then = datetime.fromisoformat(event.pop("timestamp"))
    assert abs(datetime.now(UTC) - then) < timedelta(minutes=1)
    assert event == {
        "level": "warning",
        "event": "wait.retry_scheduled",
        "service": "orders",
        "attempt": 1,
        "delay_s": 0.5,
        "error": None,
        "ok": True,
    }


def test_secrets_in_fields(capfd: pytest.CaptureFixture[str]) -> None:
    """Masked wherever they stand: in texts, lists, mappings, objects, and in the event's name."""
    log.configure(form="json", level="info")
    log.hide(["hunter2-pass"])
    log.event(
        "info",
        "hunter2-pass.seen",
        text="is hunter2-pass",
        rows=[("hunter2-pass", 1), {"deep": ["hunter2-pass"]}],
        error=ValueError("hunter2-pass"),
        path=Path("hunter2-pass"),
        data=b"hunter2-pass",
    )
    [event] = lines(capfd)
    assert "hunter2" not in json.dumps(event)
    assert event["rows"] == [["****", 1], {"deep": ["****"]}]
    assert (event["text"], event["error"], event["event"]) == ("is ****", "****", "****.seen")


def test_secret_that_json_escapes(capfd: pytest.CaptureFixture[str]) -> None:
    """A secret with quotes and line ends is masked before it is escaped."""
    log.configure(form="json", level="info")
    log.hide(['pass"w\no\\rd'])
    log.event("info", "push.printed", line='x pass"w\no\\rd y')
    [event] = lines(capfd)
    assert event["line"] == "x **** y"


def test_odd_text_is_valid_json(capfd: pytest.CaptureFixture[str]) -> None:
    """Line ends, control characters and bytes that are not UTF-8 keep one event one line."""
    log.configure(form="json", level="info")
    log.event("info", "push.printed", line="a\nb\r\u2028\x00\x1b[31m\udcff é")
    _, err = capfd.readouterr()
    assert err.count("\n") == 1
    assert json.loads(err)["line"] == "a\nb\r\u2028\x00\x1b[31m\udcff é"


@pytest.mark.parametrize("form", ["json", "console"])
def test_nothing_steers_a_terminal(capfd: pytest.CaptureFixture[str], form: str) -> None:
    """Escapes, and marks that turn text around, are shown and not obeyed."""
    log.configure(form=form, level="info")
    log.event("info", "push.printed", line="\x1b]0;x\x07\x9b2J\u202e\rx\n12:00 forged")
    log.event("info", "push.printed", line="\x9b2J\u202e")
    _, err = capfd.readouterr()
    assert err.count("\n") == 2
    assert err.replace("\n", "").isprintable()
    assert r"\u009b2J\u202e" in err


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_level(capfd: pytest.CaptureFixture[str], level: str, shown: list[str]) -> None:
    """What is less important than the level is left out."""
    log.configure(form="json", level=level)
    for each in log.LEVELS:
        log.event(each, "x.happened")
    assert [event["level"] for event in lines(capfd)] == shown


def test_console(capfd: pytest.CaptureFixture[str]) -> None:
    """For people: one line, no JSON, no colours where they were not asked for, still masked."""
    log.configure(form="console", level="info")
    log.event("info", "settings.started", url="postgres://u:pw@h/d")
    _, err = capfd.readouterr()
    assert "settings.started" in err
    assert "url=postgres://u:****@h/d" in err
    assert err.count("\n") == 1
    assert not err.startswith("{")
    assert "\x1b" not in err


def test_json_where_there_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """Without a form, a log that is not on a terminal is JSON."""
    log.configure(form=None, level="info")
    log.event("info", "settings.started")
    assert lines(capfd)[0]["event"] == "settings.started"


def test_console_on_a_terminal(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a form, a log on a terminal is for people, in colours."""
    monkeypatch.setattr(os, "isatty", lambda descriptor: descriptor == 2)
    log.configure(form=None, level="info")
    log.event("info", "settings.started")
    _, err = capfd.readouterr()
    assert "settings.started" in err
    assert "\x1b" in err


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colours_where_they_are_not_wanted(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
) -> None:
    """By NO_COLOR, and on a terminal that is dumb, the log for people has none."""
    monkeypatch.setattr(os, "isatty", lambda descriptor: descriptor == 2)
    form, level, coloured = log.settings(environ)
    log.configure(form=form, level=level, coloured=coloured)
    log.event("info", "settings.started")
    _, err = capfd.readouterr()
    assert "settings.started" in err
    assert "\x1b" not in err


def test_crash(capfd: pytest.CaptureFixture[str]) -> None:
    """A bug is logged once with its traceback, and without the secret in its text."""
    log.configure(form="json", level="info")
    log.hide(["hunter2-pass"])
    with pytest.raises(KeyError) as caught:
        dict[str, int]()["hunter2-pass"]
    log.crash(caught.value)
    [event] = lines(capfd)
    assert event["event"] == "entrypoint.crashed"
    assert event["error"] == "KeyError: '****'"
    assert "test_log.py" in event["traceback"]
    assert "hunter2" not in json.dumps(event)


def broken_pipe() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def full_disk() -> int:
    return os.open("/dev/full", os.O_WRONLY)


@pytest.mark.parametrize("stderr", [None, broken_pipe, full_disk])
def test_stderr_that_takes_nothing(stderr: Any) -> None:  # noqa: ANN401  a function or None
    """A start outlives its log: closed, broken or full, stderr raises nothing."""
    log.configure(form="json", level="info")
    saved = os.dup(2)
    try:
        if stderr is None:
            os.close(2)
        else:
            descriptor = stderr()
            os.dup2(descriptor, 2)
            os.close(descriptor)
        outcome = log.event("error", "x.failed")  # type: ignore[func-returns-value]
    finally:
        os.dup2(saved, 2)
        os.close(saved)
    assert outcome is None


FILLERS = {
    "letters": "x",
    "quotes": "\"'",
    "backslashes": "\\",
    "escapes": "\x1b[31m\x00",
    "two bytes": "\u00e9",
    "four bytes": "\U0001f600",
    "no characters": "\udcff",
    "private ones": "\ue000 ",
    "line ends": "a\nb",
}


def written(capfd: pytest.CaptureFixture[str], form: str, **fields: Any) -> str:  # noqa: ANN401
    """The only line of an event."""
    log.configure(form=form, level="info")
    log.event("error", "push.failed", **fields)
    _, err = capfd.readouterr()
    assert err.endswith("\n")
    assert len(err.encode("utf-8", "surrogateescape")) < 16_384
    return err


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("filler", FILLERS.values(), ids=FILLERS)
def test_a_line_is_not_longer_than_docker_takes(
    capfd: pytest.CaptureFixture[str], filler: str, form: str
) -> None:
    """Whatever is in it, error, remedy and exit code are whole, and what was cut is named."""
    error, remedy = f"the push failed: {filler * 100}", f"Correct it. {filler * 50}"
    tail = [f"{number} {filler * 700}" for number in range(50)]
    fields = {"command": ["node", filler * 9000], "tail": tail, "error": error, "remedy": remedy}
    line = written(capfd, form, **fields, exit_code=7, returncode=1, deep={"a": [filler * 20_000]})
    if form == "console":
        assert "exit_code=7" in line
        assert "cut=[" in line
        return
    event = json.loads(line)
    assert list(event)[:6] == ["timestamp", "level", "event", "error", "remedy", "exit_code"]
    assert (event["error"], event["remedy"], event["exit_code"]) == (error, remedy, 7)
    assert set(event["cut"]) <= {"tail", "command", "deep"}
    assert "tail" in event["cut"]
    assert event["returncode"] == 1
    assert len(line.encode("utf-8", "surrogateescape")) > 14_000  # no more is lost than must be


@pytest.mark.parametrize("filler", FILLERS.values(), ids=FILLERS)
def test_the_end_of_a_tail_is_kept(capfd: pytest.CaptureFixture[str], filler: str) -> None:
    """Of its lines the last ones tell most, as those of a traceback; of other lists the first."""
    many = [f"{number} {filler * 20}" for number in range(1000)]
    event = json.loads(written(capfd, "json", tail=many, problems=many))
    assert event["tail"] == many[-len(event["tail"]) :]
    assert event["problems"] == many[: len(event["problems"])]
    assert min(len(event["tail"]), len(event["problems"])) > 10
    event = json.loads(written(capfd, "json", traceback=f"{filler * 20_000} the end", line="x"))
    assert event["traceback"].startswith("... (cut)")
    assert event["traceback"].endswith(" the end")
    assert (event["line"], event["cut"]) == ("x", ["traceback"])


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("filler", FILLERS.values(), ids=FILLERS)
def test_a_monstrous_error_is_cut_itself(
    capfd: pytest.CaptureFixture[str], filler: str, form: str
) -> None:
    """At 6,000 bytes, with a mark, as is a remedy; the exit code stays."""
    huge = filler * 50_000
    line = written(capfd, form, error=huge, remedy=huge, exit_code=7, problems=[huge, huge])
    assert "... (cut)" in line
    if form == "json":
        event = json.loads(line)
        assert event["error"] == event["remedy"]
        assert event["error"].removesuffix("... (cut)") == huge[: len(event["error"]) - 9]
        assert 5_900 < len(log._json(event["error"]).encode("utf-8", "backslashreplace")) <= 6_000  # noqa: SLF001
        assert event["cut"] == ["error", "remedy", "problems"]
        assert event["exit_code"] == 7


@given(
    st.dictionaries(
        st.sampled_from("abcdefgh"),
        st.recursive(
            st.text(max_size=50).map(lambda text: text * 200) | st.integers() | st.none(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=4), inner),
        ),
    )
)
def test_any_line_is_valid(fields: dict[str, Any]) -> None:
    """Whatever its fields are, a line is one document, in JSON, and fits."""
    text = log._render(log._json, fields)  # noqa: SLF001
    assert len(text.encode("utf-8", "backslashreplace")) + 1 < 16_384
    assert isinstance(json.loads(text), dict)


def test_hundreds_of_fields(capfd: pytest.CaptureFixture[str]) -> None:
    """Where nothing is large, the last ones go."""
    event = json.loads(written(capfd, "json", **{f"field_{n:04}": "x" * 50 for n in range(999)}))
    assert event["field_0000"] == "x" * 50
    assert "field_0998" not in event


def test_a_cut_shows_no_half_of_a_secret(capfd: pytest.CaptureFixture[str]) -> None:
    """Wherever the cut falls, a secret was masked before."""
    log.hide(["hunter2-pass"])
    for before in range(16_240, 16_300):
        line = written(capfd, "json", line="x" * before + "hunter2-pass" + "y" * 900)
        assert "hunt" not in line
