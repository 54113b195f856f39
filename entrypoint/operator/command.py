"""Runs an operator's command: its answer as text, and the exit code."""

import argparse
from collections.abc import Callable
from typing import NamedTuple

from ..environment import Environment
from . import server

Ask = Callable[[str], bool]
"""Shows a text that ends in a question, and says whether it was agreed to."""


class Answer(NamedTuple):
    """What a command has to say."""

    text: str
    exit_code: int


def run(arguments: argparse.Namespace, width: int | None, ask: Ask | None) -> Answer:
    """Do it. ``width`` is that of the terminal, ``ask`` asks a person; None where there is none.

    Raises `SettingsError`, `RefusedError`, `UnreachableError`, `TransferError` and `Terminated`.
    """
    one = arguments.command in ("url", "transfer")
    named = [arguments.service] if one else arguments.service
    ignored = getattr(arguments, "ignore", [])
    where = server.find(Environment.of_container(), arguments.server, named, ignored)
    if arguments.command == "transfer":
        return _transfer(arguments, where, width, ask)
    from . import create, show, status, url, verify

    if arguments.command == "url":
        shown = arguments.show_password
        text = url.url(where, where.selected[0], show_password=shown, env=arguments.env)
        return Answer(f"{text}\n", 0)
    if arguments.command == "create":
        created = create.create(where, isolate=arguments.isolate, dry_run=arguments.dry_run)
        text = show.as_json(created) if arguments.json else show.creations(created, width)
        return Answer(text, create.exit_code(created))
    if arguments.command == "status":
        seen = status.status(where)
        text = show.as_json(seen) if arguments.json else show.status(seen, width)
        return Answer(text, status.exit_code(seen))
    found = verify.verify(where)
    text = show.as_json(found) if arguments.json else show.verification(found, width)
    return Answer(text, verify.exit_code(found, strict=arguments.strict))


def _transfer(
    arguments: argparse.Namespace, where: server.Server, width: int | None, ask: Ask | None
) -> Answer:
    from .transfer import command as transfer

    moved = transfer.run(arguments, where, ask, terminal=width is not None)
    from . import show  # drawing tables is not what a transfer waits for

    return Answer(show.as_json(moved) if arguments.json else show.transferred(moved, width), 0)
