"""`entrypoint transfer`, from its arguments to its answer."""

import argparse
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from .. import log
from ..config.environment import Environment
from ..errors import (
    EntrypointError,
    RefusedError,
    Terminated,
    TransferError,
    UnreachableError,
    plural,
)
from ..operator import server as servers
from ..operator.server import Server
from ..postgres import quarantine as quarantines
from ..postgres.opening import CANCELLED
from ..postgres.session import Session, translated
from . import command_lines, commit, locks, removal, report, transfer, undo
from .command_lines import CommandLines
from .commit import Commits
from .progress import Progress, shown
from .request import Request

if TYPE_CHECKING:
    from ..operator.report import Transferred

Ask = Callable[[str], bool]
_BEFORE: Final[Mapping[str, str]] = {
    "moved": "the move is complete",
    "undone": "the undo is complete",
    "dropped": "the removal is complete",
}
"""What the command did before a signal or an error ended it, by its result."""


class Done(NamedTuple):
    """An answer, and the error or signal that ended the command after its commit."""

    answer: "Transferred"
    failure: EntrypointError | Terminated | None = None


def run(
    arguments: argparse.Namespace, server: Server, ask: Ask | None, *, width: int | None
) -> Done:
    """Run what the arguments ask for. Raises `TransferError` and others.

    ``width`` is the terminal's, or None. An error or a signal says whether it came before the
    commit; after the commit the caller gets an answer, too.
    """
    try:
        request = _request(arguments, server)
        path = _report_file(arguments.report)
        agree = None if arguments.yes else partial(_agree_to, ask, width)
        places = (request.source, request.database), (request.target, request.service.database)
        with locks.explained(places):
            if arguments.drop_aside:
                done = _remove(arguments, request, agree)
            elif arguments.undo or arguments.drop_quarantine:
                done = _settle(arguments, request, agree)
            else:
                done = _move(arguments, request, ask, width)
    except Terminated as error:
        error.step = arguments.command
        error.outcome = error.outcome or _nothing(arguments)
        raise
    try:
        if path:
            _write(path, done.answer)
    except Terminated as error:
        ended(done.answer, error)
        raise
    return done


def ended(answer: "Transferred", error: EntrypointError | Terminated) -> None:
    """Add to an error what the command did before it."""
    error.step = "transfer"
    remedy = f"Continue with: {answer.next[0]}" if answer.next else ""
    _say(error, _BEFORE.get(answer.result, "nothing was moved"), remedy)
    if answer.url:
        error.fields["url"] = answer.url
    if answer.next:
        error.fields["next"] = answer.next


def _say(error: EntrypointError | Terminated, outcome: str, remedy: str) -> None:
    error.remedy = remedy or error.remedy
    if isinstance(error, Terminated):
        error.outcome = outcome
    else:
        error.message = f"{error.message}; {outcome}"


def _request(arguments: argparse.Namespace, server: Server) -> Request:
    [service] = server.selected
    environ = Environment.of_container()
    target = server = replace(server, lock_timeout_s=locks.TIMEOUT_S)
    if arguments.to:
        target = servers.find(environ, arguments.to, [service.name], [])
        target = replace(target, lock_timeout_s=locks.TIMEOUT_S)
    extra, allowed = tuple(arguments.extra), frozenset(arguments.allow)
    lines = command_lines.of(arguments, environ, server.conninfo, target.conninfo)
    return Request(
        server, target, service, arguments.database, extra, allowed, arguments.jobs, lines
    )


def _move(
    arguments: argparse.Namespace, request: Request, ask: Ask | None, width: int | None
) -> Done:
    progress = Progress()

    def agree(plan: "Transferred") -> None:
        size = plural(len(plan.objects), "object")
        question = f"Move {size} and block their writers for about {plan.estimate_s:.0f} s?"
        with progress.paused():
            _agree_to(ask, width, plan, question)

    try:
        dry, asking = arguments.dry_run, None if arguments.yes else agree
        with shown() as progress:
            return Done(transfer.transfer(request, dry_run=dry, agree=asking, progress=progress))
    except report.NotAgreedError as refusal:
        return Done(refusal.answer, refusal)
    except (EntrypointError, Terminated) as error:
        if progress.commits.source.done and progress.moved and progress.answer:
            answer = progress.answer(progress.moved, progress.durations)
            ended(answer, error)
            return Done(answer, error)
        _say_how_far(error, request, progress.commits)
        raise


def _say_how_far(error: EntrypointError | Terminated, request: Request, commits: Commits) -> None:
    """Add to an error what a move did before the source's commit."""
    lines = request.commands
    if None in (commits.target.done, commits.source.done):
        _say(
            error,
            "the outcome of the move is unknown",
            f"Run {lines.look()} when the server answers: after a complete move it finds nothing "
            "to move.",
        )
    elif commits.target.done:
        name = f"{request.target.conninfo.where()}/{request.service.database}"
        line = lines.move((*sorted(request.allowed), "target"))
        _say(
            error,
            f"the target {name} is complete and in place, but the source is unchanged, and the "
            "service still writes there",
            f"Run {line}: it repeats the move, and keeps this target under another name.",
        )
    elif isinstance(error, Terminated):
        _say(error, "nothing was moved", f"Run the transfer again. {error.remedy}".rstrip())


def _settle(arguments: argparse.Namespace, request: Request, agree: removal.Agree | None) -> Done:
    """Run ``--undo`` or ``--drop-quarantine``; after a lost connection find out what it did."""
    service, database, dry = request.service.name, request.database, arguments.dry_run
    with closing(locks.open_source(request.source, database, alone=not dry)) as session:
        with translated("looking at the quarantine", remedy="Run the command again."):
            mine = commit.of(session)
        before = _schemas(session, service)
        doing = undo.EarlierMove(session, request)
        try:
            if arguments.undo:
                return Done(doing.undo(agree, dry_run=dry))
            return Done(doing.drop(agree, dry_run=dry))
        except (UnreachableError, Terminated) as error:
            if _answered(error):
                raise
            session.close()
            left = before.copy()

            def happened(other: Session) -> bool:
                left[:] = _schemas(other, service)
                return len(left) < len(before)

            found_out = commit.find_out(request.source, database, mine, happened)
            if not found_out or (left and not arguments.undo):
                known = found_out is not None
                _say(error, *_unsettled(request.commands, undo=arguments.undo, known=known))
                raise
            answer = doing.answer or request.answer("undone" if arguments.undo else "dropped")
            answer = answer.model_copy(update={"quarantine": left})
            ended(answer, error)
            return Done(answer, error)


def _answered(error: EntrypointError | Terminated) -> bool:
    """Whether the server itself cancelled the statement, and so rolled it back."""
    return isinstance(error, UnreachableError) and error.fields.get("sqlstate") in CANCELLED


def _unsettled(commands: CommandLines, *, undo: bool, known: bool) -> tuple[str, str]:
    if undo:
        what = "nothing was put back" if known else "the outcome of the undo is unknown"
        return what, f"Run {commands.transfer('--undo')}"
    what = "the removal is not complete" if known else "the outcome of the removal is unknown"
    return what, f"Run {commands.transfer('--drop-quarantine')}: it removes the rest."


def _remove(arguments: argparse.Namespace, request: Request, agree: removal.Agree | None) -> Done:
    """Run ``--drop-aside``; an error names the databases that are gone."""
    doing, dry = removal.Removal(request), arguments.dry_run
    again = request.commands.transfer("--drop-aside")
    with closing(doing.open(dry_run=dry)) as admin:
        with translated("looking at what was put aside", remedy="Run the command again."):
            mine = commit.of(admin)
        try:
            return Done(doing.go(admin, agree, dry_run=dry))
        except TransferError:
            raise  # its message names them
        except (EntrypointError, Terminated) as error:
            names = [each.database for each in doing.found]
            left = [each for each in names if each not in doing.removed]
            if not _answered(error) and not isinstance(error, RefusedError):
                admin.close()
                there: list[str] = []

                def happened(other: Session) -> bool:
                    there[:] = doing.left(other)
                    return not there

                found_out = commit.find_out(request.target, admin.database, mine, happened)
                left = [each for each in names if each in there]
                if found_out is None:
                    line = f"Run {again} when the server answers."
                    _say(error, "the outcome of the removal is unknown", line)
                    raise
                if names and not left:
                    doing.removed = names
                    answer = doing.answer()
                    ended(answer, error)
                    return Done(answer, error)
            gone = [repr(each) for each in names if each not in left]
            what = f"this run removed {', '.join(gone)}" if gone else "nothing was removed"
            remedy = f"{error.remedy} Run {again}: it removes the rest."
            _say(error, what, remedy.lstrip())
            raise


def _schemas(session: Session, service: str) -> list[str]:
    return [each.schema for each in quarantines.find(session, service)]


def _nothing(arguments: argparse.Namespace) -> str:
    """The outcome of a command that a signal ended before it did anything."""
    if arguments.undo:
        return "nothing was put back"
    removes = arguments.drop_quarantine or arguments.drop_aside
    return "nothing was removed" if removes else "nothing was moved"


def _report_file(name: str | None) -> Path | None:
    """Create the report's file first, because an error after the move would be too late."""
    if name is None:
        return None
    path = Path(name)
    try:
        path.touch()
    except OSError as error:
        raise TransferError(
            f"the report {name!r} cannot be written: {error.strerror}; nothing was changed",
            remedy="Use --report to name a file in a writable folder.",
        ) from None
    return path


def _write(path: Path, answer: "Transferred") -> None:
    """Write the report; the move is done, so a failure is a warning."""
    try:
        path.write_text(report.markdown(answer), encoding="utf-8")
    except OSError as error:
        log.event(
            "warning",
            "transfer.report_not_written",
            reason=error.strerror,
            remedy="Keep the answer on stdout: it has the same content.",
        )


def _agree_to(ask: Ask | None, width: int | None, plan: "Transferred", question: str) -> None:
    from ..operator import render

    shown = render.transferred(plan.model_copy(update={"next": []}), width)
    if ask is None or not ask(f"{shown}\n{question}"):
        raise TransferError(
            "the operator did not agree; nothing was changed",
            remedy="Answer yes at the prompt, or add --yes.",
        )
