"""Whether there is anything to do: what the ledger proves, and what it does not."""

from enum import Enum
from typing import NamedTuple

from .. import log
from ..errors import PushError
from ..postgres.ledger import Ledger


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

UNPROVABLE = "neither inputs nor a release to compare"

OLDER = "an older release: a newer schema was pushed since"


def push(
    ledger: Ledger, catalog: str | None, fingerprint: str | None, *, on_older: str, forced: bool
) -> Decision:
    """Whether to push: skipped only if inputs and live catalog are those of the last push.

    A push is state-based: an older release's would drop what a newer one added. So one whose
    inputs were pushed before, and not last, does as ``on_older`` says.
    """
    last = ledger.last
    if forced or fingerprint is None or last is None:
        reason = "forced" if forced else UNPROVABLE if fingerprint is None else "first"
        return Decision(Verdict.RUN, reason)
    if last.fingerprint == fingerprint:
        drift = "drift" if catalog is not None else "unknown: somebody is changing the schema"
        return UNCHANGED if last.catalog == catalog else Decision(Verdict.RUN, drift)
    if any(push.fingerprint == fingerprint for push in ledger.pushes):
        verdicts = {"skip": Verdict.SKIP, "push": Verdict.RUN, "fail": Verdict.FAIL}
        return Decision(verdicts[on_older], OLDER)
    return Decision(Verdict.RUN, "changed")


def seed(ledger: Ledger, key: str | None, fingerprint: str | None, *, forced: bool) -> Decision:
    """Whether to seed: skipped only if the ledger has this tenant with this seed's fingerprint.

    ``key`` is None for a tenant that has to be looked up, because the ledger has none with it.
    """
    if forced:
        return Decision(Verdict.RUN, "forced")
    if fingerprint is None:
        return Decision(Verdict.RUN, UNPROVABLE)
    seeded = ledger.seeds.get(key) if key else next(iter(ledger.seeds.values()), None)
    if seeded is None:
        return Decision(Verdict.RUN, "first")
    if seeded[0] != fingerprint:
        return Decision(Verdict.RUN, "changed")
    return Decision(Verdict.SKIP, "seeded")


def tell_skipped(step: str, decision: Decision, ledger: Ledger) -> None:
    """Log why a step is skipped; an older release is a warning that says what it is older than."""
    if decision.reason is not OLDER or ledger.last is None:
        fields = {"tenant_id": decision.tenant} if decision.tenant else {}
        log.event("info", f"{step}.skipped", reason=decision.reason, **fields)
        return
    last = ledger.last
    log.event(
        "warning",
        f"{step}.skipped",
        reason=decision.reason,
        pushed_release=last.release,
        pushed_at=last.at,
        pushed_host=last.host,
        remedy='Set push.on_older = "push", or ENTRYPOINT_FORCE=push once, to push all the same.',
    )


def refuse_older(decision: Decision) -> None:
    """Raise `PushError` where ``push.on_older`` is "fail"."""
    if decision.verdict is Verdict.FAIL:
        raise PushError(
            f"not pushed: {decision.reason}",
            remedy='Deploy the newer release, or set push.on_older to "skip" or "push".',
        )
