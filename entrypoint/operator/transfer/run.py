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
from . import compare, locks, rows
from . import folder as folders
from . import target as target_module
from .archive import select
from .configure import configure
from .destination import Target
from .plan import Plan
from .progress import Progress
from .rows import Counted
from .source import Relation, quoted
from .swap import Position, Sides, read, swap
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
        with self.progress.of("analyze"):
            target_module.analyze(self.target)
        if self.target.exists:
            moved.kept = target_module.settle(self.target.server, self.target)
        return moved

    def _fill(self, source: Session, folder: Path, moved: Moved) -> None:
        snapshot = locks.export(source)
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

    def _copy(self, source: Session, snapshot: str, folder: Path, moved: Moved) -> None:
        statement = target_module.creation(self.target, source)
        with closing(self.target.server.open()) as admin, ThreadPoolExecutor(1) as beside:
            made = beside.submit(target_module.create, admin, self.target, statement)
            runner = Runner(self.environ, self.server.conninfo, [locks.Alive(source)], self._hear)
            there = runner._replace(
                conninfo=self.target.server.conninfo, options=self._restore_options()
            )
            with self.progress.of("dump"):
                self._dump(runner, source.database, snapshot, folder)
                made.result()
            with self.progress.of("restore"):
                moved.left = self._restore(there, folder)
            configure(admin, self.target, self.plan)

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

    def _restore(self, runner: Runner, folder: Path) -> list[str]:
        dump, path = str(folder / "dump"), folder / "list"
        argv = [self.tools.pg_restore, "--list", f"--file={path}", dump]
        runner.run("list", argv, self.target.incoming)
        listing = path.read_text("utf-8", "replace").split("\n")
        chosen = select(listing, self.plan.unrestorable())
        path.write_text("\n".join(chosen.restored) + "\n", encoding="utf-8")
        argv = [self.tools.pg_restore, f"--jobs={self.jobs}", "--verbose"]
        argv += [] if (forgiving := self.tools.ahead) else ["--exit-on-error"]
        argv += [f"--use-list={path}", f"--dbname={self.target.incoming}", "--no-password"]
        argv += [] if self.superuser else ["--no-owner", "--no-privileges"]
        runner.run("restore", [*argv, dump], self.target.incoming, forgiving=forgiving)
        return chosen.left

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
            closing(self.server.session(source.database)) as reader,
            closing(target.server.session(target.incoming)) as other,
        ):
            sides = [reader, other]
            locks.begin(reader, snapshot)
            locks.begin(other, None)
            scopes = [
                compare.scope_of(each, plan, blobs=blobs, rights=self.superuser) for each in sides
            ]
            found = [compare.facts(each, scope) for each, scope in zip(sides, scopes, strict=True)]
            _refuse(compare.unexplained(plan, compare.differences(*found)))
            moved.facts = len(found[0]) + len(sequences)
            labels = [each.label() for each in sequences]
            moved.positions = dict(zip(labels, read(other, sequences), strict=True))
            # A materialized view is computed anew by a restore, from rows that are compared.
            moved.counted = self._count(sides, [each for each in relations if each.kind == "r"])

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
