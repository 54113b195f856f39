"""What a child writes becomes lines, whatever pieces it comes in, and no secret gets through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoint import log
from entrypoint.process.output import MAX_LINE, Lines, shown

SECRET = "k4nary-of-many-letters"


def told(*pieces: bytes) -> list[str]:
    """The lines that these pieces make."""
    lines: list[str] = []
    reader = Lines("stdout", lambda _, line: lines.append(shown(line)))
    for piece in pieces:
        reader.feed(piece)
    reader.close()
    return lines


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([b"one\ntwo\n"], ["one", "two"]),
        ([b"one\nno end"], ["one", "no end"]),
        ([b"in pie", b"ces\n"], ["in pieces"]),
        ([b"windows\r\n"], ["windows"]),
        ([b"\n\nblank\n\n"], ["blank"]),
        ([b"caf\xc3", b"\xa9 \xff\n"], ["caf\u00e9 \ufffd"]),
        ([b"ends\n", b""], ["ends"]),
        ([b"\x1b[2K\x1b[1G[\x1b[32mok\x1b[39m] done\n\x1b[?25l\n"], ["[ok] done"]),
        ([], []),
    ],
)
def test_lines(pieces: list[bytes], lines: list[str]) -> None:
    """Lines are told as they end, the last one when the pipe closes; blank ones are not."""
    assert told(*pieces) == lines


def test_an_endless_line_is_cut() -> None:
    """Its beginning is told once, its end never, and the next line whole."""
    lines = told(*[b"x" * 10_000] * 50, b"\nnext\n")

    assert lines == ["x" * MAX_LINE + "... (cut)", "next"]


@pytest.mark.parametrize("end", [b"\r", b"\x1b[2K\x1b[1G"])
def test_a_spinner_s_last_frame_is_told(end: bytes) -> None:
    """However long it spins without a line's end, what it says last is not cut off."""
    lines: list[str] = []
    reader = Lines("stdout", lambda _, line: lines.append(line))
    for piece in [*[b"working ..." + end] * 20_000, b"done\n", b"next\n"]:
        reader.feed(piece)

    assert lines[-2].endswith("\rdone")
    assert lines[-1] == "next"
    assert len(lines) < 20


def test_what_overwrites_begins_anew() -> None:
    """What stands behind a cursor's move is told apart from what it was written over."""
    assert told(b"\x1b[?25l[|] Pulling\x1b[2K\x1b[1G[ok] done\x1b[?25h\n") == [
        "[|] Pulling\r[ok] done"
    ]


@given(st.integers(0, 120), st.integers(90, 7000), st.sampled_from(["x", "\u00e9", "\U0001f600"]))
def test_no_cut_lets_a_secret_through(before: int, size: int, filler: str) -> None:
    """Wherever the cut and the pieces fall, no half of a secret is told."""
    log.hide([SECRET])
    line = (filler * (MAX_LINE - before) + SECRET + filler * MAX_LINE * 5).encode()
    pieces = [line[start : start + size] for start in range(0, len(line), size)]

    text = "".join(told(*pieces))

    assert SECRET[:5] not in text
    assert SECRET[-5:] not in text


def test_only_what_is_shown_is_masked() -> None:
    """A line comes as it was written, so that one which nobody is told costs no masking."""
    log.hide([SECRET])
    lines: list[str] = []
    reader = Lines("stdout", lambda _, line: lines.append(line))
    reader.feed(f"password {SECRET}\n".encode())
    assert lines == [f"password {SECRET}"]
    assert shown(lines[0]) == "password ****"
