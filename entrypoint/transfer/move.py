"""Move what the plan says: dump, restore, compare, and swap in one commit."""

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

from ..errors import EntrypointError, Terminated, TransferError, plural
from ..operator.server import Server
from ..postgres.session import Session
from ..process import signals
from . import archive, compare, locks, report, rows, throwaway
from . import target as target_module
from .dump import Dump
from .preflight import Prepared
from .progress import Progress
from .request import Request
from .rows import Counted, Side
from .swap import Position, read, swap
from .throwaway import Hands

if TYPE_CHECKING:
    from ..operator.report import Transferred


@dataclass
class Result:
    """What a transfer did."""

    counted: list[Counted] = field(default_factory=list)
    facts: int = 0
    left: list[str] = field(default_factory=list)  # lines of the dump that the restore left out
    positions: dict[str, Position] = field(default_factory=dict)  # the target's, by label
    quarantine: list[str] = field(default_factory=list)
    kept: str | None = None  # the replaced database, if it is still there


def move(
    session: Session, request: Request, prepared: Prepared, hands: Hands, progress: Progress
) -> "Transferred":
    """Move everything that the plan says; raises what `Transfer.go` does."""
    with progress.of("lock"):
        locks.take(session, prepared.plan)
        plan = request.plan(session, before := prepared.plan)
    if (set(plan.moving), plan.crossing) != (set(before.moving), before.crossing):
        raise TransferError(
            "another session has created or dropped tables of the service, or what needs them",
            remedy="Run the transfer again.",
        )
    progress.total_bytes = plan.size_bytes
    prepared = prepared._replace(plan=plan)
    progress.answer = partial(report.done, request, prepared)
    transfer = Transfer(Dump(request.source, request.jobs, prepared, hands, progress))
    return progress.answer(transfer.go(session), progress.durations)


@dataclass
class Transfer:
    """One run; `go` does it."""

    dump: Dump

    def __post_init__(self) -> None:
        self.target, self.hands = self.dump.target, self.dump.hands
        self.progress = self.dump.progress

    def go(self, source: Session) -> Result:
        """Move everything, or nothing.

        ``source`` is in the transaction that locked the tables; its commit is the moment of the
        move. A failure before it leaves the source as it was, and removes the incoming database.
        Raises `TransferError`, `RefusedError`, `UnreachableError` and `Terminated`.
        """
        moved = Result()
        try:
            with archive.temporary() as folder:
                self._fill(source, folder, moved)
            with self.progress.of("swap"):
                self.progress.moved = moved
                moved.quarantine = swap(source, self.dump, moved.positions)
        except BaseException as error:
            source.close()
            commits = self.progress.commits
            if commits.target.done is False and commits.source.done is False:
                self._undo(error)
            raise
        signals.check()
        if self.target.exists:
            moved.kept = target_module.settle(self.target.server, self.target)
        return moved

    def _fill(self, source: Session, folder: Path, moved: Result) -> None:
        snapshot = locks.export(source)
        moved.left = self.dump.go(source, snapshot, folder).left
        # Writers wait, so remove the dump during the comparison, which does not need it.
        remover = Thread(
            target=shutil.rmtree, args=(folder / "dump",), kwargs={"ignore_errors": True}
        )
        try:
            with signals.late():
                remover.start()
            with self.progress.of("compare"):
                self._compare(source, snapshot, moved)
        finally:
            if remover.ident:
                remover.join()
        self.dump.finish()

    def _compare(self, source: Session, snapshot: str, moved: Result) -> None:
        relations, hands, target = self.dump.plan.restored, self.hands, self.target
        sequences = [each for each in relations if each.kind == "S"]
        with ExitStack() as opened, ThreadPoolExecutor() as workers:

            def enter(server: Server, database: str) -> Session:
                return opened.enter_context(closing(server.session(database)))

            # Writers wait, so connect at once.
            with signals.late():
                entering = [
                    workers.submit(enter, hands.reader.server, source.database),
                    workers.submit(enter, hands.checker.server, target.incoming),
                    workers.submit(enter, target.server, target.incoming),
                ]
            reader, other, admin = (each.result() for each in entering)
            sides = [Side(reader, snapshot), Side(other, None)]
            ours, theirs = rows.together(sides, self._facts, Event())
            majors = reader.server_version // 10000, other.server_version // 10000
            differ = compare.differences(ours, theirs, majors)
            shown = [f"only in the {each.side}: {each.fact[:300]}" for each in differ[:10]]
            _refuse(plural(len(differ), "fact"), shown)
            moved.facts = len(ours) + len(sequences)
            labels = [each.label() for each in sequences]
            moved.positions = dict(zip(labels, read(other, sequences), strict=True))
            # A restore computes materialized views anew, from rows that this compares.
            tables = [each for each in relations if each.kind == "r"]
            moved.counted, there = rows.sums(
                sides, tables, lambda table: self.progress.advance(table.size_bytes)
            )
            _refuse_rows(moved.counted, there)
            if hands.checker.name:
                other.close()
                throwaway.revoke_all(admin, hands.checker.name)

    def _facts(self, side: Side) -> set[str]:
        return self.dump.facts(side.session, side.snapshot, source=side.snapshot is not None)

    def _undo(self, error: BaseException) -> None:
        """Remove the incoming database; if that fails, the remedy names it."""
        left = target_module.clean(self.target.server, self.target.incoming)
        if isinstance(error, EntrypointError | Terminated) and left:
            error.remedy = f"{error.remedy} {left}".lstrip()


def _refuse(what: str, differences: Sequence[str]) -> None:
    if differences:
        raise TransferError(
            f"source and target differ in {what}; nothing was moved",
            remedy="Report this bug with these differences, please; the source is unchanged.",
            differences=differences,
        )


def _refuse_rows(source: Sequence[Counted], target: Sequence[Counted]) -> None:
    differ = [
        f"{ours.relation.label()}: {ours.rows} and {theirs.rows} rows"
        for ours, theirs in zip(source, target, strict=True)
        if (ours.rows, ours.checksum) != (theirs.rows, theirs.checksum)
    ]
    _refuse(f"the rows of {plural(len(differ), 'table')}", differ[:20])
