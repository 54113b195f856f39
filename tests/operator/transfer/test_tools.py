"""What PostgreSQL's tools complain of is told in the server's words, and nothing of the data is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from entrypoint.transfer.tools import Complaint, Said

if TYPE_CHECKING:
    from tests.operator.transfer.conftest import World

RESTORE: Final = """
pg_restore: connecting to database for restore
pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 210; 1259 16400 VIEW rpg_v owner
pg_restore: error: could not execute query: ERROR:  relation "public.sso_t" does not exist
LINE 1: CREATE VIEW public.rpg_v AS SELECT 's3cret'
                                    ^
DETAIL:  Failing row contains (s3cret).
HINT:  Look for it.
CONTEXT:  COPY rpg_t, line 1: "s3cret"
Command was: CREATE VIEW public.rpg_v AS
    SELECT 's3cret';

pg_restore: from TOC entry 3; 0 0 USER MAPPING USER MAPPING owner SERVER far
pg_restore: error: could not execute query: FEHLER:  Rolle existiert nicht
Command was: CREATE USER MAPPING FOR owner SERVER far OPTIONS (password 's3cret');
pg_restore: warning: errors ignored on restore: 2
"""


def test_complaints_are_the_servers_own_words() -> None:
    """Entry, error, DETAIL and HINT are known, in whatever language; no statement is told."""
    told: list[str] = []
    said = Said(told.append)
    for line in RESTORE.strip().splitlines():
        said.hear(line)
    detail, hint = "DETAIL:  Failing row contains (s3cret).", "HINT:  Look for it."
    error = 'ERROR:  relation "public.sso_t" does not exist'
    assert said.complaints == [
        Complaint(210, error, (detail, hint)),
        Complaint(3, "FEHLER:  Rolle existiert nicht", ()),
    ]
    assert said.complaints[0].words() == f"{error} {hint}"
    assert "s3cret" not in " ".join([*told, *said.lines])
    assert said.lines[-1] == "pg_restore: warning: errors ignored on restore: 2"


def test_a_failed_restore_is_told_without_its_rows(small: World) -> None:
    """The server's ERROR comes first; neither the statement nor a row is in any line."""
    secret = "s3cret-of-a-row"
    small.sql(
        f"insert into rpg_items (name) values ('{secret}');"  # noqa: S608  our own
        "create function rpg_good(text) returns bool immutable language plpgsql as $$begin"
        " if session_user like 'entrypoint_%' and current_database() ~ '__incoming' and"
        " current_query() ~ 'COPY' then raise 'no good' using detail = $1, hint = 'Look.'; end if;"
        " return true; end$$; alter table rpg_items add check (rpg_good(name))"
    )
    done = small.transfer(environ={"ENTRYPOINT_LOG_LEVEL": "debug"})
    assert done.code == 10
    failed = done.events[-1]
    assert failed["error"].startswith("pg_restore exited with code 1: COPY failed")
    assert "ERROR:  no good HINT:  Look." in failed["error"]
    assert "Command was" not in done.err
    assert secret not in done.err
    assert (small.left(), small.databases()) == ([], {"postgres"})
