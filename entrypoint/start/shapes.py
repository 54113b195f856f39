"""Explains how Docker, Kubernetes and shells garble a command. Only a failing start imports it."""

import json
import os
import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..errors import NOT_EXECUTABLE, NOT_FOUND, ExecError, UsageError

OURS: Final = "/opt/entrypoint/bin/entrypoint"  # the program's path in a service's image

COMMANDS: Final = (
    *("run", "prepare", "check", "plan", "health", "create", "verify", "status", "previews"),
    *("transfer", "url", "env", "completion"),
)

_ENTRYPOINT: Final = f'ENTRYPOINT ["{OURS}", "run", "--"]'
JOINERS: Final = ("&&", "||")  # words that only a shell understands

INTERPRETERS: Final = {  # the program that runs a file, by the file's extension
    **dict.fromkeys((".js", ".mjs", ".cjs", ".ts", ".mts", ".cts"), ("node",)),
    ".py": ("python3",),
    ".sh": ("sh",),
    ".rb": ("ruby",),
    ".php": ("php",),
    ".jar": ("java", "-jar"),
}

_QUOTES: Final = "\"'`\u201c\u201d\u2018\u2019"  # of shells and of editors
_OPERATORS = re.compile(r"&&|\|\||[;|<>`]|\$\(")
_VARIABLE = re.compile(r"\$[({]?[A-Za-z_]")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


def listed(words: Sequence[str]) -> str:
    """Write a command as Dockerfiles, compose files and manifests do."""
    return json.dumps(list(words), ensure_ascii=False)


def none() -> UsageError:
    """The error of a start without a command."""
    return UsageError(
        "there is no command for the service after `run --`",
        remedy='Write the service\'s command, such as CMD ["node", "dist/main.js"], into the '
        "Dockerfile after ENTRYPOINT, and write both as lists (the exec form): an ENTRYPOINT drops "
        "the CMD of the base image, and one in the shell form passes no CMD on. If the platform "
        "sets `command` (Kubernetes) or `entrypoint` (compose), which drops the image's CMD, add "
        "the service's command to `args`, or to `command` in compose.",
    )


def misused(arguments: Sequence[str]) -> UsageError:
    """The error of a container's command line that `entrypoint` does not know."""
    rest = list(arguments[1:])
    if rest[:1] == ["--"]:
        rest.pop(0)
    if arguments[:1] == ["run"]:
        remedy = f"Put -- before the service's command: {_ENTRYPOINT}."
        return UsageError(f"`run` has no option {rest[0]}", remedy=remedy)
    if arguments[:1] == ["prepare"]:
        return UsageError(
            f"`prepare` takes no command, but got {listed(rest)}",
            remedy="Remove these words where the platform still adds the service's command "
            f"(CMD, `args`), or start the service by {listed([OURS, 'run', '--', *rest])}.",
        )
    what = "the command line names no command"
    if arguments:
        what = f"{arguments[0]!r} is not a command of entrypoint"
    return UsageError(
        f"{what}, such as `run` or `prepare`",
        remedy=f"Set {_ENTRYPOINT} in the image, and the service's own "
        "command as CMD. `entrypoint --help` lists the commands.",
    )


def joined(argv: Sequence[str]) -> UsageError:
    """The error of a chain (``&&``) that no shell will see."""
    words = list(argv)
    if "-c" in words[1:-1]:
        words = words[words.index("-c") + 1 :]
    # At a program's place, a word with blanks is already the text of a command.
    before = [JOINERS[0], *words]
    script = " ".join(
        word if word in JOINERS or (last in JOINERS and " " in word) else shlex.quote(word)
        for last, word in zip(before, words, strict=False)
    )
    joiner = next(word for word in argv if word in JOINERS)
    return UsageError(
        f"the command has {joiner!r} as a word of its own, which only a shell understands",
        remedy=f"Set the container's command to {listed(['sh', '-c', script])}, the chain as one "
        "word. Move a command that changes the schema into push.command.",
    )


def expanding(argv: Sequence[str]) -> str:
    """Write a command for a shell that expands its variables, in Kubernetes' form as well."""
    return listed(["sh", "-c", f"exec {' '.join(map(_expanding, argv))}"])


def _expanding(word: str) -> str:
    if "$" not in word:
        return shlex.quote(word)
    word = re.sub(r"\$\((\w+)\)", r"${\1}", word)
    if re.fullmatch(r"[\w$@%+=:,./{}-]+", word):
        return word
    return '"' + re.sub(r'["\\`]', r"\\\g<0>", word) + '"'


def unexpanded(argv: Sequence[str]) -> str | None:
    """The first word with a variable that will not be expanded, if any."""
    return next((word for word in argv[1:] if re.search(r"\$[({]?[A-Z][A-Z0-9_]+", word)), None)


def not_found(name: str, words: Sequence[str]) -> ExecError:
    """The error of a command whose program, the first word, is not found."""
    found = f"{name!r} is not found" + ("" if "/" in name else " on PATH")
    shapes = _empty, _list, _option, _ours, _unexpanded, _several, _folder, _file, _of_package
    for told in filter(None, (shape(name, list(words)) for shape in shapes)):
        message = f"{found}: {told[0]}" if name else told[0]
        return ExecError(message, code=NOT_FOUND, remedy=told[1])
    remedy = "Correct the container's command, or add the program to the image."
    return ExecError(found, code=NOT_FOUND, remedy=remedy)


def _set(*words: str) -> str:
    return f"Set the container's command to {listed(words)}"


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # an unclosed quote
        return text.split()


def _empty(name: str, words: list[str]) -> tuple[str, str] | None:
    if name.strip():
        return None
    rest = [word for word in words if word.strip()]
    remedy = "Name the service's program in the command; an unset variable leaves an empty word."
    return f"the command's first word, {name!r}, is empty", f"{_set(*rest)}." if rest else remedy


def _list(name: str, words: list[str]) -> tuple[str, str] | None:
    """A list that Docker took for text because its quotes are not JSON's."""
    if name[0] not in f"[{_QUOTES}":
        return None
    bare = [each.strip(f"[], {_QUOTES}") for word in words for each in word.split(",")]
    remedy = f"{_set(*filter(None, bare))}: with double quotes, commas and both brackets."
    return "it is a piece of a list, which Docker took for a shell command", remedy


def _option(name: str, words: list[str]) -> tuple[str, str] | None:
    if name[0] != "-":
        return None
    if name == "--":
        remedy = f"{_set(*words[1:])}, without the --." if words[1:] else none().remedy
        return "the image's ENTRYPOINT ends with -- already", remedy
    whose = (
        f"For an option of entrypoint, use docker run --entrypoint {OURS}. "
        if len(words) == 1
        else ""
    )
    remedy = (
        f"{whose}Write the whole command, as in {listed(['node', *words])}: it replaces the CMD."
    )
    return "the command begins with an option, not with a program", remedy


def _ours(name: str, words: list[str]) -> tuple[str, str] | None:
    if os.path.basename(name) not in (*COMMANDS, "entrypoint"):
        return None
    rest = words[words.index("--") + 1 :] if "--" in words else []
    if name in ("run", "entrypoint") and rest:
        remedy = f"{_set(*rest)}: the image's ENTRYPOINT has `run --` already."
    else:
        ours = [OURS, *(words[1:] if name == "entrypoint" else words)]
        remedy = (
            f"Replace the image's ENTRYPOINT with {listed(ours)} (`entrypoint` in compose, "
            "`command` in Kubernetes), or name the service's program."
        )
    return "it is a word of entrypoint in the place of the service's command", remedy


def _unexpanded(name: str, words: list[str]) -> tuple[str, str] | None:
    if not _VARIABLE.search(name):
        return None
    remedy = f"Set the container's command to {expanding(words)}, or write the value."
    return "no shell expands a variable in a list", remedy


def _several(name: str, words: list[str]) -> tuple[str, str] | None:
    """A whole command in one word, or a word that only a shell understands."""
    assigned = _ASSIGNMENT.match(name)
    if _OPERATORS.search(name):
        script = " ".join([name, *map(shlex.quote, words[1:])])
        return "it is a shell command", f"{_set('sh', '-c', script)}."
    parts = [*_split(name), *words[1:]]
    if assigned and len(parts) > 1:
        remedy = f"{_set('env', *parts)}, or set the variable with ENV."
        return "it sets a variable, which only a shell does", remedy
    if name.split() != [name]:
        return "it is more than a program's name in one word", f"{_set(*parts)}, one item per word."
    return None


def _folder(name: str, words: list[str]) -> tuple[str, str] | None:
    return (f"{name!r} is a folder", f"{_main_of(name, words)}.") if os.path.isdir(name) else None


def _main_of(folder: str, words: Sequence[str]) -> str:
    files = (f"{folder}/{each}" for each in ("main.js", "index.js", "server.js", "__main__.py"))
    found = next(filter(os.path.exists, files), None)
    if found is None:
        return f"Name a program in the container's command, and a file in {folder} as its argument"
    return _set(*INTERPRETERS[os.path.splitext(found)[1]], found, *words[1:])


def _file(name: str, words: list[str]) -> tuple[str, str] | None:
    ending = os.path.splitext(name)[1].lower()
    interpreter = INTERPRETERS.get(ending)
    if interpreter is None:
        if not os.path.isfile(name):
            return None
        remedy = f"{_set(f'./{name}', *words[1:])}."
        return "it is in the working directory, which is not on PATH", remedy
    remedy = f"{_set(*interpreter, *words)}{_hint(ending)}"
    if os.path.exists(name):
        return "it is a file for an interpreter, not a program", f"{remedy}."
    what = "it is a file for an interpreter, not a program, and the image has no such file"
    return what, f"{remedy}, and name a file that is in the image."


def _hint(ending: str) -> str:
    hint = ", which needs Node 22.18 or later, or to node with the compiled .js file"
    return hint if ending in (".ts", ".mts", ".cts") else ""


def _of_package(name: str, words: list[str]) -> tuple[str, str] | None:
    """A name that only a package manager knows: a script, or a dependency's program."""
    with suppress(OSError, ValueError, AttributeError):
        scripts = json.loads(Path("package.json").read_bytes()).get("scripts") or {}
        if name in scripts:
            rest = ["--", *words[1:]] if words[1:] else []
            remedy = f"{_set('npm', 'run', name, *rest)}, or to the command in the script."
            return "it is a script of package.json", remedy
    if "/" not in name and os.path.exists(f"node_modules/.bin/{name}"):
        remedy = f"{_set(f'node_modules/.bin/{name}', *words[1:])}."
        return "it is a program of a dependency", remedy
    return None


def no_program(path: str, argv: Sequence[str]) -> ExecError:
    """The error of an existing file that may not be executed or is no program."""
    words = [path, *argv[1:]]
    ending = os.path.splitext(path)[1].lower()
    interpreter = INTERPRETERS.get(ending)
    if os.path.isdir(path):
        what = "is a folder"
        remedy = f"{_main_of(path, argv)}."
    elif not os.path.isfile(path):
        what, remedy = "is not a file", "Name a program in the container's command."
    elif os.stat(path).st_mode & 0o111 and os.statvfs(path).f_flag & os.ST_NOEXEC:
        what = "is not executable: its file system has the option noexec"
        remedy = "Move it to another file system, or mount this one without noexec."
    elif interpreter:
        what = "is not executable"
        remedy = f"{_set(*interpreter, *words)}{_hint(ending)}."
    else:
        what = "is not executable"
        remedy = f"Run chmod a+rx {path} in the image, or name a program in the command."
    return ExecError(f"{path!r} {what}", code=NOT_EXECUTABLE, remedy=remedy)


def no_first_line(path: str, argv: Sequence[str]) -> ExecError:
    """The error of a script without a #! line."""
    interpreter = INTERPRETERS.get(os.path.splitext(path)[1].lower(), ("sh",))
    return ExecError(
        f"{path!r} has no #! line",
        code=NOT_EXECUTABLE,
        remedy=f"{_set(*interpreter, path, *argv[1:])}, or give the file a first line such as "
        f"#!/usr/bin/env {interpreter[0]}.",
    )
