"""Dump a plan's objects, and restore them into the incoming database with owners and settings.

A rehearsal uses the code, the arguments and the roles of the move, without rows.
"""

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from psycopg import sql

from .. import log
from ..config.environment import Environment
from ..errors import TransferError, plural
from ..operator.server import Server
from ..postgres.session import Session, translated
from ..postgres.sql import load_sql, quoted
from ..process import signals
from ..process.child import Watch
from . import compare, locks, throwaway, tools
from . import target as target_module
from .archive import PG_NAMESPACE, Apart, Selection, select
from .plan import Plan
from .preflight import Prepared
from .progress import Progress
from .source import PG_CLASS, Key, Subject, queried
from .target import configure
from .throwaway import Hands
from .tools import Complaint, Runner

SMALL_BYTES: Final = 1 << 30  # below it, an index's parallel workers start slower than they save
WAIT_S: Final = 10  # seconds that a dump waits for a table's lock; we hold those of moving tables
_OF_EXTENSION: Final = " COMMENT - EXTENSION "
_TABLE = re.compile(r'(?:dumping contents of|processing data for) table "[^"]*\.([^".]+)"')
_DONE = re.compile(r"pg_(?:dump|restore): finished item \d+ TABLE DATA (.+)")
_MAKING = re.compile(
    r"pg_(?:dump|restore): (?:creating|executing|dumping contents of|processing data for) (.+)"
)
_ITEM = re.compile(r"pg_restore: (launching|finished) item \d+ (.+)")
_ENTRY = re.compile(r"(\d+); \d+ \d+ (.+)")


class StuckError(TransferError):
    """A rehearsal does not come to an end; the dump's complaints name the object."""


@dataclass
class Dump:
    """One dump and its restore: `go`, then `finish`."""

    server: Server
    jobs: int
    prepared: Prepared
    hands: Hands
    progress: Progress
    rehearsing: bool = False  # whether to carry the schema only, and to go on after an error
    making: Future[None] | None = None  # the creation of the incoming database, if begun
    step: str = "dump"  # the current step, which a failure reports
    listing: list[str] = field(default_factory=list)  # the dump's table of contents
    complaints: list[Complaint] = field(default_factory=list)  # errors of a rehearsal's restore
    under_way: list[str] = field(default_factory=list)  # the tools' objects, one for each worker
    _watches: list[Watch] = field(default_factory=list)
    _serial: bool = False
    _begun: int = 0
    _sizes: dict[str, list[int]] = field(default_factory=dict)  # bytes of tables, by bare name

    def __post_init__(self) -> None:
        self.plan, self.target, self.tools = self.prepared[:3]
        self.environ = Environment.of_container()

    def go(self, source: Session, snapshot: str, folder: Path) -> Selection:
        """Fill the incoming database; return the selection that the restore took.

        ``source`` stays as it is, and the dump stays in ``folder``. A failure leaves the incoming
        database behind. Raises `TransferError`, `RefusedError`, `UnreachableError` and
        `Terminated`.
        """
        writer = self.hands.writer
        if reader := self.hands.reader.name:
            with closing(self.server.session(source.database)) as admin:
                if self.rehearsing:
                    throwaway.may_read_all(admin, reader)
                else:
                    throwaway.may_read(admin, reader, self.plan)
        statement = None
        if self.making is None:
            statement = target_module.creation(self.target, source, closed=bool(writer.name))
        needs = None
        if writer.name:
            needs = target_module.needs(source, self.plan, self.tools.version)
        self._watches = [] if self.rehearsing else [locks.Alive(source)]
        with ThreadPoolExecutor(1) as beside:
            with signals.late():
                made = beside.submit(self._make, statement, needs)
            with self._phase("dump"):
                self._dump(source, snapshot, folder)
                chosen = self._select(folder, needs)
                self.step = "database"
                public = made.result()
            with self._phase("restore"):
                self.step = "restore"
                self._restore(folder)
            with self._phase("analyze"):
                if not self.rehearsing:
                    target_module.analyze(writer.server, self.target.incoming)
                if needs is not None:
                    self.step = "owners"
                    self._hand_over(source, folder, chosen, public)
        return chosen

    def _phase(self, name: str) -> AbstractContextManager[None]:
        return nullcontext() if self.rehearsing else self.progress.of(name)

    def _make(self, statement: sql.Composed | None, needs: target_module.Needs | None) -> str:
        """Create the incoming database for its writer; return the owner of schema public."""
        if statement is not None:
            target_module.create(self.hands.admin, self.target, statement)
        if self.making is not None:
            self.making.result()
        if needs is None:
            return ""
        return target_module.prepare(self.target, needs, self.hands.writer.name)

    def facts(self, session: Session, snapshot: str | None, *, source: bool) -> set[str]:
        """The facts of the ``source`` or of the incoming database.

        ``session`` is connected to that database, in no transaction. Afterwards it is in one that
        reads, from the snapshot if the caller names one. Raises `RefusedError` and
        `UnreachableError`.
        """
        locks.begin(session, snapshot)
        ours = [each.name for each in (self.hands.reader, self.hands.checker) if each.name]
        powerful = all(self.prepared.apart)
        scope = compare.scope_of(session, self.plan, ours, powerful=powerful, source=source)
        blobs = scope.blobs and not self.rehearsing
        return compare.facts(session, scope._replace(blobs=blobs))

    def finish(self) -> None:
        """Give the incoming database its owner, rights and settings; raises as `facts` does."""
        self.step = "settings"
        admin, owned = self.hands.admin, not self.hands.writer.name
        target_module.open_up(admin, self.target, owned=owned)
        configure(admin, self.target, self.plan)

    def _hand_over(self, source: Session, folder: Path, chosen: Selection, public: str) -> None:
        """Lock the writer out, and give its objects to their owners, with the rights on them."""
        writer, target, admin = self.hands.writer.name, self.target, self.hands.admin
        throwaway.lock_out(admin, writer)
        with closing(target.server.session(target.incoming)) as session:
            hand_over(source, session, self.plan, writer, public)
            later = chosen.later
            if self.rehearsing:  # they add no fact to compare
                later = [line for line in later if _OF_EXTENSION not in line]
            if later:
                self.step = "rights"
                self._restore_later(folder, later)
            throwaway.revoke_all(session, writer)
            throwaway.lock_out(admin, writer)  # a login may have been under way
            if not self.rehearsing:  # a rehearsal compares catalogs only
                throwaway.may_read(session, self.hands.checker.name)
            throwaway.may_read_objects(session, self.hands.checker.name)

    def _restore_later(self, folder: Path, lines: Sequence[str]) -> None:
        """Restore what only a superuser may make, and what evaluates nothing."""
        path = folder / "later"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        options = "-c session_replication_role=replica"
        if self.tools.target_version >= tools.EVENT_TRIGGERS_SINCE:
            options += " -c event_triggers=off"
        self._gather(self.target.server, "rights", options, folder, f"--use-list={path}")

    def _gather(self, server: Server, what: str, settings: str, folder: Path, *more: str) -> None:
        """Restore from the dump by the options ``more``; a rehearsal notes the errors."""
        # The commit of the swap makes all earlier writes durable.
        settings = f"-c synchronous_commit=off {settings}"
        silent = self._silent if what == "restore" else None
        runner = Runner(self.environ, server.conninfo, self._watches, self._hear, settings, silent)
        forgiving, gathering = self.tools.ahead, self.rehearsing
        argv = [self.tools.pg_restore, *more, f"--dbname={self.target.incoming}", "--no-password"]
        argv += [] if gathering or forgiving else ["--exit-on-error"]
        argv.append(str(folder / "dump"))
        self.complaints += runner.run(
            what, argv, self.target.incoming, forgiving=forgiving, gathering=gathering
        )

    def _dump(self, source: Session, snapshot: str, folder: Path) -> None:
        reader = self.hands.reader.server.conninfo
        runner = Runner(self.environ, reader, self._watches, self._hear)
        jobs = locks.jobs(source, self.plan, self.jobs)
        self._begin_counting(jobs)
        argv = [self.tools.pg_dump, "--format=directory", f"--jobs={jobs}", "--compress=0"]
        argv += ["--verbose", "--no-password", f"--snapshot={snapshot}"]
        argv += [f"--file={folder / 'dump'}", "--encoding=UTF8"]  # of the patterns, too
        argv.append("--no-sync")  # the transfer removes the dump
        if self.rehearsing:
            argv += ["--schema-only", "--no-blobs", "--lock-wait-timeout=1s"]
        else:
            argv.append(f"--lock-wait-timeout={WAIT_S}s")
            argv += [] if all(self.prepared.apart) else ["--no-blobs"]
            # A restore could not tell the statistics of a view that it leaves out.
            known = self.tools.statistics and not self.plan.broken
            argv += ["--statistics"] if known else []
        argv += [f"--exclude-table={each.quoted()}" for each in self.plan.not_copied]
        argv += [f"--exclude-table-data={each.quoted()}" for each in self.plan.unread]
        argv.append("--no-subscriptions")  # a copy would take the original's slot
        unneeded = sorted({*self.plan.source.extensions.values()} - {*self.plan.extensions})
        argv += self.tools.without_extensions(unneeded)
        argv += [f"--exclude-schema={quoted(schema)}" for schema in self.prepared.without]
        runner.run("dump", argv, source.database)

    def _select(self, folder: Path, needs: target_module.Needs | None) -> Selection:
        """Write the lines to restore into a file beside the dump."""
        writer = self.hands.writer.server.conninfo
        runner = Runner(self.environ, writer, self._watches, self._hear)
        path = folder / "list"
        argv = [self.tools.pg_restore, "--list", f"--file={path}", str(folder / "dump")]
        runner.run("list", argv, self.target.incoming)
        self.listing = path.read_text("utf-8", "replace").split("\n")
        chosen = select(self.listing, self._without(needs), self._apart(needs))
        path.write_text("\n".join(chosen.restored) + "\n", encoding="utf-8")
        return chosen

    def _restore(self, folder: Path) -> None:
        small = self.plan.size_bytes < SMALL_BYTES
        settings = "-c max_parallel_maintenance_workers=0" if small else ""
        self._begin_counting(self.jobs)
        more = [f"--jobs={self.jobs}", "--verbose", f"--use-list={folder / 'list'}"]
        more += ["--no-owner", "--no-privileges"]
        more += ["--no-tablespaces"] if self.target.lacks.space else []
        self._gather(self.hands.writer.server, "restore", settings, folder, *more)

    def _without(self, needs: target_module.Needs | None) -> dict[Key, Subject]:
        """What the restore leaves out, also entries of a schema public that a superuser owns."""
        without = self.plan.unrestorable()
        if needs is None and self.tools.target_version < target_module.PUBLIC_CLOSED_SINCE:
            without[PG_NAMESPACE, 0] = Subject("-", "SCHEMA", "public")
        return without

    def _apart(self, needs: target_module.Needs | None) -> Apart | None:
        if needs is None:
            return None
        there = frozenset((PG_NAMESPACE, oid) for oid in needs.schemas.values())
        wide = {e.key: e.name for e in self.plan.source.publications if not e.tables}
        return Apart(there, wide, frozenset((PG_CLASS, oid) for oid in needs.tables))

    def _hear(self, line: str) -> None:
        log.event("debug", "transfer.printed", line=line)
        self._count(line)
        if match := _ITEM.match(line):
            if match[1] == "launching":
                self.under_way.append(match[2])
            elif match[2] in self.under_way:
                self.under_way.remove(match[2])
        elif (match := _MAKING.match(line)) and self.jobs == 1:
            self.under_way[:] = [match[1]]
        else:
            return
        self.progress.at(", ".join(self.under_way))

    def _silent(self, seconds: float) -> None:
        """End a rehearsal that hangs at one object; a move may take as long as it must."""
        if self.rehearsing and self.under_way:
            error = f"the restore has not finished it after {seconds:.0f} s, though it has no row"
            self.complaints.append(Complaint(self._entry(self.under_way[0]), error, ()))
            raise StuckError(error, remedy="Change it, or drop it.")

    def _entry(self, words: str) -> int | None:
        """The dump's entry that a tool names by its kind and its quoted name."""
        kind, _, name = words.removesuffix('"').partition(' "')
        dots = [i for i, each in enumerate(name) if each == "."]
        means = {f"{kind} - {name} ", *(f"{kind} {name[:i]} {name[i + 1 :]} " for i in dots)}
        for line in self.listing:
            match = _ENTRY.match(line)
            if match and any(match[2].startswith(each) for each in means):
                return int(match[1])
        return None

    def _begin_counting(self, jobs: int) -> None:
        self._serial, self._begun = jobs == 1, 0
        self._sizes = {}
        for each in self.plan.relations:
            self._sizes.setdefault(each.name, []).append(each.size_bytes)

    def _count(self, line: str) -> None:
        """Count a table as done; a tool with one job prints what it begins, so the one before."""
        if match := _DONE.match(line):
            if sizes := self._sizes.get(match[1]):
                self.progress.advance(sizes.pop())
        elif self._serial and (match := _TABLE.search(line)):
            self.progress.advance(self._begun)
            self._begun = max(self._sizes.get(match[1], [0]))


_ANY: Final = "objid >= 16384 or identity = 'public' or classid = 'pg_largeobject'::regclass"
_OF: Final = "owner = (select oid from pg_roles where rolname = %s)"

# In some minor versions a multirange follows its range, and the server refuses its own ALTER.
_FIRST: Final = (
    f"{_OF} and not exists (select from pg_type m where classid = 'pg_type'::regclass"
    " and m.oid = objid and typtype = 'm')"
)
_KINDS: Final = {
    **dict.fromkeys(("aggregate", "function", "procedure"), "ROUTINE"),
    "statistics object": "STATISTICS",
}
"""The kinds that ALTER names differently than pg_identify_object."""


def hand_over(source: Session, target: Session, plan: Plan, writer: str, public: str) -> None:
    """Give each object that the writer owns in the target to its owner in the source.

    The role ``public`` gets the schema public if the source has none. Evaluates nothing. Raises
    `TransferError` for an object that the source does not have, because evaluated code made it.
    """
    left = {*plan.unrestorable(), *((PG_CLASS, each.oid) for each in plan.not_copied)}
    with translated("looking for owners", remedy="Run the transfer again."):
        there = _owned(source, _ANY)
    owners = {("schema", "public"): public}
    owners |= {
        (kind, identity): owner
        for catalog, oid, kind, identity, owner in there
        if (catalog, oid) not in left
    }
    for which in (_FIRST, _OF):
        _give(target, owners, which, writer)
    left_over = queried(target, "looking for what is left", "transfer/left_with_owner", [writer])
    if rest := [each for (each,) in left_over]:
        raise TransferError(
            f"the transfer cannot give {plural(len(rest), 'object')} to the right owner: "
            f"{', '.join(rest[:10])}",
            remedy="Report this bug with these objects, please; the source is unchanged.",
        )


def _owned(session: Session, which: str, *params: str) -> list[tuple[Any, ...]]:
    query = load_sql("transfer/owned_objects").format(which=which)
    return session.connection.execute(query, params or None).fetchall()


def _give(target: Session, owners: Mapping[tuple[str, str], str], which: str, writer: str) -> None:
    with translated("looking for owners", remedy="Run the transfer again."):
        made = _owned(target, which, writer)
    keys = [(kind, identity) for _, _, kind, identity, _ in made]
    if strange := [f"{kind} {name}" for kind, name in keys if (kind, name) not in owners]:
        raise TransferError(
            f"code of the source created {plural(len(strange), 'object')} during the restore: "
            f"{', '.join(strange[:10])}",
            remedy="Check the functions that the service's tables call; nothing was moved.",
        )
    statements = [
        f"ALTER {_KINDS.get(kind, kind.upper())} {name} OWNER TO {quoted(owners[kind, name])}"
        for kind, name in keys
    ]
    with translated("giving each object to its owner", remedy="Run the transfer again."):
        # The transaction locks each table's indexes, sequences and TOAST, too.
        locks.in_batches(target, statements)
