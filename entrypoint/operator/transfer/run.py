"""Moves what the plan says: dump, restore beside, compare, and put into place in one commit."""

import re
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Thread
from typing import Final

from ... import log
from ...environment import Environment
from ...errors import EntrypointError, Terminated, TransferError
from ...postgres.session import Session
from ..server import Server
from . import compare, locks, rows, throwaway, tools
from . import folder as folders
from . import target as target_module
from .archive import PG_CLASS, PG_NAMESPACE, Apart, Selection, select
from .configure import configure
from .destination import Target
from .owners import hand_over
from .plan import Plan
from .progress import Progress
from .rows import Counted
from .source import Relation, quoted
from .swap import Position, Sides, read, swap
from .throwaway import Hands
from .tools import Runner, Tools

SMALL_BYTES: Final = 1 << 30
"""Below it, workers for each index cost more to start than they bring beside the other jobs."""

_TABLE = re.compile(r'(?:dumping contents of|processing data for) table "(.+)"')


@dataclass
class Moved:
    """What a transfer did."""

    counted: list[Counted] = field(default_factory=list)
    facts: int = 0
    left: list[str] = field(default_factory=list)
    """What was not restored: lines of the dump."""

    positions: dict[str, Position] = field(default_factory=dict)
    """Where the target's sequences are, by label."""

    quarantine: list[str] = field(default_factory=list)
    kept: str | None = None
    """The database that was there before, where it could not be removed."""


@dataclass
class Transfer:
    """One run; `go` does it."""

    server: Server
    plan: Plan
    target: Target
    tools: Tools
    environ: Environment
    jobs: int
    superuser: bool
    progress: Progress
    without: Sequence[str]
    """Schemas that are no application's, such as quarantines."""

    hands: Hands

    def go(self, source: Session) -> Moved:
        """Move everything, or nothing.

        ``source`` is in a transaction that has locked the tables; its commit is the moment of the
        move. Before it, every failure leaves the source as it was and removes what was made. Raises
        `TransferError`, `RefusedError`, `UnreachableError` and `Terminated`.
        """
        moved = Moved()
        try:
            with folders.temporary() as folder:
                self._fill(source, folder, moved)
            with self.progress.of("swap"):
                sides = Sides(self.server, self.plan, self.target)
                moved.quarantine = swap(source, sides, moved.positions)
        except BaseException as error:
            source.close()
            self._undo(error)
            raise
        if self.target.exists:
            moved.kept = target_module.settle(self.target.server, self.target)
        return moved

    def _fill(self, source: Session, folder: Path, moved: Moved) -> None:
        snapshot = locks.export(source)
        if reader := self.hands.reader.name:
            with closing(self.server.session(source.database)) as admin:
                throwaway.may_read(admin, reader, self.plan)
        self._copy(source, snapshot, folder, moved)
        # Beside the comparison, for which the dump is not needed: the tables are locked meanwhile.
        remover = Thread(
            target=shutil.rmtree, args=(folder / "dump",), kwargs={"ignore_errors": True}
        )
        remover.start()
        try:
            with self.progress.of("compare"):
                self._compare(source, snapshot, moved)
        finally:
            remover.join()
        with closing(self.target.server.open()) as admin:
            target_module.open_up(admin, self.target, owned=not self.hands.writer.name)
            configure(admin, self.target, self.plan)

    def _copy(self, source: Session, snapshot: str, folder: Path, moved: Moved) -> None:
        writer = self.hands.writer
        statement = target_module.creation(self.target, source, closed=bool(writer.name))
        needs = target_module.needs(source) if writer.name else None
        with closing(self.target.server.open()) as admin, ThreadPoolExecutor(1) as beside:
            made = beside.submit(
                target_module.create, admin, self.target, statement, needs, writer.name
            )
            watches = [locks.Alive(source)]
            with self.progress.of("dump"):
                reader = self.hands.reader.server.conninfo
                runner = Runner(self.environ, reader, watches, self._hear)
                self._dump(runner, source.database, snapshot, folder)
                public = made.result()
            there = Runner(
                self.environ, writer.server.conninfo, watches, self._hear, self._restore_options()
            )
            with self.progress.of("restore"):
                chosen = self._restore(there, folder, needs)
                moved.left = chosen.left
            with self.progress.of("analyze"):
                target_module.analyze(writer.server, self.target.incoming)
                if needs is not None:
                    self._hand_over(source, admin, folder, chosen, public)

    def _hand_over(
        self, source: Session, admin: Session, folder: Path, chosen: Selection, public: str
    ) -> None:
        """Lock the writer out, and give what it made to its owners, with the rights on it."""
        writer, target = self.hands.writer.name, self.target
        throwaway.lock_out(admin, writer)
        with closing(target.server.session(target.incoming)) as session:
            hand_over(source, session, self.plan, writer, public)
            if chosen.later:
                self._restore_later(source, folder, chosen.later)
            throwaway.revoke_all(session, writer)
            throwaway.lock_out(admin, writer)  # also who was logging in the first time
            throwaway.may_read(session, self.hands.checker.name)
            throwaway.may_read_objects(session, self.hands.checker.name)

    def _restore_later(self, source: Session, folder: Path, lines: Sequence[str]) -> None:
        """What only a superuser may restore. It names what is there and evaluates nothing."""
        path = folder / "later"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        options = "-c session_replication_role=replica"
        if self.tools.target_version >= tools.EVENT_TRIGGERS_SINCE:
            options += " -c event_triggers=off"
        conninfo = self.target.server.conninfo
        runner = Runner(self.environ, conninfo, [locks.Alive(source)], self._hear, options)
        argv = [self.tools.pg_restore, f"--use-list={path}", f"--dbname={self.target.incoming}"]
        argv += ["--no-password", *([] if self.tools.ahead else ["--exit-on-error"])]
        argv.append(str(folder / "dump"))
        runner.run("rights", argv, self.target.incoming, forgiving=self.tools.ahead)

    def _restore_options(self) -> str:
        # The commit that puts the target into place makes what was written before it durable.
        options = "-c synchronous_commit=off"
        if self.plan.size_bytes < SMALL_BYTES:
            options += " -c max_parallel_maintenance_workers=0"
        return options

    def _dump(self, runner: Runner, database: str, snapshot: str, folder: Path) -> None:
        argv = [self.tools.pg_dump, "--format=directory", f"--jobs={self.jobs}", "--compress=0"]
        argv += [f"--snapshot={snapshot}", "--lock-wait-timeout=10s", "--verbose", "--no-password"]
        argv += [f"--file={folder / 'dump'}", "--encoding=UTF8"]  # patterns are in it, too
        argv.append("--no-sync")  # it does not outlive us
        argv += [] if self.superuser else ["--no-blobs"]
        # What is about a view that is not restored could not be told from the rest.
        known = self.tools.statistics and not self.plan.broken_views()
        argv += ["--statistics"] if known else []
        argv += [f"--exclude-table={each.quoted()}" for each in self.plan.not_copied]
        argv += [f"--exclude-schema={quoted(schema)}" for schema in self.without]
        runner.run("dump", argv, database)

    def _restore(
        self, runner: Runner, folder: Path, needs: target_module.Needs | None
    ) -> Selection:
        dump, path = str(folder / "dump"), folder / "list"
        argv = [self.tools.pg_restore, "--list", f"--file={path}", dump]
        runner.run("list", argv, self.target.incoming)
        listing = path.read_text("utf-8", "replace").split("\n")
        chosen = select(listing, self.plan.unrestorable(), self._apart(needs))
        path.write_text("\n".join(chosen.restored) + "\n", encoding="utf-8")
        argv = [self.tools.pg_restore, f"--jobs={self.jobs}", "--verbose"]
        argv += [] if (forgiving := self.tools.ahead) else ["--exit-on-error"]
        argv += [f"--use-list={path}", f"--dbname={self.target.incoming}", "--no-password"]
        argv += ["--no-owner", "--no-privileges"]
        runner.run("restore", [*argv, dump], self.target.incoming, forgiving=forgiving)
        return chosen

    def _apart(self, needs: target_module.Needs | None) -> Apart | None:
        if needs is None:
            return None
        there = frozenset((PG_NAMESPACE, oid) for oid in needs.schemas.values())
        wide = {e.key: e.name for e in self.plan.source.publications if not e.tables}
        return Apart(there, wide, frozenset((PG_CLASS, oid) for oid in needs.tables))

    def _hear(self, line: str) -> None:
        log.event("debug", "transfer.output", line=line)
        if match := _TABLE.search(line):
            self.progress.advance(self._sizes.get(match[1], 0))

    @cached_property
    def _sizes(self) -> dict[str, int]:
        """As the tools name the tables."""
        return {f"{each.schema}.{each.name}": each.size_bytes for each in self.plan.relations}

    def _compare(self, source: Session, snapshot: str, moved: Moved) -> None:
        plan, target = self.plan, self.target
        broken = plan.broken_views()
        relations = [each for each in plan.relations if each.oid not in broken]
        sequences = [each for each in relations if each.kind == "S"]
        blobs = self.superuser
        with (
            closing(self.hands.reader.server.session(source.database)) as reader,
            closing(self.hands.checker.server.session(target.incoming)) as other,
        ):
            sides = [reader, other]
            locks.begin(reader, snapshot)
            locks.begin(other, None)
            scopes = [
                compare.scope_of(each, plan, self.hands.readers, blobs=blobs, rights=blobs)
                for each in sides
            ]
            found = [compare.facts(each, scope) for each, scope in zip(sides, scopes, strict=True)]
            _refuse(compare.unexplained(plan, compare.differences(*found)))
            moved.facts = len(found[0]) + len(sequences)
            labels = [each.label() for each in sequences]
            moved.positions = dict(zip(labels, read(other, sequences), strict=True))
            # A materialized view is computed anew by a restore, from rows that are compared.
            moved.counted = self._count(sides, [each for each in relations if each.kind == "r"])
        if self.hands.checker.name:
            with closing(target.server.session(target.incoming)) as session:
                throwaway.revoke_all(session, self.hands.checker.name)

    def _count(self, sides: Sequence[Session], tables: Sequence[Relation]) -> list[Counted]:
        def done(table: Relation) -> None:
            self.progress.advance(table.size_bytes)

        ours, theirs = rows.count(sides, tables, done)
        _refuse_rows(ours, theirs)
        return ours

    def _undo(self, error: BaseException) -> None:
        """Remove the incoming database; what cannot be removed is named."""
        left = target_module.clean(self.target.server, self.target.incoming)
        if isinstance(error, EntrypointError) and not isinstance(error, Terminated) and left:
            error.remedy = f"{error.remedy} {left}"


def _refuse(found: Sequence[compare.Difference]) -> None:
    if found:
        shown = [f"only in the {each.side}: {each.fact[:300]}" for each in found[:10]]
        raise TransferError(
            f"{len(found)} facts differ between source and target; nothing was moved",
            remedy="Report it with these facts, please; the source is as it was.",
            differences=shown,
        )


def _refuse_rows(source: Sequence[Counted], target: Sequence[Counted]) -> None:
    differ = [
        f"{ours.relation.label()}: {ours.rows} and {theirs.rows} rows"
        for ours, theirs in zip(source, target, strict=True)
        if (ours.rows, ours.checksum) != (theirs.rows, theirs.checksum)
    ]
    if differ:
        raise TransferError(
            f"the rows of {len(differ)} tables differ between source and target; nothing was moved",
            remedy="Report it with these tables, please; the source is as it was.",
            differences=differ[:20],
        )
