"""Runs an operator's command: its answer as text, and the exit code."""

import argparse
from typing import Final, NamedTuple

from ..environment import Environment
from . import create, server, show, status, url, verify

COMMANDS: Final = ("create", "verify", "status", "url")


class Answer(NamedTuple):
    """What a command has to say."""

    text: str
    exit_code: int


def run(arguments: argparse.Namespace, width: int | None) -> Answer:
    """Do it. ``width`` is that of the terminal; None where there is none.

    Raises `SettingsError`, `RefusedError` and `UnreachableError`.
    """
    named = [arguments.service] if arguments.command == "url" else arguments.service
    ignored = getattr(arguments, "ignore", [])
    where = server.find(Environment.of_container(), arguments.server, named, ignored)
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
