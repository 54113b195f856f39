"""Reads the environment and ``entrypoint.toml`` into settings, and notes every problem."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Any, Final

from .. import files, log
from ..files import StrPath
from . import dialects, keys
from . import registry as services
from .conninfo import Conninfo
from .environment import Environment
from .keys import IN_ENVIRONMENT, IN_FILE, NONE, NOTHING, UNSEEN, BadValueError, bare, shortened

DEFAULT_FILE: Final = "entrypoint.toml"

_LINK: Final = (
    r"ENTRYPOINT(_\w+)?_(SERVICE_HOST|SERVICE_PORT(_\w+)?|"
    r"PORT(_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)?)"
)
"""Variables that Kubernetes and Docker links set for a Service whose name is `entrypoint...`."""

_OPEN: Final = r"//USER:|[@,]HOST\b|/DATABASE\b"  # the placeholders in a corrected URL
MAX_FILE_BYTES: Final = 1 << 20
MAX_SECRET_BYTES: Final = 1 << 16


class Sources:
    """The settings as read; ``problems`` collects what is wrong with them."""

    def __init__(self, environ: Environment, directory: StrPath = "") -> None:
        self.environ = environ
        self.directory = directory
        self.problems: list[str] = []
        self.corrected: dict[str, str] = {}  # by variable, a refused connection string's correction
        self.files: dict[str, str] = {}  # the file of a variable's secret, fit to be shown
        self.remedies: list[str] = []  # remedies for other problems than connection strings
        self.more = False  # whether a corrected form leaves out parameters
        self.from_environment: dict[str, Any] = {}
        self.from_file: dict[str, Any] = {}
        self.file = DEFAULT_FILE
        self.absent = False  # whether the default file is missing and no other is named
        self.gates: object = []  # the file's ``gates``, unchecked
        self._read_environment()
        self._read_file()

    def _read_environment(self) -> None:
        known = {*IN_ENVIRONMENT, *(v + end for v in keys.OUR_SECRETS for end in ("", "_FILE"))}
        for name, value in self.environ.items():
            if not name.startswith("ENTRYPOINT_"):
                continue
            if name not in known:
                if not re.fullmatch(_LINK, name):
                    self.unknown(name, known)
            elif value and (row := IN_ENVIRONMENT.get(name)):
                value = bare(value)  # noqa: PLW2901  docker's --env-file keeps invisible characters
                if value == NONE and name in NOTHING:
                    self.from_environment[name] = NOTHING[name]
                elif keys.quoted(value) and name not in keys.MAY_BE_QUOTED:
                    self.problems.append(f"{name} {keys.QUOTED}")
                else:
                    self._keep(self.from_environment, name, row.read, value, name)

    def path(self, name: str) -> str:
        """A file that the settings name from their working directory."""
        path = os.path.join(self.directory, name)
        while len(path) > 1 and path.endswith(("/", "/.")):  # as pathlib has it
            path = path[:-1]
        return path

    def _read_file(self) -> None:
        named = self.from_environment.get("ENTRYPOINT_CONFIG")
        path = self.path(named or DEFAULT_FILE)
        self.file = os.path.basename(path)
        name = shortened(named) if named else DEFAULT_FILE
        try:
            data = files.read(path, MAX_FILE_BYTES)
        except OSError as error:
            # A dangling link counts as a file that should be there.
            absent = isinstance(error, FileNotFoundError) and not os.path.islink(path)
            self.absent = absent and not named
            if not self.absent:
                self.problems.append(f"{name} cannot be read ({error.strerror})")
            return
        try:
            table = files.toml(data)
        except ValueError as error:
            self.problems.append(f"{name} {error}")
            return
        known = {*IN_FILE, "gates"}
        for key, value in _flatten(table):
            where = f"{self.file}: {key}"
            if key == "gates":
                self.gates = value
            elif key in IN_FILE:
                self._keep(self.from_file, key, IN_FILE[key].read, value, where)
            else:
                self.unknown(key, known, f"{self.file}: ")

    def _keep(
        self,
        into: dict[str, Any],
        key: str,
        read: Callable[[object], Any],
        value: object,
        where: str,
    ) -> None:
        try:
            into[key] = read(value)
        except BadValueError as error:
            self.problems.append(f"{where} {error}, not {shortened(value)}")

    def unknown(self, name: str, known: AbstractSet[str], prefix: str = "") -> None:
        """Note an unknown name, with the nearest known one."""
        import difflib

        longer = [known_name for known_name in sorted(known) if known_name.startswith(name)]
        close = longer or difflib.get_close_matches(name[:200], known, n=1, cutoff=0.0)
        self.problems.append(f"{prefix}{shortened(name)} is unknown; the nearest is {close[0]}")

    def get(self, key: str, unset: Any = ...) -> Any:  # noqa: ANN401  each key has its own type
        """A key's value, from its variable, the file, ``unset`` or the table's default."""
        default = IN_FILE[key].default if unset is ... else unset
        return self.from_environment.get(keys.variable(key), self.from_file.get(key, default))

    def option(self, name: str) -> Any:  # noqa: ANN401  each variable has its own type
        """The value of a variable, or the table's default."""
        return self.from_environment.get(name, IN_ENVIRONMENT[name].default)

    def registry(self) -> Mapping[str, services.Service]:
        """The registry's services; notes its problems, and returns none then."""
        path: str | None = self.get("services")
        try:
            return services.load(self.path(path)) if path else services.load()
        except services.RegistryError as error:
            where = f"{self.file}: services {shortened(path)}"
            if keys.variable("services") in self.from_environment:
                where = keys.variable("services")
            self.problems += [f"{where}: {problem}" for problem in error.problems]
            return {}

    @property
    def service(self) -> str | None:
        """The service's name, if the settings have one."""
        return self.named()[0]

    def named(self) -> tuple[str | None, str]:
        """The service's name and its source; a platform may set SERVICE_NAME for itself."""
        if (own := "ENTRYPOINT_SERVICE") in self.from_environment:
            return self.from_environment[own], own
        if named := self.from_file.get("service"):
            return named, self.file
        return bare(self.environ.get("SERVICE_NAME", "")).strip() or None, "SERVICE_NAME"

    @property
    def release(self) -> str | None:
        """The image's version; None for a name that moves from image to image."""
        named: str | None = self.from_environment.get("ENTRYPOINT_RELEASE")
        if named:
            return named if named.lower() not in keys.MOVING else None
        commit = self.environ.get("SOURCE_COMMIT", "")
        return commit if re.fullmatch(keys.COMMIT, commit) else None

    @property
    def release_ignored(self) -> str | None:
        """The value set as the image's version that identifies no image."""
        named = self.from_environment.get("ENTRYPOINT_RELEASE")
        return None if self.release else named or self.environ.get("SOURCE_COMMIT") or None

    def secret(self, name: str) -> str:
        """A secret's value, or the content of the file that its ``_FILE`` twin names."""
        value, path = self.environ.get(name, ""), bare(self.environ.get(f"{name}_FILE", ""))
        if value and path:
            self.problems.append(f"{name} and {name}_FILE are both set; set one of them")
        if value or not path:
            return value
        problem, content = self._content(path)
        if problem:
            self.problems.append(f"{name}_FILE {problem.format(file=self._shown(path))}")
            self.remedies.append(
                f"Name in {name}_FILE a file that the container's user may read, with nothing but "
                f"the value of {name} in it, as UTF-8"
            )
            return ""
        self.files[name] = shortened(path)
        return content

    def _shown(self, path: str) -> str:
        """A path for people; a path that is no file may be the secret itself."""
        with suppress(OSError, ValueError):
            if os.path.exists(self.path(path)):
                return shortened(path)
        if path.startswith("/") and path.isprintable() and not re.search(r"[@=:\s]", path):
            return shortened(path)
        return "a file (not shown here, since it may be the secret itself)"

    def _content(self, path: str) -> tuple[str, str]:
        """Return a problem of a secret's file, or its content without invisible ends and BOM."""
        if "://" in path:
            log.hide([path])
            return "has a URL in it, and must have a file's path", ""
        if keys.quoted(path):
            return keys.QUOTED, ""
        try:
            data = files.read(self.path(path), MAX_SECRET_BYTES)
        except IsADirectoryError:
            why = "Docker makes one where the file to mount is missing"
            return f"names {{file}}, which is a folder ({why})", ""
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a path"
            return f"names {{file}}, which cannot be read ({reason})", ""
        if (written := files.encoding(data)) != "UTF-8":
            return f"names {{file}}, which is {written}; save it as UTF-8", ""
        content = data.decode("utf-8", "surrogateescape").strip(UNSEEN)
        return ("", content) if content else ("names {file}, which is empty", "")

    def where(self, name: str) -> str:
        """A secret's name, as problems begin: its variable, or the file that it came from."""
        file = self.files.get(name)
        return f"{name}_FILE: the file {file}" if file else name

    def corrections(self) -> Iterator[str]:
        """The remedies for connection strings: which variables to set, which files to write."""
        files = self.files
        sets = [f"{name} to {url}" for name, url in self.corrected.items() if name not in files]
        writes = [
            f"{url} and nothing else into the file {files[name]}"
            for name, url in self.corrected.items()
            if name in files
        ]
        also = "; fill in the words in capitals" * bool(
            re.search(_OPEN, " ".join(self.corrected.values()))
        )
        also += "; keep the other parameters" * self.more
        if sets:
            yield f"Set {' and '.join(sets)} (the password is masked here{also})"
        if writes:
            yield f"Write {' and '.join(writes)} (the password is masked here{also})"

    def conninfo(self, name: str, url: str, *, needs_database: bool = True) -> Conninfo | None:
        """Parse the connection string of a variable, and mask its secrets in the log."""
        if not url:
            return None
        log.hide([url])
        try:
            conninfo = dialects.parse(
                url, name, needs_database=needs_database, in_file=name in self.files
            )
        except dialects.ConninfoError as error:
            where = self.where(name)
            self.problems += [f"{where} {problem}" for problem in error.problems]
            self.corrected[name] = error.corrected
            self.more = self.more or error.more
            return None
        log.hide(conninfo.secrets, shown=[conninfo.user, conninfo.database])
        return conninfo


def _flatten(table: Mapping[str, Any]) -> list[tuple[str, object]]:
    sections = {key.split(".")[0] for key in IN_FILE if "." in key}
    pairs: list[tuple[str, object]] = []
    for key, value in table.items():
        if key in sections and isinstance(value, dict):
            pairs += [(f"{key}.{inner}", item) for inner, item in value.items()]
        else:
            pairs.append((key, value))
    return pairs
