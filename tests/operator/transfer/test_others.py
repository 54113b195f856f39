"""What is not the service's by name: what it needs comes along, and nothing else stops the move."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.operator.transfer.conftest import RPG_DB

if TYPE_CHECKING:
    from tests.operator.transfer.conftest import World

SHARED = """
create type sso_role as enum ('a', 'b');
create function sso_may(sso_role) returns bool language sql immutable as 'select true';
create function may(role sso_role) returns bool language sql as 'select true';
create operator @@@ (rightarg = sso_role, function = sso_may);
create function sso_step(int, int) returns int language sql immutable as 'select $1 + $2';
create aggregate total(int) (sfunc = sso_step, stype = int, initcond = '0');
create function sso_text(sso_role) returns text language sql immutable as 'select ''x''';
create cast (sso_role as text) with function sso_text(sso_role);
create function sso_on_ddl() returns event_trigger language plpgsql as $$begin end$$;
create event trigger watch on ddl_command_end execute function sso_on_ddl();
create function sso_alone() returns int language sql as 'select 1'
"""


NEEDED = """
create table rpg_ranks (role sso_role check (may(role) and @@@ role));
create view rpg_total as select total(x::int) from generate_series(1, 4) x
"""

MADE = "select proname::text from pg_proc where proname ~ '^(may|total|sso_.*)$' order by 1"


def test_what_another_s_types_and_functions_are_for_stays(small: World) -> None:
    """An operator, a cast, an aggregate, an event trigger that nothing needs stay with them."""
    small.sql(SHARED)
    before = small.sql(MADE)
    moved = small.moved()
    assert moved["along"] == []
    assert small.sql(MADE, RPG_DB) == []
    assert small.sql("select 1 from pg_event_trigger", RPG_DB) == []
    assert small.sql(MADE) == before
    assert small.value("select may('a') and @@@ 'a'::sso_role") is True


def test_what_is_needed_brings_what_it_needs(small: World) -> None:
    """A check and a view take the operator and the aggregate along, and another's functions."""
    small.sql(SHARED)
    small.sql(NEEDED)
    moved = small.moved()
    assert "function public.sso_may(public.sso_role)" in moved["along"]
    assert small.value("select * from rpg_total", RPG_DB) == 10
    assert small.value("insert into rpg_ranks values ('a') returning @@@ role", RPG_DB) is True
    made = [name for (name,) in small.sql(MADE, RPG_DB)]
    assert made == ["may", "sso_may", "sso_step", "total"]


def test_a_function_over_a_table_that_stays_is_left_behind(small: World) -> None:
    """What returns or takes another's rows cannot exist in the target, and stops nothing."""
    small.sql(
        "create function all_users() returns setof sso_users language sql as"
        " 'select * from sso_users';"
        "create function sees(sso_users) returns bool language sql as 'select true';"
        "create function twice() returns sso_users[] language sql as 'select null::sso_users[]'"
    )
    moved = small.moved()
    left = " ".join(moved["left_out"])
    assert [name in left for name in ("all_users", "sees", "twice")] == [True] * 3
    assert small.value("select count(*) from rpg_items", RPG_DB) == 500


def test_the_service_s_own_function_is_not_left_behind_unasked(small: World) -> None:
    """One of the service's that needs rows of a table that stays is an obstacle of its own."""
    small.sql("create function rpg_sees(sso_users) returns bool language sql as 'select true'")
    refused = small.transfer()
    assert refused.code == 10
    [name] = refused.obstacles
    assert name.startswith("function:public.rpg_sees(")
    moved = small.moved("--allow", name)
    assert "rpg_sees" in " ".join(moved["left_out"])
