"""What is done about push and seed follows from the ledger, and from nothing else."""

from __future__ import annotations

import json

import pytest

from entrypoint import log
from entrypoint.errors import PushError
from entrypoint.postgres.ledger import Ledger, Push, parse, render
from entrypoint.startup import decide
from entrypoint.startup.decide import OLDER, UNCHANGED, UNPROVABLE, Decision, Verdict

RUN, SKIP, FAIL = Verdict.RUN, Verdict.SKIP, Verdict.FAIL
ON_OLDER = {"skip": SKIP, "push": RUN, "fail": FAIL}


def ledger(*pushes: str, **seeds: str) -> Ledger:
    """A ledger of pushes written "fingerprint/catalog", the newest last, and seeds by tenant."""
    made = (push.partition("/") for push in pushes)
    return Ledger(
        tuple(Push(inputs, catalog, "1.0", "pod", "now", 1.0) for inputs, _, catalog in made),
        {tenant: (fingerprint, "now") for tenant, fingerprint in seeds.items()},
    )


PUSHES: list[tuple[Ledger, str, str | None, Decision]] = [
    (ledger(), "x", "A", Decision(RUN, "first")),
    (ledger(T="A"), "x", "A", Decision(RUN, "first")),
    (ledger("A/x"), "x", "A", UNCHANGED),
    (ledger("B/y", "A/x"), "x", "A", UNCHANGED),
    (ledger("A/y", "B/y", "A/x"), "x", "A", UNCHANGED),
    (ledger("A/x"), "y", "A", Decision(RUN, "drift")),
    (ledger("A/y", "A/x"), "y", "A", Decision(RUN, "drift")),
    (ledger("B/y", "A/x"), "y", "A", Decision(RUN, "drift")),
    (ledger("A/x"), "x", "B", Decision(RUN, "changed")),
    (ledger("A/x"), "y", "B", Decision(RUN, "changed")),
    (ledger("A/x", "B/y"), "y", "C", Decision(RUN, "changed")),
    (ledger(), "x", None, Decision(RUN, UNPROVABLE)),
    (ledger("A/x"), "x", None, Decision(RUN, UNPROVABLE)),
    (ledger("/x"), "x", None, Decision(RUN, UNPROVABLE)),
]

OLDER_PUSHES = [
    (ledger("A/x", "B/y"), "y", "A"),
    (ledger("A/x", "B/y"), "x", "A"),
    (ledger("A/x", "B/y"), "z", "A"),
    (ledger("A/x", "B/y", "C/z"), "z", "A"),
    (ledger("A/x", "B/y", "A/x"), "x", "B"),
]


@pytest.mark.parametrize("on_older", ON_OLDER)
@pytest.mark.parametrize(("found", "catalog", "fingerprint", "decision"), PUSHES)
def test_push(
    found: Ledger, catalog: str, fingerprint: str | None, decision: Decision, on_older: str
) -> None:
    """A push is skipped if inputs and schema are the last push's, and runs for another reason."""
    assert decide.push(found, catalog, fingerprint, on_older=on_older, forced=False) == decision
    assert decision.runs == (decision.verdict is RUN)


@pytest.mark.parametrize("on_older", ON_OLDER)
@pytest.mark.parametrize(("found", "catalog", "fingerprint"), OLDER_PUSHES)
def test_older_push(found: Ledger, catalog: str, fingerprint: str, on_older: str) -> None:
    """Inputs that were pushed, and not last, are an older release's, whatever the schema is now."""
    decision = decide.push(found, catalog, fingerprint, on_older=on_older, forced=False)
    assert decision == Decision(ON_OLDER[on_older], OLDER)


@pytest.mark.parametrize("on_older", ON_OLDER)
@pytest.mark.parametrize("found", [ledger(), ledger("A/x"), ledger("A/x", "B/y")])
@pytest.mark.parametrize("fingerprint", ["A", "B", "C", None])
def test_forced_push(found: Ledger, fingerprint: str | None, on_older: str) -> None:
    """A forced push runs, whatever the ledger says and the release is."""
    decision = decide.push(found, "x", fingerprint, on_older=on_older, forced=True)
    assert decision == Decision(RUN, "forced")


def play(on_older: str, starts: str) -> list[tuple[str, str]]:
    """Let releases start one after another; which pushed, or why it did not, and the schema."""
    found, schema, played = Ledger(), "", []
    for release in starts:
        decision = decide.push(found, schema, release, on_older=on_older, forced=False)
        if decision.runs:
            schema = release.lower()
            found = found.pushed(Push(release, schema, release, "pod", "now", 1.0))
        played.append((decision.reason, schema))
    return played


def test_flip_flop_keeps_the_newer_schema() -> None:
    """Two releases that restart by turns push once each, and the newer schema stays."""
    assert play("skip", "ABABAB") == [
        ("first", "a"),
        ("changed", "b"),
        (OLDER, "b"),
        ("unchanged", "b"),
        (OLDER, "b"),
        ("unchanged", "b"),
    ]
    assert play("fail", "ABAB") == play("skip", "ABAB")


def test_flip_flop_that_is_wanted() -> None:
    """With on_older = "push" every turn pushes, as it would without a ledger."""
    assert play("push", "ABAB") == [("first", "a"), ("changed", "b"), (OLDER, "a"), (OLDER, "b")]


def test_three_releases() -> None:
    """Replicas of all former releases leave a rollout's newest schema alone."""
    assert [schema for _, schema in play("skip", "AABBACBAC")] == list("aabbbcccc")


def test_forgotten_release_is_new() -> None:
    """A release older than the last 20 pushes is not known as one."""
    played = play("skip", "ABCDEFGHIJKLMNOPQRSTU" + "A")
    assert played[-1] == ("changed", "a")
    assert play("skip", "ABCDEFGHIJKLMNOPQRSTU" + "B")[-1] == (OLDER, "u")


SEEDS: list[tuple[Ledger, str, str | None, Decision]] = [
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
    assert decide.seed(found, key, fingerprint, forced=False) == decision
    assert decide.seed(found, key, fingerprint, forced=True) == Decision(RUN, "forced")


def test_decisions_survive_the_comment() -> None:
    """A ledger read back from a comment decides as the one that was written."""
    read = parse(render("words", ledger("A/x", "B/y", T="A")))
    assert decide.push(read, "y", "B", on_older="skip", forced=False) is UNCHANGED
    assert decide.push(read, "y", "A", on_older="skip", forced=False) == Decision(SKIP, OLDER)
    assert decide.seed(read, "T", "A", forced=False) == Decision(SKIP, "seeded")


def test_older_is_refused_where_it_should_fail() -> None:
    """Only an older release with on_older = "fail" is refused; the error says how to go on."""
    with pytest.raises(PushError, match="older release") as caught:
        decide.refuse_older(Decision(FAIL, OLDER))
    assert "push.on_older" in caught.value.remedy
    for decision in (UNCHANGED, Decision(SKIP, OLDER), Decision(RUN, OLDER)):
        decide.refuse_older(decision)


@pytest.mark.parametrize("reason", ["unchanged", "ENTRYPOINT_SKIP"])
def test_skip_is_told(reason: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A skipped step is an event with its reason."""
    log.configure(form="json", level="info")
    decide.tell_skipped("push", Decision(SKIP, reason), ledger("A/x"))
    event = json.loads(capfd.readouterr().err)
    assert (event["event"], event["level"], event["reason"]) == ("push.skipped", "info", reason)


def test_older_release_is_told_what_is_newer(capfd: pytest.CaptureFixture[str]) -> None:
    """The warning names the push that is newer, and how to push all the same."""
    log.configure(form="json", level="info")
    decide.tell_skipped("push", Decision(SKIP, OLDER), ledger("A/x", "B/y"))
    event = json.loads(capfd.readouterr().err)
    assert (event["event"], event["level"], event["reason"]) == ("push.skipped", "warning", OLDER)
    newer = event["pushed_release"], event["pushed_at"], event["pushed_host"]
    assert newer == ("1.0", "now", "pod")
    assert "ENTRYPOINT_FORCE=push" in event["remedy"]
