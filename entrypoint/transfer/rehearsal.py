"""The rehearsal: restore the schema alone on the target's server, and report what fails.

It asks nobody and blocks nobody: it reads the source's catalogs, and fills a scratch database,
which it drops again. It uses the code, the arguments and the roles of the move.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from threading import Thread
from typing import Final, NamedTuple

import psycopg
from psycopg import sql

from .. import log
from ..config.conninfo import suffixed
from ..errors import EntrypointError, RefusedError, TransferError
from ..operator.server import Server
from ..postgres.session import Session, translated
from ..process import signals
from . import archive, compare, locks, throwaway
from . import target as target_module
from .dump import Dump, StuckError
from .obstacle import Problem, final
from .plan import Plan
from .preflight import Prepared
from .progress import Progress
from .request import Request
from .source import queried
from .target import Target
from .tools import Complaint

MARK: Final = "__rehearsal_"  # in a scratch database's name, between the target's and the session's
SHOWN: Final = 10  # objects to name that failed for one reason
_ENTRY: Final = re.compile(r"(\d+); (\d+) (\d+) (.+)")
_OF_ROWS: Final = "(populated,"  # the beginning of a fact that rows change

# Kinds of problems without whose mending a rehearsal reports nothing new.
_FIRST: Final = ("roles", "target_rights", "target_owner", "extension", "tablespace", "collation")


class _Failure(NamedTuple):
    what: str
    key: str  # the name as the server's messages have it, without quotes and arguments
    complaint: Complaint


def remove_old(server: Server) -> None:
    """Drop the scratch databases of killed rehearsals, as far as the role can."""
    with suppress(EntrypointError, psycopg.Error), closing(server.open()) as admin:
        for (name,) in admin.rows("transfer/old_scratch_databases"):
            with suppress(EntrypointError):
                target_module.drop(admin, name)


@contextmanager
def rehearsed(
    session: Session, request: Request, prepared: Prepared, progress: Progress
) -> Iterator[list[Problem]]:
    """Rehearse a plan as if the operator had agreed to everything; yield what failed.

    A thread drops the scratch database during the body; the end of the body waits for it, also
    after an exception. ``session`` is in the source and in no transaction. Raises `RefusedError`,
    `UnreachableError` and `Terminated`.
    """
    must = [each.name for each in prepared.problems if not each.allowable]
    if first := [name for name in must if name.partition(":")[0] in _FIRST]:
        log.event(
            "info",
            "transfer.rehearsal_skipped",
            obstacles=first,
            remedy="Fix these first: the rehearsal then looks for the obstacles of the restore.",
        )
        yield []
        return
    made = ExitStack()
    try:
        with progress.of("rehearse"):
            found = _rehearse(made, session, request, prepared, progress)
    except BaseException:
        made.close()
        raise
    leaving = Thread(target=made.close)
    try:
        with signals.late():
            leaving.start()
        yield found
    finally:
        if leaving.ident is None:
            made.close()
        else:
            leaving.join()


def _rehearse(
    made: ExitStack, session: Session, request: Request, prepared: Prepared, progress: Progress
) -> list[Problem]:
    """``made`` collects the removals."""
    plan, apart = prepared.plan, prepared.apart
    source = replace(request.source, lock_timeout_s=locks.PLAN_S, passing=True)
    server = source
    if request.target is not request.source:
        server = replace(request.target, lock_timeout_s=locks.PLAN_S, passing=True)
    there = made.enter_context(closing(server.open()))
    [(*_, maker)] = queried(there, "naming a database", "transfer/own_backend")
    name = suffixed(prepared.target.name, MARK + maker)
    target = prepared.target._replace(server=server, scratch=name)
    made.callback(_remove, request.target, name)
    folder = made.enter_context(archive.temporary())
    with ThreadPoolExecutor(2) as workers:
        # CREATE DATABASE takes the longest and needs nothing of the rest.
        statement = target_module.creation(target, session, closed=apart[1])
        with signals.late():
            making = workers.submit(_create, target, statement)
        hands = made.enter_context(
            throwaway.hired((session, there), (source, server), plan, 1, apart=apart)
        )
        trial = prepared._replace(target=target)
        dump = Dump(source, 1, trial, hands, progress, rehearsing=True, making=making)
        stopped: list[Problem] = []
        try:
            # Compare what the dump has, although other sessions may change the schema.
            locks.begin(session, None)
            snapshot = locks.export(session)
            with signals.late():
                ours = workers.submit(_facts, dump, session.database, snapshot)
            dump.go(session, snapshot, folder)
            dump.finish()
            if not dump.complaints:
                dump.step = "compare"
                # A restore may differ without an error, such as in the order of columns.
                (here, major), (scratch, other) = ours.result(), _facts(dump)
                stopped = [*compare.problems(compare.differences(here, scratch, (major, other)))]
        except StuckError:
            stopped = []  # the dump's complaints have it
        except (TransferError, RefusedError) as error:
            if not dump.complaints:  # otherwise they caused it
                stopped = _stopped(session, plan, dump.step, error)
    failures = _failures(session, dump)
    with translated("ending the rehearsal", remedy="Run the command again."):
        session.connection.execute("rollback")
    if hands.reader.name:
        # A dump that begins during the removal would find rights of a role that is gone.
        throwaway.revoke_all(session, hands.reader.name)
    return [*_told(failures, prepared.problems), *_new(stopped, prepared.problems)]


def _create(target: Target, statement: sql.Composed) -> None:
    with closing(target.server.open()) as admin:
        target_module.create(admin, target, statement)


def _remove(server: Server, name: str) -> None:
    if remedy := target_module.clean(server, name):
        log.event("warning", "transfer.rehearsal_not_removed", database=name, remedy=remedy)


def _stopped(session: Session, plan: Plan, step: str, error: EntrypointError) -> list[Problem]:
    if step == "dump" and (locked := [*locks.locked(session, plan, waiting=True)]):
        return locked
    details = [str(error.fields[key]) for key in ("detail", "hint") if key in error.fields]
    said = " ".join([f"the rehearsal ended: {error.message}", *details])
    return [final(f"rehearsal:{step}", said, error.remedy)]


def _facts(dump: Dump, database: str = "", snapshot: str | None = None) -> tuple[set[str], int]:
    """The facts of the source as the dump has it, or of the scratch database, and its version.

    Evaluates nothing, and leaves out the facts of rows.
    """
    role = dump.hands.reader if database else dump.hands.checker
    with closing(role.server.session(database or dump.target.incoming)) as session:
        found = dump.facts(session, snapshot, source=bool(database))
        texts = {fact for fact in found if not fact.startswith(_OF_ROWS)}
        return texts, session.server_version // 10000


def _failures(session: Session, dump: Dump) -> list[_Failure]:
    """What failed to restore, except for what needs an object that failed before."""
    entries = {int(m[1]): m for line in dump.listing if (m := _ENTRY.fullmatch(line.strip()))}
    names = _names(session, entries, [each.entry for each in dump.complaints])
    found: dict[str, _Failure] = {}
    for number, complaint in enumerate(dump.complaints):
        entry = complaint.entry or 0
        listed = entries[entry][4] if entry in entries else f"statement {number + 1}"
        kind, identity = names.get(entry, ("", listed))
        key = re.sub(r"\(.*", "", identity).replace('"', "")
        key = f"schema {key}" if kind == "schema" else key
        text = complaint.error.replace('"', "")
        if not any(_mentions(text, each.key) for each in found.values()):
            found.setdefault(identity, _Failure(f"{kind} {identity}".strip(), key, complaint))
    return list(found.values())


def _names(
    session: Session, entries: Mapping[int, re.Match[str]], numbers: Sequence[int | None]
) -> dict[int, tuple[str, str]]:
    wanted = [entries[number] for number in {*numbers} if number is not None and number in entries]
    known = [each for each in wanted if int(each[2]) and int(each[3])]
    columns = [[int(each[group]) for each in known] for group in (1, 2, 3)]
    rows = queried(session, "looking for names", "transfer/object_identities", columns)
    return {number: (kind, identity) for number, kind, identity in rows}


def _mentions(text: str, key: str) -> bool:
    return bool(re.search(rf"(?<![\w.]){re.escape(key)}(?!\w)", text))


def _same(problem: str, failure: _Failure) -> bool:
    """Whether a problem is about the failed object, whose name may be only the dump's heading."""
    name, key = re.split(r"[:.]", problem)[-1], failure.key.removeprefix("public.")
    return _mentions(problem.replace(":public.", ":"), key) or _mentions(key, name)


def _new(found: Iterable[Problem], known: Sequence[Problem]) -> Iterator[Problem]:
    """Leave out differences of objects that the operator must mend anyway."""
    must = [each.name for each in known if not each.allowable]
    for each in found:
        kind, _, name = each.name.partition(":")
        if kind != "facts" or not any(_mentions(other, name) for other in must):
            yield each


def _told(failures: Sequence[_Failure], known: Sequence[Problem]) -> Iterator[Problem]:
    """A problem for each reason, unless one that the operator must mend covers it."""
    must = [each.name.replace('"', "") for each in known if not each.allowable]
    reasons: dict[str, list[_Failure]] = {}
    for each in failures:
        if not any(_same(name, each) for name in must):
            said = " ".join((each.complaint.error, *each.complaint.details))
            reasons.setdefault(said, []).append(each)
    for said, those in reasons.items():
        first, *others = those
        more = ", ".join(each.what for each in others[: SHOWN - 1])
        more += f" and {len(others) - SHOWN + 1} more" if len(others) >= SHOWN else ""
        yield final(
            f"rehearsal:{first.what}",
            f"the restore of the {first.what} fails: {said}"
            + (f" (the same holds for {more})" if more else ""),
            "Change or drop it in the source, or use --with to name what it needs.",
        )
