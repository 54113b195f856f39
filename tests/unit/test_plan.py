"""What is done about push and seed follows from the ledger, and from nothing else."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from entrypoint import files, log
from entrypoint.errors import PushError
from entrypoint.postgres.ledger import Ledger, PushRecord, Who, parse, render
from entrypoint.start import plan
from entrypoint.start.plan import OLDER, UNCHANGED, UNPROVABLE, Action, Decision

if TYPE_CHECKING:
    from pathlib import Path

RUN, SKIP, FAIL = Action.RUN, Action.SKIP, Action.FAIL
ON_OLDER = {"skip": SKIP, "push": RUN, "fail": FAIL}


def made(text: str) -> PushRecord:
    """A push written "fingerprint/catalog/release,release/service"; what is missing is none."""
    fingerprint, catalog, releases, service = (*text.split("/"), "", "", "")[:4]
    named = tuple(filter(None, releases.split(",")))
    return PushRecord(fingerprint, catalog, named, "pod", "now", 1.0, service or None)


def ledger(*pushes: str, **seeds: str) -> Ledger:
    """A ledger of pushes, the newest last, and seeds by tenant."""
    found = Ledger(seeds={tenant: (fingerprint, "now") for tenant, fingerprint in seeds.items()})
    for push in pushes:
        found = found.pushed(made(push))
    return found


def who(text: str) -> Who:
    """A start written "fingerprint/release/service"; what is missing is none."""
    fingerprint, release, service = (*text.split("/"), "", "")[:3]
    return Who(service or None, release or None, fingerprint or None)


def push(
    found: Ledger,
    catalog: str | None,
    start: str,
    *,
    on_older: str = "skip",
    forced: bool = False,
) -> Decision:
    return plan.decide_push(found, catalog, who(start), on_older=on_older, forced=forced)


PUSHES: list[tuple[Ledger, str | None, str, Decision]] = [
    (ledger(), "x", "A", Decision(RUN, "first")),
    (ledger(T="A"), "x", "A/1", Decision(RUN, "first")),
    (ledger("A/x"), "x", "A", UNCHANGED),
    (ledger("A/x/1"), "x", "A", UNCHANGED),
    (ledger("A/x"), "x", "A/1", UNCHANGED),
    (ledger("B/y", "A/x"), "x", "A", UNCHANGED),
    (ledger("A/x"), "y", "A", Decision(RUN, "drift")),
    (ledger("B/y", "A/x"), "y", "A", Decision(RUN, "drift")),
    (ledger("A/x"), None, "A", Decision(RUN, "unknown: another session is changing the schema")),
    (ledger("A/x"), "x", "B", Decision(RUN, "changed")),
    (ledger("A/x", "B/y"), "y", "C", Decision(RUN, "changed")),
    (ledger(), "x", "", Decision(RUN, UNPROVABLE)),
    (ledger("A/x"), "x", "", Decision(RUN, UNPROVABLE)),
    (ledger("/x"), "x", "", Decision(RUN, UNPROVABLE)),
    # The schema is the one that this very push left, whatever was pushed since.
    (ledger("A/x", "B/x"), "x", "A", UNCHANGED),
    (ledger("A/x/1", "B/x/2"), "x", "A/1", UNCHANGED),
    (ledger("A/x", "B/y"), "x", "A", UNCHANGED),
    # A revert: a release that was never here is new, even with old inputs.
    (ledger("A/x/1", "B/y/2"), "y", "A/3", Decision(RUN, "changed")),
    (ledger("A/x/1", "B/y/2"), None, "A/3", Decision(RUN, "changed")),
    (ledger("A/x", "B/y/2"), "y", "A/3", Decision(RUN, "changed")),
    # One release whose command was changed and changed back, and a schema changed by hand.
    (ledger("A/x/1", "B/x/1"), "x", "A/1", UNCHANGED),
    # Another service's pushes are none of this one's.
    (ledger("A/x/1/rpg", "B/y/1/hr"), "y", "A/1/rpg", Decision(RUN, "drift")),
    (ledger("A/x//rpg", "B/y//hr"), "y", "A//rpg", Decision(RUN, "drift")),
    (ledger("B/y/1/hr"), "y", "A/1/rpg", Decision(RUN, "first")),
    (ledger("A/x/1", "B/y/1/hr"), "x", "A/1/rpg", UNCHANGED),
]

OLDER_PUSHES = [
    # Without a release, or with the same one, nothing tells a revert from a late replica.
    (ledger("A/x", "B/y"), "y", "A"),
    (ledger("A/x", "B/y"), "z", "A"),
    (ledger("A/x", "B/y"), None, "A"),
    (ledger("A/x", "B/y", "C/z"), "z", "A"),
    (ledger("A/x/1", "B/y/1"), "y", "A/1"),
    # A release that was here before the last one, by whatever inputs.
    (ledger("A/x/1", "B/y/2"), "y", "A/1"),
    (ledger("A/x/1", "B/y/2"), "y", "C/1"),
    (ledger("A/x/1", "B/y/2", "A/x/3"), "x", "B/2"),
    (ledger("A/x/1,2", "B/y/3"), "y", "A/1"),
    (ledger("A/x/1/rpg", "B/y/2/rpg", "C/z/9/hr"), "z", "A/1/rpg"),
]


@pytest.mark.parametrize("on_older", ON_OLDER)
@pytest.mark.parametrize(("found", "catalog", "start", "decision"), PUSHES)
def test_push(
    found: Ledger, catalog: str | None, start: str, decision: Decision, on_older: str
) -> None:
    """A push is skipped where it left the schema as it is now, and runs for another reason."""
    assert push(found, catalog, start, on_older=on_older) == decision
    assert decision.runs == (decision.action is RUN)


@pytest.mark.parametrize("on_older", ON_OLDER)
@pytest.mark.parametrize(("found", "catalog", "start"), OLDER_PUSHES)
def test_older_push(found: Ledger, catalog: str | None, start: str, on_older: str) -> None:
    """A release that was here and is not the last is older, whatever the schema is now."""
    assert plan.older(found, catalog, who(start))
    decision = push(found, catalog, start, on_older=on_older)
    assert decision == Decision(ON_OLDER[on_older], OLDER)


@pytest.mark.parametrize("on_older", ON_OLDER)
@pytest.mark.parametrize("found", [ledger(), ledger("A/x"), ledger("A/x", "B/y")])
@pytest.mark.parametrize("start", ["A", "B", "C", ""])
def test_forced_push(found: Ledger, start: str, on_older: str) -> None:
    """A forced push runs, whatever the ledger says and the release is."""
    assert push(found, "x", start, on_older=on_older, forced=True) == Decision(RUN, "forced")


def play(on_older: str, starts: str, releases: str = "") -> list[tuple[str, str]]:
    """Let inputs start one after another; which pushed, or why they did not, and the schema."""
    found, schema, played = Ledger(), "", []
    for number, inputs in enumerate(starts):
        release = releases[number : number + 1]
        decision = push(found, schema, f"{inputs}/{release}", on_older=on_older)
        if decision.runs:
            schema = inputs.lower()
            found = found.pushed(made(f"{inputs}/{schema}/{release}"))
        played.append((decision.reason, schema))
    return played


@pytest.mark.parametrize("releases", ["", "121212", "111111"])
def test_flip_flop_keeps_the_newer_schema(releases: str) -> None:
    """Two releases that restart by turns push once each, and the newer schema stays."""
    assert play("skip", "ABABAB", releases) == [
        ("first", "a"),
        ("changed", "b"),
        (OLDER, "b"),
        ("unchanged", "b"),
        (OLDER, "b"),
        ("unchanged", "b"),
    ]
    assert play("fail", "ABAB", releases) == play("skip", "ABAB", releases)


def test_flip_flop_that_is_wanted() -> None:
    """With on_older = "push" every turn pushes, as it would without a ledger."""
    assert play("push", "ABAB") == [("first", "a"), ("changed", "b"), (OLDER, "a"), (OLDER, "b")]


def test_a_revert_pushes_and_its_late_replicas_do_not() -> None:
    """After A and B a third release with A's files is pushed; neither of the first two is then."""
    assert play("skip", "ABABA", "12321") == [
        ("first", "a"),
        ("changed", "b"),
        ("changed", "a"),
        (OLDER, "a"),
        ("unchanged", "a"),
    ]


def test_three_releases() -> None:
    """Replicas of all former releases leave a rollout's newest schema alone."""
    assert [schema for _, schema in play("skip", "AABBACBAC")] == list("aabbbcccc")


def test_a_release_is_remembered_however_often_the_next_is_pushed() -> None:
    """History keeps distinct pushes: a late replica of A after 30 of B is older still."""
    found = ledger("A/a/1")
    for number in range(30):
        found = found.pushed(made(f"B/b{number}/2"))
    assert push(found, "b29", "A/1") == push(found, "b29", "A") == Decision(SKIP, OLDER)


def test_forgotten_release_is_new() -> None:
    """A release older than the last 20 distinct pushes is not known as one."""
    played = play("skip", "ABCDEFGHIJKLMNOPQRSTU" + "A")
    assert played[-1] == ("changed", "a")
    assert play("skip", "ABCDEFGHIJKLMNOPQRSTU" + "B")[-1] == (OLDER, "u")


@pytest.mark.parametrize(
    ("found", "start", "is_current"),
    [
        (ledger(), "A/1", False),
        (ledger("A/x/1"), "A/1", True),
        (ledger("A/x/1"), "A", True),
        (ledger("A/x/1"), "A/2", False),
        (ledger("A/x/1", "B/x/2"), "A/1", False),
        (ledger("A/x/1/rpg", "B/x/2/hr"), "A/1/rpg", True),
    ],
)
def test_current(found: Ledger, start: str, *, is_current: bool) -> None:
    """A start is the ledger's last one by its inputs and its release."""
    assert plan.current(found, who(start)) == is_current


SEEDS: list[tuple[Ledger, str | None, str | None, Decision]] = [
    (ledger(), "T", "A", Decision(RUN, "first")),
    (ledger("A/x"), "T", "A", Decision(RUN, "first")),
    (ledger(U="A"), "T", "A", Decision(RUN, "first")),
    (ledger(T="A"), "T", "A", Decision(SKIP, "seeded")),
    (ledger(T="A", U="B"), "T", "A", Decision(SKIP, "seeded")),
    (ledger(T="A", U="B"), "U", "A", Decision(RUN, "changed")),
    (ledger(T="A"), "T", "B", Decision(RUN, "changed")),
    (ledger(T=""), "T", "A", Decision(RUN, "changed")),
    (ledger(), "T", None, Decision(RUN, UNPROVABLE)),
    (ledger(T="A"), "T", None, Decision(RUN, UNPROVABLE)),
    (ledger(T=""), "T", None, Decision(RUN, UNPROVABLE)),
]


@pytest.mark.parametrize(("found", "key", "fingerprint", "decision"), SEEDS)
def test_seed(found: Ledger, key: str, fingerprint: str | None, decision: Decision) -> None:
    """A seed is skipped if the tenant has it, and runs for another reason, or if it is forced."""
    assert plan.decide_seed(found, key, fingerprint, older=False, forced=False) == decision
    for older in (False, True):
        forced = plan.decide_seed(found, key, fingerprint, older=older, forced=True)
        assert forced == Decision(RUN, "forced")


@pytest.mark.parametrize(
    ("found", "key", "fingerprint", "decision"),
    [
        (ledger(), "T", "A", Decision(RUN, "first")),
        (ledger(), "T", None, Decision(RUN, UNPROVABLE)),
        (ledger(U="A"), "T", "A", Decision(RUN, "first")),
        (ledger(T="A"), "T", "A", Decision(SKIP, "seeded")),
        (ledger(T="B"), "T", "A", Decision(SKIP, OLDER)),
        (ledger(T=""), "T", None, Decision(SKIP, OLDER)),
        (ledger(T="B"), None, "A", Decision(SKIP, OLDER)),
    ],
)
def test_an_older_release_seeds_only_who_was_never_seeded(
    found: Ledger, key: str | None, fingerprint: str | None, decision: Decision
) -> None:
    """Its seed would put back what a newer one's has changed."""
    assert plan.decide_seed(found, key, fingerprint, older=True, forced=False) == decision


def test_decisions_survive_the_comment() -> None:
    """A ledger read back from a comment decides as the one that was written."""
    read = parse(render("words", ledger("A/x/1", "B/y/2", T="A")))
    assert push(read, "y", "B/2") is UNCHANGED
    assert push(read, "y", "A/1") == Decision(SKIP, OLDER)
    assert push(read, "y", "A/3") == Decision(RUN, "changed")
    assert plan.decide_seed(read, "T", "A", older=False, forced=False) == Decision(SKIP, "seeded")


def test_older_is_refused_where_it_should_fail() -> None:
    """Only an older release with on_older = "fail" is refused; the error says how to go on."""
    with pytest.raises(PushError, match="older release") as caught:
        plan.refuse_older(Decision(FAIL, OLDER))
    assert "push.on_older" in caught.value.remedy
    for decision in (UNCHANGED, Decision(SKIP, OLDER), Decision(RUN, OLDER)):
        plan.refuse_older(decision)


@pytest.mark.parametrize("reason", ["unchanged", "ENTRYPOINT_SKIP"])
def test_skip_is_told(reason: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A skipped step is an event with its reason."""
    log.configure(form="json", level="info")
    plan.tell_skipped("push", Decision(SKIP, reason), ledger("A/x"), None)
    event = json.loads(capfd.readouterr().err)
    assert (event["event"], event["level"], event["reason"]) == ("push.skipped", "info", reason)


@pytest.mark.parametrize("step", ["push", "seed"])
@pytest.mark.parametrize("release", ["1.0", ""])
def test_older_release_is_told_what_is_newer(
    step: str, release: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The warning names the push that is newer, and every way out."""
    log.configure(form="json", level="info")
    found = ledger("A/x/0/rpg", f"B/y/{release}/rpg", "C/z/9/hr")
    plan.tell_skipped(step, Decision(SKIP, OLDER), found, "rpg")
    event = json.loads(capfd.readouterr().err)
    assert (event["event"], event["level"]) == (f"{step}.skipped", "warning")
    assert event["reason"] == OLDER
    newer = event["pushed_release"], event["pushed_at"], event["pushed_host"]
    assert newer == (release or None, "now", "pod")
    assert f"ENTRYPOINT_FORCE={step}" in event["remedy"]
    assert ("ENTRYPOINT_RELEASE" in event["remedy"]) == (not release)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("tool", "{0}"),
        ("tool", "/nowhere:{0}"),
        ("tool", ""),
        ("tool", None),
        ("sh", None),
        ("folder", "{0}"),
        ("plain", "{0}"),
        ("./tool", "{0}"),
        ("{0}/tool", None),
        ("{0}/plain", "{0}"),
        ("tool", ":/nowhere"),
        ("", "{0}"),
    ],
)
def test_a_program_is_on_path_where_shutil_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, path: str | None
) -> None:
    """Its own search of PATH finds what the standard library's does."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "plain").write_text("")
    (tmp_path / "tool").write_text("")
    (tmp_path / "tool").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PATH")
    name, path = name.format(tmp_path), path and path.format(tmp_path)
    assert files.on_path(name, path) == (shutil.which(name, path=path) is not None)
