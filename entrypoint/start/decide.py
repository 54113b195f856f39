"""Whether there is anything to do: what the ledger proves, and what it does not."""

from enum import Enum
from typing import NamedTuple

from .. import log
from ..errors import PushError
from ..postgres.ledger import Ledger, Who


class Verdict(Enum):
    """What to do about a step."""

    RUN = "run"
    SKIP = "skip"
    FAIL = "fail"


class Decision(NamedTuple):
    """A verdict, and the reason that is logged with it."""

    verdict: Verdict
    reason: str
    tenant: str | None = None
    """Whom a seed is for, as far as it is known without a lookup."""

    @property
    def runs(self) -> bool:
        """Whether the step has work to do."""
        return self.verdict is Verdict.RUN


UNCHANGED = Decision(Verdict.SKIP, "unchanged")

FORCED = "forced"

UNPROVABLE = "neither inputs nor a release to compare"

OLDER = "an older release: a newer schema was pushed since"


def older(ledger: Ledger, catalog: str | None, who: Who) -> bool:
    """Whether a newer release was here since: then this one is a rollback, or a late replica.

    A release that was never here is new, whatever it brings: a revert brings old inputs. Where two
    starts have the same release, or none, nothing tells a revert from a late replica. Then inputs
    that were pushed, and not last, are older, unless the schema is what it was after them.
    """
    pushes = ledger.of(who.service)
    if not pushes:
        return False
    last = pushes[-1]
    if who.release is not None and who.release != last.release:
        return any(who.release in push.releases for push in pushes)
    return any(
        push.fingerprint == who.fingerprint
        and push.catalog != catalog
        and (who.release is None or who.release in push.releases)
        for push in pushes[:-1]
    )


def push(ledger: Ledger, catalog: str | None, who: Who, *, on_older: str, forced: bool) -> Decision:
    """Whether to push: not where the live catalog is the one that the same push left behind.

    A push is state-based: an older release's would drop what a newer one added. So one does as
    ``on_older`` says.
    """
    pushes = ledger.of(who.service)
    if forced or who.fingerprint is None or not pushes:
        reason = FORCED if forced else "first" if who.fingerprint else UNPROVABLE
        return Decision(Verdict.RUN, reason)
    same = next((push for push in pushes if push.fingerprint == who.fingerprint), None)
    if same and same.catalog == catalog:
        return UNCHANGED
    if same is pushes[-1]:
        drift = "drift" if catalog is not None else "unknown: somebody is changing the schema"
        return Decision(Verdict.RUN, drift)
    if older(ledger, catalog, who):
        verdicts = {"skip": Verdict.SKIP, "push": Verdict.RUN, "fail": Verdict.FAIL}
        return Decision(verdicts[on_older], OLDER)
    return Decision(Verdict.RUN, "changed")


def current(ledger: Ledger, who: Who) -> bool:
    """Whether the ledger has this start as the last one: its inputs, and its release."""
    pushes = ledger.of(who.service)
    return (
        bool(pushes)
        and pushes[-1].fingerprint == who.fingerprint
        and who.release in (None, pushes[-1].release)
    )


def seed(
    ledger: Ledger, key: str | None, fingerprint: str | None, *, older: bool, forced: bool
) -> Decision:
    """Whether to seed: not if the ledger has this tenant with this seed's fingerprint.

    An older release's seed would put back what a newer one's changed, so it runs for a tenant that
    was never seeded alone. ``key`` is None for a tenant that has to be looked up, because the
    ledger has none with it.
    """
    if forced:
        return Decision(Verdict.RUN, FORCED)
    seeded = ledger.seeds.get(key) if key else next(iter(ledger.seeds.values()), None)
    if older and seeded:
        unchanged = fingerprint is not None and seeded[0] == fingerprint
        return Decision(Verdict.SKIP, "seeded" if unchanged else OLDER)
    if fingerprint is None:
        return Decision(Verdict.RUN, UNPROVABLE)
    if seeded is None:
        return Decision(Verdict.RUN, "first")
    if seeded[0] != fingerprint:
        return Decision(Verdict.RUN, "changed")
    return Decision(Verdict.SKIP, "seeded")


def tell_skipped(step: str, decision: Decision, ledger: Ledger, service: str | None) -> None:
    """Log why a step is skipped; an older release is a warning that says what it is older than."""
    pushes = ledger.of(service)
    if decision.reason is not OLDER or not pushes:
        fields = {"tenant_id": decision.tenant} if decision.tenant else {}
        log.event("info", f"{step}.skipped", reason=decision.reason, **fields)
        return
    last = pushes[-1]
    remedy = f"Set ENTRYPOINT_FORCE={step} for one start to {step} all the same."
    if not last.release:
        remedy += " Set ENTRYPOINT_RELEASE in every image: a revert is then told from a replica."
    log.event(
        "warning",
        f"{step}.skipped",
        reason=decision.reason,
        pushed_release=last.release,
        pushed_at=last.at,
        pushed_host=last.host,
        remedy=remedy,
    )


def refuse_older(decision: Decision) -> None:
    """Raise `PushError` where ``push.on_older`` is "fail"."""
    if decision.verdict is Verdict.FAIL:
        raise PushError(
            f"not pushed: {decision.reason}",
            remedy='Deploy the newer release, or set push.on_older to "skip" or "push".',
        )
