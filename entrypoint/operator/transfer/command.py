"""`entrypoint transfer`, from its arguments to its answer."""

import argparse
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from ... import log
from ...environment import Environment
from ...errors import TransferError
from .. import server as servers
from ..server import Server
from . import back, locks, transfer
from .asked import Ends, Options
from .progress import shown

if TYPE_CHECKING:
    from ..report import Transferred

Ask = Callable[[str], bool]


def run(
    arguments: argparse.Namespace, server: Server, ask: Ask | None, *, terminal: bool
) -> "Transferred":
    """Plan, move, put back or remove, as the arguments say. Raises `TransferError` and others."""
    [service] = server.selected
    database = arguments.database
    extra, allowed = tuple(arguments.extra), frozenset(arguments.allow)
    options = Options(database, extra, allowed, arguments.jobs)
    ends = Ends(server, server, service, options)
    if arguments.undo or arguments.drop_quarantine:
        with closing(locks.open_source(server, database)) as session:
            if arguments.undo:
                _agree(arguments, ask, f"Put {service.name}'s objects back into {database!r}?")
                return back.undo(session, ends)
            _agree(arguments, ask, f"Remove what {service.name} left in {database!r} for ever?")
            return back.drop(session, ends)
    if arguments.to:
        target = servers.find(Environment.of_container(), arguments.to, [service.name], [])
        ends = ends._replace(target=target)
    report = _report_file(arguments.report)
    with shown(terminal=terminal) as progress:
        answer = transfer.transfer(
            ends,
            dry_run=arguments.dry_run,
            agree=None if arguments.yes else lambda plan: _agree(arguments, ask, _question(plan)),
            progress=progress,
        )
    if report:
        _write(report, answer)
    return answer


def _report_file(name: str | None) -> Path | None:
    """The report's file, which must be there before anything is moved."""
    if name is None:
        return None
    path = Path(name)
    try:
        path.touch()
    except OSError as error:
        raise TransferError(
            f"the report {name!r} cannot be written: {error.strerror}; nothing was changed",
            remedy="Name a file in a folder that can be written to by --report.",
        ) from None
    return path


def _write(path: Path, answer: "Transferred") -> None:
    """Write the report; what was moved stays moved, so that it cannot be is only told."""
    from . import markdown

    try:
        path.write_text(markdown.report(answer), encoding="utf-8")
    except OSError as error:
        log.event(
            "warning",
            "transfer.report_not_written",
            reason=error.strerror,
            remedy="Keep the answer on stdout: it says the same.",
        )


def _question(plan: "Transferred") -> str:
    from . import markdown

    return (
        f"{markdown.report(plan)}\nMove these {len(plan.objects)} objects, which takes about "
        f"{plan.estimate_s:.0f} s during which nobody can write to them?"
    )


def _agree(arguments: argparse.Namespace, ask: Ask | None, question: str) -> None:
    if arguments.yes:
        return
    if ask is None or not ask(question):
        raise TransferError(
            "nobody agreed; nothing was changed", remedy="Answer yes, or add --yes to agree."
        )
