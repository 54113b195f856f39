"""Facts that a restore makes otherwise, as obstacles."""

from __future__ import annotations

import pytest

from entrypoint.transfer import compare
from entrypoint.transfer.compare import Difference

FACTS = {
    "(columns,public,rpg_a)(id,integer,t,,,p,,,,,,)": "rpg_a",
    '(relation,Game,"Rpg ""a""",r,p)': '"Game"."Rpg ""a"""',
    '(constraint,public,rpg_a,,,rpg_a_pkey,t,"PRIMARY KEY (id)")': "rpg_a",
    '(constraint,,,game,level,level_check,t,"CHECK ((VALUE > 0))")': "game.level",
    '(trigger,D,"(public,rpg_b,fk,""""""RI_FKey_check_ins"""""")")': "rpg_b",
    '(trigger,O,"CREATE TRIGGER t AFTER INSERT ON game.""Rpg"" EXECUTE FUNCTION f()")': (
        'game."Rpg"'
    ),
    '(function,"CREATE OR REPLACE FUNCTION public.rpg_f(a integer)\n RETURNS int")': "rpg_f",
    '(rights,"(public,rpg_a)",postgres,"{a=r/postgres}")': "rpg_a",
    '(rights,"(public.rpg_a,id)",,"{a=r/postgres}")': "rpg_a",
    '(rights,"(function,""public.rpg_f(integer)"")",postgres,{=X/postgres})': "rpg_f(integer)",
    '(rights,"(default,game,r)",postgres,{=X/postgres})': "default rights",
    "(comment,table,public.rpg_a,words)": "rpg_a",
    '(output,public.rpg_v,"{}")': "rpg_v",
    '(object,cast,"(public.a AS text)")': "cast (public.a AS text)",
}


@pytest.mark.parametrize("fact", FACTS)
def test_a_fact_is_named_after_its_object(fact: str) -> None:
    """Whatever its kind, the name is the one that the rest of the plan has for the object."""
    assert compare.subject(fact) == FACTS[fact]


def test_a_few_are_shown_at_a_time() -> None:
    """Of thirty tables ten are told, of one with many facts a few, and how many more there are."""
    tables = [Difference("target", f"(relation,public,rpg_{i},r,p)") for i in range(30)]
    one = [Difference("source", f"(index,public,rpg_0,i{i})") for i in range(10)]
    found = list(compare.problems([*tables, *one]))
    assert [each.name for each in found] == [f"facts:rpg_{i}" for i in range(10)]
    assert "and 20 more objects" in found[-1].message
    assert found[0].message.endswith("7 more")
    assert not any(each.allowable for each in found)


def test_columns_that_must_be_made_anew_are_the_fewest_at_the_end() -> None:
    """The order before and after is told, and which columns have to go to the end, in order."""
    here = "(columns,public,c)(id,int)(more,int)(name,text)(less,int)(late,int)"
    there = "(columns,public,c)(id,int)(name,text)(late,int)(more,int)(less,int)"
    [found] = compare.problems([Difference("source", here), Difference("target", there)])
    assert "id, name, late, more, less instead of id, more, name, less, late" in found.message
    assert found.remedy.startswith("Recreate more, less of c, in this order")
