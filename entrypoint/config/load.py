"""Loads all settings of a start.

The image's ``entrypoint.toml`` says what the service is, the deployment's environment where it
runs; a variable overrides the file. Reports all problems at once, and never quotes a secret.
"""

import os
from typing import TYPE_CHECKING, Any, Final

from ..errors import SettingsError
from ..files import StrPath
from . import endpoints
from . import registry as services
from .conninfo import UNKNOWN, Conninfo
from .environment import Environment
from .keys import (
    IN_FILE,
    LOOKUP_URL,
    OUR_SECRETS,
    PREVIEWS,
    STEPS,
    UUID,
    bare,
    shortened,
)
from .reader import Sources
from .settings import Incomplete, Look, Lookup, Push, Seed, Settings, Verify

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .previews import Preview

_DIRECT: Final = "ENTRYPOINT_DIRECT_URL"
DEFAULT_PUSH: Final = ("node", "push-db.js")  # if the working directory has the second word
MAX_LISTED: Final = 10  # how many names a remedy lists at most


def load(
    environ: Environment,
    directory: StrPath = "",
    look: Look | None = None,
    *,
    offline: bool = False,
) -> Settings:
    """Read and check all settings; connects to nothing unless it calls ``look``.

    With ``offline`` the variables that only a deployment has may be missing.

    Calls ``look`` if the registry gives the service another database than the URL names, and no
    other service has that one. Masks every secret in the log. Raises `SettingsError` with all
    problems.
    """
    return _Loader(Sources(environ, directory), look, offline=offline).settings()


class _Loader:
    def __init__(self, sources: Sources, look: Look | None, *, offline: bool) -> None:
        self.sources, self.offline = sources, offline
        self.look = look
        self.first = ""  # what to do before correcting the settings
        self.environ = sources.environ
        self.problems = sources.problems
        self.misread = bool(self.problems)  # what is missing may be in a source that is unreadable
        self.corrected = sources.corrected
        self.registry: Mapping[str, services.Service] = {}
        self.incomplete: list[Incomplete] = []
        self.remedies = sources.remedies

    def settings(self) -> Settings:
        get, option = self.sources.get, self.sources.option
        skip: frozenset[str] = option("ENTRYPOINT_SKIP")
        name, row = self._service()
        variable, url = self._database_url(required=skip != set(STEPS) and not self.offline)
        database = self.sources.conninfo(variable, url)
        direct_url = self.sources.secret(_DIRECT)
        direct = self.sources.conninfo(_DIRECT, direct_url)
        preview, more = None, {}
        hints = ((self.environ.get(name), hint) for name, hint in PREVIEWS.items())
        if option("ENTRYPOINT_PREVIEW") or any(value and hint in value for value, hint in hints):
            from . import previews  # of all starts only those need it

            if preview := previews.of(self.sources):
                self.look = None  # a preview has nothing to move
                urls = {variable: (url, database), _DIRECT: (direct_url, direct)}
                placed = previews.place(self.sources, preview, row, urls, self.registry)
                preview, self.registry, urls = placed.preview, placed.registry, placed.urls
                self.incomplete += placed.incomplete
                (url, database), (direct_url, direct) = urls.pop(variable), urls[_DIRECT]
                more = {each: text for each, (text, _) in urls.items() if each != _DIRECT}
                row = self.registry.get(name or "")
        self._check_database(database, name, preview)
        self._check_direct(direct, database)
        admin_url = self.sources.secret("ENTRYPOINT_ADMIN_URL")
        admin = self.sources.conninfo("ENTRYPOINT_ADMIN_URL", admin_url, needs_database=False)
        lookup_url = self.sources.secret(LOOKUP_URL)
        lookup_server = self.sources.conninfo(LOOKUP_URL, lookup_url, needs_database=False)
        wait_timeout_s: float = option("ENTRYPOINT_WAIT_TIMEOUT")
        asked = endpoints.read(self.sources, wait_timeout_s)
        push = self._push(name, skipped="push" in skip)
        seed = self._seed(row, asked.lookup, skipped="seed" in skip)
        if self.problems:
            raise self._error()
        environment = self._service_environment(variable, url, more)
        own = option("ENTRYPOINT_MAINTENANCE_DATABASE") or (admin.database if admin else "")
        direct_added = {variable: direct_url} if direct_url else {}
        return Settings(
            service=name,
            preview=preview,
            registered=row,
            registry=self.registry,
            release=self.sources.release,
            release_ignored=self.sources.release_ignored,
            database=database,
            direct=direct,
            admin=admin,
            maintenance_databases=(own,) if own else ("postgres", "defaultdb"),
            lookup_server=lookup_server,
            isolate=get("database.isolate"),
            database_owner=get("database.owner"),
            extensions=get("database.extensions"),
            push=push,
            seed=seed,
            verify=Verify(**self._section("verify", Verify._fields)),
            gates=asked.gates,
            health_url=asked.health_url,
            health_problem=asked.health_problem,
            notifies=asked.notifies,
            wait_timeout_s=wait_timeout_s,
            lock_timeout_s=option("ENTRYPOINT_LOCK_TIMEOUT"),
            skip=skip,
            force=option("ENTRYPOINT_FORCE"),
            service_environment=environment,
            push_environment=environment.changed(added=direct_added),
            incomplete=tuple(self.incomplete),
        )

    def _service(self) -> tuple[str | None, services.Service | None]:
        name = self.sources.service
        path: str | None = self.sources.get("services")
        if name or path:
            self.registry = self.sources.registry()
            if not self.registry:
                return name, None  # the registry's problem is noted already
        if name and (close := services.misspelt(name, self.registry)):
            self.problems.append(
                f"the service {shortened(name)}{self._by()} is not in the registry; "
                f"the nearest is {close}"
            )
            self.remedies.append(self._rename(close))
        elif name and name not in self.registry:
            self._unregistered(name, path)
        return name, self.registry.get(name or "")

    def _unregistered(self, name: str, path: str | None) -> None:
        which = f"the registry {shortened(path)}" if path else "the registry"
        there = ", ".join([*self.registry][:MAX_LISTED])
        more = " and more" if len(self.registry) > MAX_LISTED else ""
        close = services.namesake(name, self.registry)
        meant = f"If it is {close}, name it so. " if close else ""
        self._lack(
            f"the service {shortened(name)}{self._by()} is not in {which}: the start does not "
            "check its database and its tables",
            f"{meant}Use a name from the registry, or give the service a row in a "
            f"registry of your own (services in {self.sources.file}, or ENTRYPOINT_SERVICES). "
            f"The registry has: {there}{more}.",
        )

    def _lack(self, reason: str, remedy: str) -> None:
        self.incomplete.append(Incomplete(reason, remedy))

    def _by(self) -> str:
        return f" (named by {self.sources.named()[1]})"

    def _rename(self, name: str) -> str:
        variable, file = f"set ENTRYPOINT_SERVICE={name}", self.sources.file
        line = f'write service = "{name}" in {file}'
        where = self.sources.named()[1]
        if where == "ENTRYPOINT_SERVICE":
            return variable
        return f"{line} or {variable}" if where == file else f"{variable} or {line}"

    def _database_url(self, *, required: bool) -> tuple[str, str]:
        names: tuple[str, ...] = self.sources.get("database_url")
        for name in names:
            if self.environ.get(name) or self.environ.get(f"{name}_FILE"):
                return name, self.sources.secret(name)
        if required:
            empty = next((name for name in names if name in self.environ), None)
            what = f"{empty} is empty" if empty else f"{' or '.join(names)} is not set"
            others = self._others()
            alike = (
                "look like connection strings" if others[1:] else "looks like a connection string"
            )
            also = f"; {' and '.join(others)} {alike}" if others else ""
            self.problems.append(f"{what}{also}")
            if others:
                line = f'database_url = ["{others[0]}"]'
                self.remedies.append(f"or write {line} in {self.sources.file}")
            self.corrected[empty or names[0]] = "postgresql://USER:****@HOST:5432/DATABASE"
        return names[0], ""

    def _others(self) -> list[str]:
        """Other variables that hold a connection string, but none of our own."""
        begin = ("postgres://", "postgresql://")
        found = [
            name
            for name, value in self.environ.items()
            if value.startswith(begin) and name not in OUR_SECRETS
        ]
        return sorted(found)[:MAX_LISTED]

    def _check_database(
        self, url: Conninfo | None, name: str | None, preview: "Preview | None"
    ) -> None:
        misfit = services.misfit(url.database, name, self.registry) if url else None
        if url is None or misfit is None:
            return
        row, why, lying = self.registry.get(name or ""), misfit.why, None
        if row and self.look and not misfit.owner:
            # To switch to a new, empty database would abandon the rows in this one.
            lying = self.look(url, row, self.registry)
            self.first = lying.first if lying else ""
        also = f"; {lying.what}" if lying else ""
        if name:
            also = f"; the service is {shortened(name)}{self._by()}{also}"
        if preview:
            also += f"; this is preview {preview.id} ({preview.by})"
            if row and not misfit.owner and url.database not in services.DEFAULTS:
                why = f"{shortened(url.database)}, but a preview of {name} has {row.database!r}"
        self.problems.append(f"{self.sources.where(url.variable)} names the database {why}{also}")
        self.corrected[url.variable] = url.with_database(misfit.right or UNKNOWN).safe()
        self.remedies += self._or_if(misfit, url, row, preview)

    def _or_if(
        self,
        misfit: services.Misfit,
        url: Conninfo,
        row: services.Service | None,
        preview: "Preview | None",
    ) -> "Iterator[str]":
        """What to do if not the URL is wrong, but what the start believes to be."""
        if row and not preview:
            from . import previews

            if number := previews.of_database(url.database, row.database):
                yield f"or, if this is preview {number}, set ENTRYPOINT_PREVIEW={number}"
        if misfit.owner:
            yield f"or, if this is {misfit.owner}, {self._rename(misfit.owner)}"
        elif (
            row  # a platform may have set the name
            and self.sources.named()[1] == "SERVICE_NAME"
            and url.database not in services.DEFAULTS
        ):
            ways = f"in ENTRYPOINT_SERVICE, or as service in {self.sources.file}"
            yield f"or, if this is not {row.name}, name the service {ways}"

    def _check_direct(self, direct: Conninfo | None, database: Conninfo | None) -> None:
        if direct and database and direct.database != database.database:
            names = f"{shortened(direct.database)}, the service's is {shortened(database.database)}"
            self.problems.append(f"{self.sources.where(_DIRECT)} names the database {names}")
            self.corrected[_DIRECT] = direct.with_database(database.database).safe()

    def _push(self, service: str | None, *, skipped: bool) -> Push:
        read = self._section("push", Push._fields)
        if self.sources.get("push.command", None) is None:
            there = os.path.isfile(self.sources.path(DEFAULT_PUSH[1]))
            read["command"] = DEFAULT_PUSH if there else ()
            if not (there or skipped or self.misread):
                self._no_push(service)
        return Push(**read, allow_loss=self.sources.option("ENTRYPOINT_ALLOW_LOSS"))

    def _section(self, name: str, fields: tuple[str, ...]) -> dict[str, Any]:
        keys = {field: f"{name}.{field.removesuffix('_s')}" for field in fields}
        return {field: self.sources.get(key) for field, key in keys.items() if key in IN_FILE}

    def _no_push(self, service: str | None) -> None:
        """Note a missing push: the image may lack its file."""
        file, absent = self.sources.file, self.sources.absent
        where = f"no {file} in {os.path.realpath(self.sources.directory)} and " if absent else ""
        copy = f"Add COPY {file} ./ and what the push needs to the image's last stage"
        name = copy if absent else "Name the push in push.command"
        skip = " or set ENTRYPOINT_SKIP=push" if absent else ""
        remedy = f"{name}; if there is nothing to push, write push.command = [] in {file}{skip}"
        if service:
            by = self._by()
            self.problems.append(f"{where}no push.command for the service {shortened(service)}{by}")
            self.remedies.append(remedy)
        else:
            reason = f"{where}no push.command: the start creates the database and pushes nothing"
            self._lack(reason, f"{remedy}.")

    def _seed(
        self, registered: services.Service | None, lookup: Lookup | None, *, skipped: bool
    ) -> Seed:
        read = self._section("seed", Seed._fields)
        read["when"] = self.sources.get("seed.when", registered.seed if registered else ...)
        command, when = read["command"], read["when"]
        tenant = self.environ.get("SEED_TENANT_ID") or None
        if tenant and not UUID.fullmatch(tenant):
            self.problems.append(f"SEED_TENANT_ID must be a UUID, not {shortened(tenant)}")
        needs_tenant = when == "always" and any("{tenant_id}" in word for word in command)
        if needs_tenant and not (tenant or lookup or skipped or self.offline):
            self.problems.append(
                "SEED_TENANT_ID is not set, and seed.command needs {tenant_id} "
                'with seed.when = "always"'
            )
        if tenant and not command and when != "never" and not skipped:
            self._lack(
                "SEED_TENANT_ID is set and there is no seed.command: the start seeds no tenant",
                'Name the seed in seed.command, write seed.when = "never", or unset '
                "SEED_TENANT_ID.",
            )
        variable = self._tenant_variable(tenant, lookup, runs=bool(command) and not skipped)
        return Seed(**read, tenant=tenant, lookup=None if tenant else lookup, variable=variable)

    def _tenant_variable(
        self, tenant: str | None, lookup: Lookup | None, *, runs: bool
    ) -> str | None:
        """The variable for the seed's tenant; its value in the container must not contradict us."""
        name: str | None = self.sources.get("seed.tenant_variable")
        if name is None:
            return None
        if name in self.sources.get("database_url"):
            self.problems.append(f"seed.tenant_variable is {name}, which names the database")
        elif not runs:
            return name
        elif (
            tenant
            and (there := bare(self.environ.get(name, "")))
            and there.lower() != tenant.lower()
        ):
            self.problems.append(
                f"{name} and SEED_TENANT_ID are two tenants, and seed.tenant_variable gives the "
                f"seed one of them as {name}; unset {name}, or set it to the same"
            )
        elif self.environ.get(name) and name != "SEED_TENANT_ID" and not tenant and not lookup:
            self._lack(
                f"{name} is set and SEED_TENANT_ID is not: the start does not know which "
                "tenant to seed",
                f"Set SEED_TENANT_ID to the tenant; the seed gets it as {name} too.",
            )
        return name

    def _service_environment(
        self, variable: str, url: str, more: "Mapping[str, str]"
    ) -> Environment:
        ours = [name + end for name in OUR_SECRETS for end in ("", "_FILE")]
        if url and not self.environ.get(variable):
            # As in docker-library's images: the value of a _FILE twin becomes the plain variable,
            # because the service's own code reads only that.
            ours.append(f"{variable}_FILE")
        ours += [f"{each}_FILE" for each in more if not self.environ.get(each)]
        added = {**more, variable: url} if url else more
        return self.environ.changed(without=ours, added=added)

    def _error(self) -> SettingsError:
        remedies = [*self.sources.corrections(), *dict.fromkeys(self.remedies)]
        remedy = "; ".join(remedies) or "Correct the listed settings"
        remedy += "," if self.remedies else ""
        if self.first:
            remedy = f"{self.first}; then {remedy[0].lower()}{remedy[1:]}"
        return SettingsError(self.problems, remedy=f"{remedy} and start again.")
