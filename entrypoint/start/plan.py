"""Decides which steps a start runs: compares its fingerprints with the ledger."""

import time
from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple

from .. import files, log
from .. import fingerprint as inputs
from ..config.keys import STEPS, variable
from ..config.settings import Seed, Settings
from ..errors import PushError, SettingsError
from ..postgres.ledger import MAX_BRANCH, NO_PUSH, Found, Ledger, Mark, Who, stamp

MARK_S: Final = 3600.0  # seconds; previews that nobody needs any more are days old


class Action(Enum):
    """What a start does with a step."""

    RUN = "run"
    SKIP = "skip"
    FAIL = "fail"


class Decision(NamedTuple):
    """An action, and the reason for the log."""

    action: Action
    reason: str
    tenant: str | None = None  # the seed's tenant, if it is known without a lookup

    @property
    def runs(self) -> bool:
        """Whether the step runs."""
        return self.action is Action.RUN


UNCHANGED = Decision(Action.SKIP, "unchanged")
FORCED = "forced"
UNPROVABLE = "neither inputs nor a release to compare"
OLDER = "an older release: a newer one has pushed its schema since"


class StartPlan(NamedTuple):
    """Settings with each step's fingerprint; None if there is nothing to compare."""

    config: Settings
    push_fingerprint: str | None
    seed_fingerprint: str | None

    @classmethod
    def of(cls, config: Settings) -> "StartPlan":
        """Fingerprint the inputs. Raises `SettingsError` if any is missing or unreadable."""
        problems: list[str] = []
        push, seed = (_fingerprint(step, config, problems) for step in ("push", "seed"))
        if problems:
            raise SettingsError(
                problems, remedy="Correct these problems in the image or in its settings file."
            )
        return cls(config, push, seed)

    @property
    def provable(self) -> bool:
        """Whether the ledger can prove anything."""
        return self.push_fingerprint is not None or self.seed_fingerprint is not None

    def owned_by_stranger(self, found: Found) -> bool:
        """Whether the database's owner is neither ours nor one that the settings name."""
        registered = self.config.registered
        agreed = (self.config.database_owner, registered.owner if registered else None)
        return found.stranger is not None and found.stranger not in agreed

    @property
    def who(self) -> Who:
        """This start's identity in the ledger."""
        config = self.config
        # A service without a push has releases too, and its seed may be an older release's.
        fingerprint = self.push_fingerprint if config.push.command else NO_PUSH
        return Who(config.service, config.release, fingerprint)

    def older(self, found: Found) -> bool:
        """Whether a newer release ran since, and this one must not push or seed over it."""
        newer = older(found.ledger, found.catalog, self.who)
        return newer and self.config.push.on_older != "push"

    def push(self, found: Found) -> Decision:
        """Decide whether to push."""
        if reason := self.config.no_work("push"):
            return Decision(Action.SKIP, reason)
        return decide_push(
            found.ledger,
            found.catalog,
            self.who,
            on_older=self.config.push.on_older,
            forced="push" in self.config.force,
        )

    def mark(self, book: Ledger) -> Mark | None:
        """What the ledger should say of the preview; None if it does, or this is none's start.

        A preview that starts again and again says so every `MARK_S` seconds.
        """
        mark, before = _marked(self.config, book.preview), book.preview
        if mark is None or before is None or before._replace(at=mark.at) != mark:
            return mark
        fresh = stamp(time.time() - MARK_S) < before.at <= mark.at
        return None if fresh else mark

    def to_record(self, found: Found) -> bool:
        """Whether to write the ledger although no step runs; damage calls for another look."""
        if found.ledger.writable and self.mark(found.ledger):
            return True
        idle = all(map(self.config.no_work, STEPS))
        if idle or not found.ledger.writable or not self.provable:
            return False
        return bool(found.ledger.damages) or self.is_new(found)

    def is_new(self, found: Found) -> bool:
        """Whether the ledger lacks this release; its late replicas would look new, too."""
        who = self.who
        if who.fingerprint is None or current(found.ledger, who):
            return False
        return not older(found.ledger, found.catalog, who)

    def seed(self, found: Found, there: Callable[[str, str | None], bool | None]) -> Decision:
        """Decide whether to seed; ``there`` runs ``seed.check`` if the ledger has the tenant."""
        if reason := self.config.no_work("seed"):
            return Decision(Action.SKIP, reason)
        seed, fingerprint = self.config.seed, self.seed_fingerprint
        forced = "seed" in self.config.force
        tenant = seed.tenant
        if seed.lookup and fingerprint and not forced:
            # The ledger's seed proves the tenant that the lookup found then: no new lookup.
            tenant = found.ledger.tenant(fingerprint)
        unknown = seed.lookup and tenant is None
        key = None if unknown else found.ledger.key(tenant, self.who.service)
        late = self.older(found)
        decision = decide_seed(found.ledger, key, fingerprint, older=late, forced=forced)
        decision = decision._replace(tenant=tenant)
        if decision.runs or seed.check is None:
            return decision
        answer = there(seed.check, tenant)
        if answer:
            return decision
        said = "got no answer" if answer is None else "found no row"
        return Decision(Action.RUN, f"seed.check {said}", tenant)

    def needless(
        self, found: Found, there: Callable[[str, str | None], bool | None]
    ) -> tuple[Decision, Decision] | None:
        """Why neither push nor seed has work; None if one has, or the ledger wants a new line."""
        push = self.push(found)
        if self.owned_by_stranger(found) or push.runs:
            return None
        seed = self.seed(found, there)
        if seed.runs or push.action is Action.FAIL or self.to_record(found):
            return None
        return push, seed

    def tell_needless(self, found: Found, why: tuple[Decision, Decision]) -> None:
        """Log what `needless` returned."""
        for step, decision in zip(STEPS, why, strict=True):
            tell_skipped(step, decision, found.ledger, self.config.service)

    def warn_of_others(self, found: Found, database: str) -> None:
        """Log which other services have pushed to the database."""
        if others := found.ledger.others(self.config.service):
            log.event(
                "warning",
                "database.shared",
                database=database,
                services=others,
                remedy="Give each service its own database. If one of these is a former name of "
                "this service, set ENTRYPOINT_FORCE=push for one start, which forgets that name.",
            )


def _marked(config: Settings, before: Mark | None) -> Mark | None:
    """The mark of a preview that has a database of its own; None for any other start."""
    preview, service = config.preview, config.service
    if not preview or not preview.own or not service:
        return None
    # Not each container of a preview knows its branch.
    branch = preview.branch or (before.branch if before else None)
    return Mark(service, preview.id, branch and branch[:MAX_BRANCH], stamp(time.time()))


def _of_seed(seed: Seed) -> list[str]:
    words: list[str] = []
    if lookup := seed.lookup:  # a changed lookup may find another tenant
        asked = (lookup.url, lookup.field) if lookup.url else (lookup.database, lookup.query)
        words += ["tenant_lookup", *map(str, asked)]
    if seed.variable:  # without the variable, the seed may have found no tenant
        words.append(f"tenant_variable {seed.variable}")
    return words


def _fingerprint(step: str, config: Settings, problems: list[str]) -> str | None:
    part = config.push if step == "push" else config.seed
    if not part.command or step in config.skip:
        return None
    path = config.service_environment.get("PATH")
    if not files.on_path(part.command[0], path):
        one = "; the word contains a blank" if " " in part.command[0] else ""
        name = _named(f"{step}.command", config)
        problems.append(f"{name}: {part.command[0]!r} is not found on PATH{one}")
    # The push creates new extensions, so a new one must change the fingerprint.
    extensions = [f"extension {name}" for name in config.extensions]
    words = [*part.command, *(extensions if step == "push" else _of_seed(config.seed))]
    values = config.service_environment
    words += [  # unlike any word of a command
        f"variable {name}" + (f"={values[name]}" if name in values else "")
        for name in sorted(set(part.inputs_env))
    ]
    if not part.inputs:
        return inputs.fingerprint([*words, config.release], (), ".") if config.release else None
    name = _named(f"{step}.inputs", config)
    try:
        return inputs.fingerprint(words, part.inputs, ".", part.inputs_root)
    except inputs.InputsError as error:
        problems += [f"{name}: {problem}" for problem in error.problems]
    except OSError as error:
        problems.append(f"{name}: cannot read {error.filename!r} ({error.strerror})")
    return None


def _named(key: str, config: Settings) -> str:
    name = variable(key)
    return name if config.service_environment.get(name) else key


def older(ledger: Ledger, catalog: str | None, who: Who) -> bool:
    """Whether a newer release ran since: this one is a rollback or a late replica.

    A release that the ledger lacks is new, even with old inputs: that is a revert. If both starts
    have the same release, or none, nothing distinguishes a revert from a late replica. Then inputs
    that an earlier push had, but not the last one, are older, unless the schema is as they left it.
    """
    pushes = ledger.of(who.service)
    if who.release is not None and pushes and who.release != pushes[-1].release:
        return any(who.release in push.releases for push in pushes)
    return any(
        push.fingerprint == who.fingerprint
        and push.catalog != catalog
        and (who.release is None or who.release in push.releases)
        for push in pushes[:-1]
    )


def decide_push(
    ledger: Ledger, catalog: str | None, who: Who, *, on_older: str, forced: bool
) -> Decision:
    """Decide whether to push: not if the live catalog is the one that this push left.

    A push is state-based, so an older release's would drop what a newer one added; ``on_older``
    decides then.
    """
    pushes = ledger.of(who.service)
    if forced or who.fingerprint is None or not pushes:
        reason = FORCED if forced else "first" if who.fingerprint else UNPROVABLE
        return Decision(Action.RUN, reason)
    same = next((push for push in pushes if push.fingerprint == who.fingerprint), None)
    if same and same.catalog == catalog:
        return UNCHANGED
    if same is pushes[-1]:
        drift = (
            "drift" if catalog is not None else "unknown: another session is changing the schema"
        )
        return Decision(Action.RUN, drift)
    if older(ledger, catalog, who):
        actions = {"skip": Action.SKIP, "push": Action.RUN, "fail": Action.FAIL}
        return Decision(actions[on_older], OLDER)
    return Decision(Action.RUN, "changed")


def current(ledger: Ledger, who: Who) -> bool:
    """Whether the ledger's last push has this start's inputs and release."""
    return any(
        last.fingerprint == who.fingerprint and who.release in (None, last.release)
        for last in ledger.of(who.service)[-1:]
    )


def decide_seed(
    ledger: Ledger, key: str | None, fingerprint: str | None, *, older: bool, forced: bool
) -> Decision:
    """Decide whether to seed: not if the ledger has this tenant with this fingerprint.

    An older release's seed could undo a newer one's changes, so it runs only for a tenant without
    a seed. ``key`` is None if the tenant is still to be looked up.
    """
    if forced:
        return Decision(Action.RUN, FORCED)
    seeded = ledger.seeds.get(key) if key else next(iter(ledger.seeds.values()), None)
    if older and seeded:
        unchanged = fingerprint is not None and seeded[0] == fingerprint
        return Decision(Action.SKIP, "seeded" if unchanged else OLDER)
    if fingerprint is None:
        return Decision(Action.RUN, UNPROVABLE)
    if seeded is None:
        return Decision(Action.RUN, "first")
    if seeded[0] != fingerprint:
        return Decision(Action.RUN, "changed")
    return Decision(Action.SKIP, "seeded")


def tell_skipped(step: str, decision: Decision, ledger: Ledger, service: str | None) -> None:
    """Log why the start skips a step; for an older release, warn and name the newer one."""
    pushes = ledger.of(service)
    if decision.reason is not OLDER or not pushes:
        known = {"tenant_id": decision.tenant} if decision.tenant else {}
        log.event("info", f"{step}.skipped", reason=decision.reason, **known)
        return
    last = pushes[-1]
    remedy = f"Set ENTRYPOINT_FORCE={step} for one start to {step} anyway."
    if not last.release:
        remedy += " Set ENTRYPOINT_RELEASE in every image to tell a revert from a late replica."
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
    """Raise `PushError` if ``push.on_older`` is "fail"."""
    if decision.action is Action.FAIL:
        raise PushError(
            f"not pushed: {decision.reason}",
            remedy='Deploy the newer release, or set push.on_older to "skip" or "push".',
        )
