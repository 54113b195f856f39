"""The table of docs/tools.md that says what drizzle-kit does, as the tests compare it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.docs import rows

if TYPE_CHECKING:
    from tests.support.drizzle.outcome import Outcome

KILLED, AFTER = "killed while it waits for a table", "the next start after that"

CASES = {
    "fresh · no change · additive": ("fresh", "no-change", "additive", "additive-stdin-closed"),
    "bad cast half way": ("bad-cast-half-way",),
    "NOT NULL without default on rows": ("not-null",),
    "the same, `--force` (0.31 truncates)": ("not-null-force", "not-null-plain"),
    "unique on duplicates": ("duplicates",),
    "the same, `--force`": ("duplicates-force",),
    "column or table renamed": ("column-renamed-stdin-open", "table-renamed"),
    "column renamed, `--hints` says so": ("column-renamed-hints",),
    "column or table with rows dropped · unknown table with rows": (
        "column-dropped",
        "table-dropped",
        "unknown",
    ),
    "column with rows dropped, `--force`": ("column-dropped-force",),
    "table with rows dropped or unknown, `--force`": (
        "table-dropped-force",
        "table-dropped-admin",
        "unknown-force",
    ),
    "column with rows dropped, `--hints` says so": ("column-dropped-hints",),
    "empty column, table or unknown table dropped (told in `push.loss_found`)": (
        "empty-column",
        "empty-column-force",
        "empty-table",
        "unknown-empty",
    ),
    "server unreachable · database missing": ("unreachable", "no-database"),
    "schema that exports nothing, `--force`": ("no-exports-force",),
    "the same without rows": ("no-exports-empty",),
    KILLED: (),
    AFTER: (),
}
"""The rows, and of which cases of the tests they tell."""


def cells() -> dict[str, dict[str, str]]:
    """What the documentation says, by row and version; empty where that version was not asked."""
    head, _, *body = rows("docs/tools", "drizzle-kit")
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in body}


def cell(outcome: Outcome) -> str:
    """The tool's exit code, ours, and why in a word."""
    words = {
        "refuses to lose": "refused",
        "asked a question": "asked",
        "reported an error": "error",
        "reported no success": "silent",
        "there is no table": "no table",
        "not recognised": "not recognised",
    }
    told = f"{outcome.error} {outcome.output}"
    word = next((word for sign, word in words.items() if sign in told), "")
    return f"{outcome.returncode} → {7 if outcome.error else 0} {word}".rstrip()
