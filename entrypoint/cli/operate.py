"""Runs an operator's command; returns its answer as text and its exit code."""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeVar

from .. import log
from ..config.environment import Environment
from ..errors import EntrypointError, RefusedError, Terminated, UnreachableError, plural
from ..operator import server
from ..operator.report import Previews, Status, Verification

_Seen = TypeVar("_Seen", Status, Verification)
Ask = Callable[[str], bool]  # shows a text that ends in a question; returns the person's agreement


class Output(NamedTuple):
    """The answer of a command."""

    text: str
    exit_code: int
    failure: EntrypointError | Terminated | None = None  # the command did only a part
    ended: Callable[[Terminated], None] = lambda _: None  # adds what was done, on a signal


def run(arguments: argparse.Namespace, width: int | None, ask: Ask | None) -> Output:
    """Run a command and return its answer.

    ``width`` is the terminal's, and ``ask`` asks the person at it; None without a terminal. Raises
    `SettingsError`, `RefusedError`, `UnreachableError`, `TransferError` and `Terminated`.
    """
    one = arguments.command in ("url", "env", "transfer")
    named = [arguments.service] if one else arguments.service
    if getattr(arguments, "sql", False):
        return Output(_sql(arguments, server.registered(Environment.of_container(), named)), 0)
    ignored = getattr(arguments, "ignore", [])
    where = server.find(Environment.of_container(), arguments.server, named, ignored)
    if arguments.command == "transfer":
        return _transfer(arguments, where, width, ask)
    if one:
        return Output(_printed(arguments, where), 0)
    if arguments.command == "previews":
        return _previews(arguments, where, width, ask)
    if arguments.command == "create":
        from ..operator import create, render

        created = create.create(where, isolate=arguments.isolate, dry_run=arguments.dry_run)
        text = render.as_json(created) if arguments.json else render.creations(created, width)
        return Output(text, create.exit_code(created))
    return _looked_at(arguments, replace(where, reads=True), width)


def of_start(arguments: argparse.Namespace, width: int | None) -> Output:
    """Run `check` or `plan`, which read a start's settings.

    Raises `Terminated`, and for `plan` what `forecast` raises.
    """
    from ..operator import render

    environ = Environment.of_container()
    if arguments.command == "plan":
        from ..start import forecast

        plan = forecast.forecast(environ)
        text = render.as_json(plan) if arguments.json else render.planned(plan, width)
        return Output(text, forecast.exit_code(plan))
    from ..start import check

    found = check.check(tuple(arguments.argv), environ)
    if arguments.github:
        return Output(render.annotations(found), check.exit_code(found))
    text = render.as_json(found) if arguments.json else render.checked(found, width)
    return Output(text, check.exit_code(found))


def _looked_at(arguments: argparse.Namespace, reading: server.Server, width: int | None) -> Output:
    from ..operator import render, status, verify

    if arguments.command == "status":
        seen = _looked(arguments, lambda: status.arranged(status.status(reading), arguments.sort))
        fail = arguments.fail
        text = render.as_json(seen) if arguments.json else render.status(seen, width, fail=fail)
        return Output(text, status.exit_code(seen, fail=fail))
    found = _looked(arguments, lambda: verify.arranged(verify.verify(reading), arguments.sort))
    text = render.as_json(found) if arguments.json else render.verification(found, width)
    return Output(text, verify.exit_code(found, strict=arguments.strict))


def _looked(arguments: argparse.Namespace, look: Callable[[], _Seen]) -> _Seen:
    if arguments.html is None:
        return look()
    from ..operator import artifact, page

    artifact.check("--html", arguments.html)
    seen = look()
    artifact.write("--html", arguments.html, page.of(seen))
    return seen


def _printed(arguments: argparse.Namespace, where: server.Server) -> str:
    """The answer of `env` and `url`, which do not connect to the server."""
    from ..operator.env import env, url

    service, shown = where.selected[0], arguments.show_password
    if arguments.command == "env":
        return env(where, service, platform=arguments.platform, show_password=shown)
    return f"{url(where, service, show_password=shown, env=arguments.env)}\n"


def watched(
    arguments: argparse.Namespace, every_s: float, width: Callable[[], int | None]
) -> Iterator[Output]:
    """Yield an answer, sleep ``every_s`` seconds, and repeat; ask ``width`` each time.

    Logs once that the server is gone, and retries. Raises as `run` does if the first look fails.
    """
    answered = told = False
    while True:
        try:
            answer = run(arguments, width(), None)
        except (RefusedError, UnreachableError) as error:
            if not answered:
                raise
            if not told:
                remedy = "Check the server; status asks it again until it answers."
                log.event("warning", "status.refresh_failed", error=error.message, remedy=remedy)
            told = True
        else:
            answered, told = True, False
            yield answer
        time.sleep(every_s)


def _sql(arguments: argparse.Namespace, known: server.Registered) -> str:
    from ..operator import script

    if arguments.command == "create":
        return script.create(known.selected, isolate=arguments.isolate)
    return script.verify(known)


def _previews(
    arguments: argparse.Namespace, where: server.Server, width: int | None, ask: Ask | None
) -> Output:
    from ..operator import previews, render

    older_s, closed = arguments.drop_older_than, arguments.drop_closed
    if not arguments.drop and older_s is closed is None:
        found = previews.listed(replace(where, reads=True))
    else:
        opened = None if closed is None else previews.numbers(closed)
        choice = previews.Choice(arguments.drop, older_s, opened, arguments.force)

        def agree(answer: Previews) -> bool:
            count = plural(sum(each.result == "to drop" for each in answer.previews), "database")
            shown = render.previews(answer, width)
            if ask and ask(f"{shown}\nDrop {count} with all content for ever?"):
                return True
            raise RefusedError(
                "the operator did not agree; nothing was dropped",
                remedy="Answer yes at the prompt, or add --yes.",
            )

        agreed = None if arguments.yes else agree
        found = previews.drop(where, choice, agreed, dry_run=arguments.dry_run)
    text = render.as_json(found) if arguments.json else render.previews(found, width)
    return Output(text, previews.exit_code(found))


def _transfer(
    arguments: argparse.Namespace, where: server.Server, width: int | None, ask: Ask | None
) -> Output:
    from ..transfer import command as transfer

    answer, failure = transfer.run(arguments, where, ask, width=width)
    ended = partial(transfer.ended, answer)
    try:
        from ..operator import render  # imported after the transfer, which need not wait for it

        if arguments.json:
            failed = render.failed(failure) if failure else None
            text = render.as_json(answer.model_copy(update={"failed": failed}))
        else:
            text = render.transferred(answer, width)
    except Terminated as error:
        ended(error)
        raise
    return Output(text, failure.exit_code if failure else 0, failure, ended)
