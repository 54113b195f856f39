"""Everything that a move by table names loses arrives, and what is not the service's stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.operator.transfer.conftest import CROSSING, RPG_DB, SOURCE, WITH, World, allowing
from tests.support.server import Server

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

OTHERS = (
    "RPG_STAYS",
    "crm_contact",
    "crm_contact_id_seq",
    "crm_stats",
    "party_summary",
    "rpgx_inventory",
    "sso_audit",
    "sso_all",
    "sso_kind",
    "sso_pub",
    "sso_secret()",
    "sso_tickets",
    "sso_users",
    "staying_child",
    "staying_parent",
)
"""What belongs to others, by the first word of its headings in a dump."""

LEFT = {
    "rpg_heroes rpg_heroes_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: postgres",
    "rpg_v_users; Type: VIEW; Schema: public; Owner: postgres",
    "VIEW rpg_v_users; Type: COMMENT; Schema: public; Owner: postgres",
    "rpg_v_second; Type: VIEW; Schema: public; Owner: postgres",
    "rpg_pub sso_users; Type: PUBLICATION TABLE; Schema: public; Owner: postgres",
}
"""What the plan said that the target does not get."""

ROLE_SETTINGS = """
select coalesce(rolname, ''), setting from pg_db_role_setting cross join unnest(setconfig) setting
left join pg_roles r on r.oid = setrole
where setdatabase = (select oid from pg_database where datname = current_database())
"""

OBJECTS = """
select m.oid, lomowner::regrole::text, coalesce(lomacl, acldefault('L', lomowner))::text,
  encode(lo_get(m.oid), 'hex'), description
from pg_largeobject_metadata m left join pg_description d
  on d.objoid = m.oid and d.classoid = 'pg_largeobject'::regclass order by 1
"""

ENABLED = """
select tgrelid::regclass::text, tgname, tgenabled::text from pg_trigger where not tgisinternal
  and tgrelid::regclass::text !~ '^sso_'
"""


@dataclass
class Move:
    """A transfer that was done, and what there was before it."""

    world: World
    entries: Counter[tuple[str, str]]
    rows: dict[str, tuple[int, str]]
    sequences: dict[str, tuple[int, bool]]
    facts: dict[str, set[Any]]
    dump: str
    words: tuple[str, ...]
    answer: dict[str, Any]


@pytest.fixture(scope="module")
def move(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Move]:
    """One move of everything, that the tests of this file look at."""
    words = (*WITH, *allowing(*CROSSING))
    with Server.start() as server:
        world = World.on(server, tmp_path_factory.mktemp("everything"))
        world.psql(SOURCE)
        queries = (ROLE_SETTINGS, OBJECTS, ENABLED)
        made = Move(
            world,
            world.entries("postgres"),
            world.rows("postgres"),
            world.sequences("postgres"),
            {query: set(world.sql(query)) for query in queries},
            world.dump("postgres"),
            words,
            world.moved(*words),
        )
        yield made
        world.close()


def others(heading: str) -> bool:
    """Whether a heading in a dump is that of something that is not the service's."""
    name = heading.partition(";")[0].removeprefix("VIEW ").removeprefix("PUBLICATION ")
    return name.split(" ")[0] in OTHERS


def test_every_definition_arrives_word_for_word(move: Move) -> None:
    """All that was defined is defined in the target, but for others' and what the plan said."""
    after = move.world.entries(RPG_DB)
    missing = move.entries - after
    assert {head for head, _ in missing if not others(head)} == LEFT
    assert {head.partition(";")[0].split(" ")[0] for head, _ in missing if others(head)} == {
        *OTHERS,
        "PUBLICATION",  # its comment
    }
    assert after - move.entries == {}


def test_every_row_arrives_unchanged(move: Move) -> None:
    """Each table has the rows that it had, though triggers would rewrite and copy them."""
    theirs = {f"public.{name}" for name in OTHERS} | {"public.rpg_m_stale"}
    ours = {name: rows for name, rows in move.rows.items() if name not in theirs}
    found = move.world.rows(RPG_DB)
    stale = found.pop("public.rpg_m_stale")[0]
    assert stale == 19  # a restore computes it anew
    assert found == ours
    assert found["public.rpg_heroes"][0] > 3000


def test_the_answer_counts_what_another_counts(move: Move) -> None:
    """The rows that the answer tells of each table are those that another tool copies out."""
    told = {
        each["object"]: each["rows"] for each in move.answer["objects"] if each["kind"] == "table"
    }
    assert len(told) == 30
    counted = {name.removeprefix("public."): rows for name, (rows, _) in move.rows.items()}
    assert told.items() <= counted.items()
    assert move.answer["facts"] > 200
    assert move.answer["left_out"]


def test_every_sequence_goes_on_where_it_was(move: Move) -> None:
    """Sequences without an owner, ahead of their rows, or shared go on as they were."""
    found = move.world.sequences(RPG_DB)
    assert found == {
        name: value for name, value in move.sequences.items() if name != "public.crm_contact_id_seq"
    }
    assert found['public."rpg_CampaignLog_Id_seq"'] == (9000, False)
    assert found["public.shared_ticket_no"] == move.sequences["public.shared_ticket_no"]


def test_large_objects_and_settings_arrive(move: Move) -> None:
    """Large objects with owner, rights, comment and content; settings with lists and quotes."""
    for query in (OBJECTS, ROLE_SETTINGS):
        assert set(move.world.sql(query, RPG_DB)) == move.facts[query]
    assert len(move.facts[OBJECTS]) == 2
    assert len(move.facts[ROLE_SETTINGS]) == 9


def test_triggers_fire_when_they_did(move: Move) -> None:
    """Disabled, always, replica and disabled on one partition only: each as it was."""
    found = set(move.world.sql(ENABLED, RPG_DB))
    assert found == move.facts[ENABLED]
    assert {state for _, _, state in found} == {"O", "D", "A", "R"}


def test_materialized_views_are_filled_where_they_were(move: Move) -> None:
    """A materialized view that could be read can be read; one without data has none."""
    query = "select relname, relispopulated from pg_class where relkind = 'm'"
    assert dict(move.world.sql(query, RPG_DB)) == {
        "rpg_m_full": True,
        "rpg_m_stale": True,
        "rpg_m_empty": False,
    }


def test_hidden_needs_came_along(move: Move) -> None:
    """What only a function's body calls works on the first update in the target."""
    query = "update rpg_heroes set level = 3 where id = 1 returning updated > '2021-01-01'"
    assert move.world.value(query, RPG_DB) is True
    assert move.world.value("select rpg_award_xp(1)", RPG_DB) == 11
    assert move.world.value("select rpg_total(x) from generate_series(1, 4) x", RPG_DB) == 10


def test_what_stays_works_on(move: Move) -> None:
    """Others' rows are untouched, and their foreign keys and views see the quarantine."""
    found = move.world.rows("postgres")
    theirs = {name for name in move.rows if name.removeprefix("public.") in OTHERS}
    assert {name: found[name] for name in theirs} == {name: move.rows[name] for name in theirs}
    assert move.world.value("select count(*) from party_summary") == 2
    move.world.sql("begin; insert into sso_audit values (5, now()); rollback")
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        move.world.sql("insert into sso_audit values (-5, now())")


def test_nothing_of_the_service_is_left_in_its_place(move: Move) -> None:
    """All but what others need is in a quarantine for each schema, which the answer names."""
    names = "select nspname from pg_namespace where nspname like 'moved%' order by 1"
    assert [name for (name,) in move.world.sql(names)] == sorted(move.answer["quarantine"])
    assert len(move.answer["quarantine"]) == 4
    kept = (
        "select count(*) from pg_class where starts_with(relname, 'rpg_') and relkind in ('r', 'p')"
    )
    assert move.world.value(f"{kept} and relnamespace = 'public'::regnamespace") == 0
    for catalog, name in (("pg_type", "typ"), ("pg_proc", "pro"), ("pg_statistic_ext", "stx")):
        left = (
            f"select {name}name from {catalog} where {name}namespace = 'public'::regnamespace"  # noqa: S608  our own
            f" and {name}name ~ '^_?(rpg|dnd)_' and {name}name !~ '^_?rpg_(class|same|stats_text)$'"
        )
        assert move.world.sql(left) == [], catalog
    assert move.world.left() == []


def test_undo_brings_back_every_byte(move: Move) -> None:
    """After --undo the source is as before, the target is kept aside, and all can move again."""
    done = move.world.transfer("--undo", "--json")
    assert not done.err, done.err
    assert (done.code, done.json["result"]) == (0, "undone")
    assert done.json["kept_database"] == f"{RPG_DB}__undone"
    assert move.world.databases() == {"postgres", f"{RPG_DB}__undone"}
    assert move.world.dump("postgres") == move.dump
    again = move.world.moved(*move.words)
    assert again["facts"] == move.answer["facts"]
    assert {h for h, _ in move.entries - move.world.entries(RPG_DB) if not others(h)} == LEFT
    refused = move.world.transfer("--drop-quarantine")
    assert refused.code == 10
    users = ("sso_audit_hero_fkey", "view public.party_summary")
    assert [who in refused.err for who in users] == [True] * 2, refused.err
    move.world.sql(
        "drop view party_summary; alter table sso_audit drop constraint sso_audit_hero_fkey"
    )
    gone = move.world.transfer("--drop-quarantine", "--json")
    assert gone.code == 0, gone.err
