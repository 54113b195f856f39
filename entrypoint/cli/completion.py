"""Completion scripts for shells, generated from the parser."""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path

from ..config.environment import Environment
from ..config.reader import Sources


def script(commands: Mapping[str, argparse.ArgumentParser], shell: str) -> str:
    """Return the script of a shell; leaves out services whose names a shell could evaluate."""
    registry = Sources(Environment.of_container(), Path()).registry()
    words = _words(commands, [name for name in registry if re.fullmatch(r"[A-Za-z0-9_.-]+", name)])
    if shell == "fish":
        return _fish(words)
    return "autoload -U +X bashcompinit && bashcompinit\n" * (shell == "zsh") + _bash(words)


def _words(
    commands: Mapping[str, argparse.ArgumentParser], services: list[str]
) -> Mapping[str, list[str]]:
    """The words that may follow each command; the key "" has the commands."""
    words = {"": sorted(commands)}
    for name, command in commands.items():
        options = [
            option
            for action in command._actions  # noqa: SLF001  argparse has no public way to list them
            for option in (*action.option_strings, *(action.choices or ()))
            if len(option) > 2  # noqa: PLR2004  leaves out -h for --help
        ]
        names = services if {"--service", "--server"} & {*options} else []
        words[name] = [*options, *names]
    return words


def _bash(words: Mapping[str, list[str]]) -> str:
    cases = "\n".join(
        f"    {name or chr(39) * 2}) words='{' '.join(each)}' ;;" for name, each in words.items()
    )
    return f"""_entrypoint() {{
  local words='' command=''
  [ "$COMP_CWORD" -gt 1 ] && command="${{COMP_WORDS[1]}}"
  case "$command" in
{cases}
  esac
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -F _entrypoint entrypoint
"""


def _fish(words: Mapping[str, list[str]]) -> str:
    lines = ["complete -c entrypoint -f"]
    for name, each in words.items():
        when = f"__fish_seen_subcommand_from {name}" if name else "__fish_use_subcommand"
        lines.append(f"complete -c entrypoint -n '{when}' -a '{' '.join(each)}'")
    return "\n".join(lines) + "\n"
