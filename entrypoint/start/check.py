"""What is wrong with an image, as far as that can be seen without a network.

For a Dockerfile's RUN or a CI job: a start would find the same when it is too late. The check
connects to nothing, runs no program, and leaves nothing behind.
"""

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..config.environment import Environment
from ..config.load import load
from ..config.settings import Settings
from ..errors import ExecError, SettingsError, UsageError
from ..health import state
from ..operator.report import Checked, Shortcoming
from . import handoff, shapes
from .plan import StartPlan

_PORT: Final = "PORT"


def check(argv: tuple[str, ...], environ: Environment) -> Checked:
    """Check the settings and what they name in the image, and the service's command, if any.

    What only the deployment knows may be missing: `DATABASE_URL`, `SEED_TENANT_ID`, `PORT`.
    """
    problems: list[Shortcoming] = []
    service = None
    try:
        config = load(environ, offline=True)
    except SettingsError as error:
        problems += _each(error)
    else:
        service = config.service
        problems += [_warning(gap.reason, gap.remedy) for gap in config.incomplete]
        problems += [*_of_steps(config), *_of_health(config)]
    if argv:
        problems += _of_command("the service's command", argv, environ)
    problems += _of_state()
    return Checked(service=service, uid=os.geteuid(), problems=problems)


def exit_code(answer: Checked) -> int:
    """3 with an error, else 0."""
    wrong = any(each.level == "error" for each in answer.problems)
    return SettingsError.exit_code if wrong else 0


def _each(error: SettingsError) -> list[Shortcoming]:
    return [
        Shortcoming(level="error", message=each, remedy=error.remedy) for each in error.problems
    ]


def _warning(message: str, remedy: str) -> Shortcoming:
    return Shortcoming(level="warning", message=message, remedy=remedy)


def _of_steps(config: Settings) -> Iterator[Shortcoming]:
    """Inputs that match no file, and programs that the kernel would refuse."""
    try:
        StartPlan.of(config)
    except SettingsError as error:
        yield from _each(error)
        return
    for step, part in (("push", config.push), ("seed", config.seed)):
        if part.command and step not in config.skip:
            yield from _of_command(f"{step}.command", part.command, config.service_environment)


def _of_command(what: str, argv: tuple[str, ...], environ: Environment) -> Iterator[Shortcoming]:
    try:
        handoff.find(argv, environ)
    except (ExecError, UsageError) as error:
        yield Shortcoming(level="error", message=f"{what}: {error.message}", remedy=error.remedy)
        return
    script = Path(next((word for word in argv[1:] if not word.startswith("-")), ""))
    if script.suffix in shapes.INTERPRETERS and not script.is_file():
        yield Shortcoming(
            level="error",
            message=f"{what}: the file {str(script)!r} is not in {Path.cwd()}",
            remedy="Copy the file into the image's last stage, or correct its name or WORKDIR.",
        )


def _of_health(config: Settings) -> Iterator[Shortcoming]:
    if config.health_problem:
        yield _warning(
            config.health_problem, "Set the variable, or give it a default as in ${PORT:-4001}."
        )
    port = config.service_environment.get(_PORT, "")
    found = re.match(r"https?://[^/]*?:([0-9]+)(?:/|$)", config.health_url or "")
    if port and found and found[1] != port:
        yield _warning(
            f"health.url asks port {found[1]}, and {_PORT} is {port}",
            f"Write ${{{_PORT}}} into health.url, or correct one of them.",
        )


def _of_state() -> Iterator[Shortcoming]:
    """No folder for the state that `entrypoint health` reads, for this user."""
    folders = state.folders()
    for folder in folders:
        try:
            with tempfile.TemporaryFile(dir=folder):
                return
        except OSError:
            continue
    yield _warning(
        f"the user {os.geteuid()} can write to none of {', '.join(folders)}, so a health check "
        "would not see the start",
        "Give the container a writable folder, and name it in ENTRYPOINT_STATE_DIR.",
    )
