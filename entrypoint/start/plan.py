"""What one start wants to have done, as fingerprints to compare with the ledger's."""

import shutil
from typing import NamedTuple

from .. import fingerprint as inputs
from ..config.keys import STEPS, variable
from ..config.settings import Seed, Settings
from ..errors import SettingsError
from ..postgres.ledger import NO_PUSH, Found, Ledger, Who
from ..postgres.session import Session
from . import decide
from .decide import Decision, Verdict


class Plan(NamedTuple):
    """Settings, and a fingerprint for each step; None where nothing can be proved."""

    config: Settings
    push_fingerprint: str | None
    seed_fingerprint: str | None

    @classmethod
    def of(cls, config: Settings) -> "Plan":
        """Fingerprint the inputs. Raises `SettingsError` for what cannot be found or read."""
        problems: list[str] = []
        push = seed = None
        if config.push.command and "push" not in config.skip:
            push = _fingerprint("push", config, problems)
        if config.seed.command and "seed" not in config.skip:
            seed = _fingerprint("seed", config, problems)
        if problems:
            raise SettingsError(
                problems, remedy="Correct what is listed, in the image or in its settings file."
            )
        return cls(config, push, seed)

    @property
    def provable(self) -> bool:
        """Whether the ledger can say anything at all."""
        return self.push_fingerprint is not None or self.seed_fingerprint is not None

    def owned_by_stranger(self, found: Found) -> bool:
        """Whether the database is one that nobody named as the service's."""
        registered = self.config.registered
        agreed = (self.config.database_owner, registered.owner if registered else None)
        return found.stranger is not None and found.stranger not in agreed

    @property
    def who(self) -> Who:
        """This start, as the ledger knows it."""
        config = self.config
        # A service without a push has releases too: its seed may be an older one's.
        fingerprint = self.push_fingerprint if config.push.command else NO_PUSH
        return Who(config.service, config.release, fingerprint)

    def older(self, found: Found) -> bool:
        """Whether a newer release was here since, which this one must leave alone."""
        older = decide.older(found.ledger, found.catalog, self.who)
        return older and self.config.push.on_older != "push"

    def push(self, found: Found) -> Decision:
        """Whether to push."""
        if reason := self.config.no_work("push"):
            return Decision(Verdict.SKIP, reason)
        return decide.push(
            found.ledger,
            found.catalog,
            self.who,
            on_older=self.config.push.on_older,
            forced="push" in self.config.force,
        )

    def to_record(self, found: Found) -> bool:
        """Whether the ledger must be written, though there is nothing else to do.

        What failed pushes left is looked at until it is gone.
        """
        idle = all(map(self.config.no_work, STEPS))
        if idle or not found.ledger.writable or not self.provable:
            return False
        return bool(found.ledger.damages) or self.is_new(found)

    def is_new(self, found: Found) -> bool:
        """Whether the ledger lacks this release: its late replicas could not be told from it."""
        who = self.who
        if who.fingerprint is None or decide.current(found.ledger, who):
            return False
        return not decide.older(found.ledger, found.catalog, who)

    def seed(self, found: Found, session: Session) -> Decision:
        """Whether to seed; asks the session for ``seed.check`` where the ledger has the tenant."""
        if reason := self.config.no_work("seed"):
            return Decision(Verdict.SKIP, reason)
        seed, fingerprint = self.config.seed, self.seed_fingerprint
        forced = "seed" in self.config.force
        tenant = seed.tenant
        if seed.lookup and fingerprint and not forced:
            # Whom a lookup found is as true as that it was seeded: nobody is asked again.
            tenant = found.ledger.tenant(fingerprint)
        unknown = seed.lookup and tenant is None
        key = None if unknown else found.ledger.key(tenant, self.who.service)
        decision = decide.seed(
            found.ledger, key, fingerprint, older=self.older(found), forced=forced
        )
        decision = decision._replace(tenant=tenant)
        if decision.runs or seed.check is None:
            return decision
        from .check import is_there  # no start without one pays for it

        there = is_there(session, seed.check, tenant)
        if there:
            return decision
        answer = "had no answer" if there is None else "found no row"
        return Decision(Verdict.RUN, f"seed.check {answer}", tenant)

    def seeds(self, tenant: str | None) -> Seed:
        """The seed for the tenant that was found."""
        return self.config.seed._replace(tenant=tenant)

    def seeded(self, ledger: Ledger, tenant: str | None, at: str) -> Ledger:
        """The ledger with this tenant's seed."""
        key = ledger.key(tenant, self.who.service)
        return ledger.seeded(key, self.seed_fingerprint or "", at)


def _of_push(config: Settings) -> list[str]:
    # A new extension is created where the push is, so it must not be skipped.
    return [f"extension {name}" for name in config.extensions]


def _of_seed(seed: Seed) -> list[str]:
    words: list[str] = []
    if lookup := seed.lookup:  # another question may find another tenant
        asked = (lookup.url, lookup.field) if lookup.url else (lookup.database, lookup.query)
        words += ["tenant_lookup", *map(str, asked)]
    if seed.variable:  # without it, it may have found no tenant
        words.append(f"tenant_variable {seed.variable}")
    return words


def _fingerprint(step: str, config: Settings, problems: list[str]) -> str | None:
    part = config.push if step == "push" else config.seed
    path = config.service_environment.get("PATH")
    if shutil.which(part.command[0], path=path) is None:
        one = "; it is one word with a blank in it" if " " in part.command[0] else ""
        name = _named(f"{step}.command", config)
        problems.append(f"{name}: {part.command[0]!r} is not found on PATH{one}")
    words = [*part.command, *(_of_push(config) if step == "push" else _of_seed(config.seed))]
    values = config.service_environment
    words += [  # a command's words have no such form
        f"variable {name}" + (f"={values[name]}" if name in values else "")
        for name in sorted(set(part.inputs_env))
    ]
    if not part.inputs:
        return inputs.fingerprint([*words, config.release], (), ".") if config.release else None
    try:
        return inputs.fingerprint(words, part.inputs, ".", part.inputs_root)
    except inputs.InputsError as error:
        name = _named(f"{step}.inputs", config)
        problems += [f"{name}: {problem}" for problem in error.problems]
    except OSError as error:
        name = _named(f"{step}.inputs", config)
        problems.append(f"{name}: {error.filename!r} cannot be read ({error.strerror})")
    return None


def _named(key: str, config: Settings) -> str:
    """A key of the file, or the variable that overrides it, which is nowhere in the image."""
    name = variable(key)
    return name if config.service_environment.get(name) else key
