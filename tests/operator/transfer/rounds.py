"""One round of a campaign: a source is made, planned, moved and put back, and looked at."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import psycopg

from tests.operator.transfer.conftest import RPG, RPG_DB, World
from tests.support import battery, versions
from tests.support.program import Program, until
from tests.support.schemas import NOBODY, ROLES, SSO, Piece, Source, quoted
from tests.support.schemas import RPG as MOVES
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

DATABASE: Final = "campaign"

PASSWORD: Final = "a-role-s-own"

SETTINGS: Final = {"wal_level": "logical", "autovacuum": "off"}

# A sequence that a column owns goes with its table.
_OWNED: Final = """
select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = relnamespace
where case when nspname = 'public' then relname else nspname || '.' || relname end = any (%s)
  and relkind in ('r', 'p', 'v', 'm', 'S', 'f') and not exists (select from pg_depend d
    where d.classid = 'pg_class'::regclass and d.objid = c.oid and deptype in ('a', 'i')
      and relkind = 'S')
"""

REFUSED: Final = 5

COMMAND_S: Final = 300.0
"""How long a command may take while other rounds are played."""

SEEN: Final = 5
"""Of so many plans with obstacles, one is tried all the same, and has to be refused."""


class BrokenError(Exception):
    """A property that does not hold; ``stage`` says which."""

    def __init__(self, stage: str, text: str) -> None:
        super().__init__(f"{stage}: {text}")
        self.stage = stage


class Said(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Its answer to --json."""
        answer: dict[str, Any] = json.loads(self.out)
        return answer


@dataclass
class Field:
    """A server on which rounds are played, and where its commands run."""

    world: World
    directory: Path
    major: int
    obstacles: list[str] = field(default_factory=list)
    """What the last plan named."""

    refusals: int = 0
    words: list[str] = field(default_factory=list)
    """How the round's transfers are run."""

    there: World | None = None
    """Another server, once a round has gone to one."""

    @classmethod
    def on(cls, server: Server, directory: Path) -> Self:
        """On a server that is empty."""
        world = World.on(server, directory)
        make_roles(world)
        with server.connect() as connection:
            major = connection.info.server_version // 10000
        return cls(world, directory, major)

    @property
    def server(self) -> Server:
        """Where it is."""
        return self.world.server

    def close(self) -> None:
        """Remove what was made."""
        self.world.close()
        if self.there:
            self.there.close()
            self.there.server.close()

    def run(self, *words: str) -> Said:
        """Run a command to its end; a traceback is a bug."""
        environ = {"DATABASE_URL": self.server.url(), "PATH": "/usr/bin:/bin"}
        environ |= self.world.environ()
        program = Program.start(*words, environ=environ, directory=self.directory)
        code = program.wait(COMMAND_S)
        out, err = (each.decode("utf-8", "replace") for each in (program.stdout, program.stderr))
        said = Said(code, out, err)
        if code < 2 and code != 0 and "verify" not in words:
            raise BrokenError("bug", said.err[-3000:])
        return said

    def transfer(self, *words: str) -> Said:
        """Run one from the round's source."""
        return self.run("transfer", RPG, "--from", DATABASE, "--yes", *self.words, *words)

    def play(self, source: Source, *, all_of_it: bool = False) -> str:
        """Play a round; ``refused`` or ``moved``. Raises `BrokenError`."""
        self.clean()
        self.words = []
        self.make(source.pieces)
        try:
            if source.way == "owner":
                self._give()
            if source.way == "other server":
                self.words = ["--to", self._elsewhere().server.url()]
            return self._played(source, all_of_it=all_of_it)
        finally:
            self.clean()

    def _give(self) -> None:
        """Give what moves to the service's role, and what else it needs to move it."""
        labels = [each["object"] for each in self.plan()["objects"]]
        role = quoted(ROLES[MOVES])
        with self.server.connect(DATABASE) as connection:
            connection.execute(f"grant create on database {DATABASE} to {role}".encode())
            for (name,) in connection.execute(_OWNED, [labels]).fetchall():
                connection.execute(f"alter table {name} owner to {role}".encode())
            self.words = ["--server", self.server.url("postgres", ROLES[MOVES], PASSWORD)]
            refused = self.transfer("--dry-run", "--json")
            if refused.code == REFUSED:
                event = json.loads(refused.err.splitlines()[-1])
                remedy = event["remedy"].removeprefix("Run ").removesuffix(".")
                connection.execute(remedy.encode())

    def _elsewhere(self) -> World:
        """Another server of the same version."""
        if self.there is None:
            directory = self.world.temp.parent / "there"
            directory.mkdir()
            server = Server.start(prefix=versions.prefix(self.major), settings=SETTINGS)
            self.there = World.on(server, directory)
            make_roles(self.there)
        return self.there

    def make(self, pieces: Iterable[Piece], *, forgiving: bool = False) -> None:
        """Make the source; only a smaller one than was drawn may fail in part."""
        self.world.sql(f"create database {DATABASE} template template0")
        with self.server.connect(DATABASE) as connection:
            for piece in pieces:
                for statement in piece.statements:
                    try:
                        connection.execute(statement.replace("{database}", DATABASE).encode())
                    except psycopg.Error as error:
                        if not forgiving:
                            raise BrokenError(
                                "source", f"{piece.kind}: {error}\n{statement}"
                            ) from None

    def clean(self) -> None:
        """Remove all databases that a round made."""
        for world in filter(None, (self.world, self.there)):
            names = world.databases() - {"postgres"}
            if names:
                for name in names:
                    self._unsubscribe(world, name)
                with world.server.connect() as connection:
                    for name in sorted(names):
                        connection.execute(f"drop database {quoted(name)} with (force)".encode())

    @staticmethod
    def _unsubscribe(world: World, database: str) -> None:
        query = (
            "select subname from pg_subscription s join pg_database d on d.oid = subdbid"
            " where datname = current_database()"
        )
        with world.server.connect(database) as connection:
            for (name,) in connection.execute(query).fetchall():
                for what in ("disable", "set (slot_name = none)"):
                    connection.execute(f"alter subscription {quoted(name)} {what}".encode())
                connection.execute(f"drop subscription {quoted(name)}".encode())

    def _played(self, source: Source, *, all_of_it: bool) -> str:
        before = self.world.dump(DATABASE)
        seen = set() if all_of_it else self.verified()
        plan = self.plan()
        self.nothing_left()
        if any(not (all_of_it and each["allowable"]) for each in plan["obstacles"]):
            self.refusals += 1
            if self.refusals % SEEN == 0:
                self._refused(before, ["--allow", "all"] if all_of_it else [])
            return "refused"
        if not plan["objects"]:
            return "refused"  # a smaller source than was drawn
        allow = ["--allow", "all"] if plan["obstacles"] else []
        moving, staying = self._services(source, plan)
        done = self.transfer("--json", *allow)
        if done.code or done.json["result"] != "moved":
            self._same_dump("failed move", before)
            self.nothing_left()
            raise BrokenError("move", f"{done.err[-4000:]}\n{done.out[-2000:]}")
        self.nothing_left()
        if not all_of_it:
            staying.same(self.server, DATABASE)
            target = self.there.server if self.there and "--to" in self.words else self.server
            moving.same(target, RPG_DB, owner="--server" in self.words)
            if new := self.verified() - seen:
                raise BrokenError("verify", "\n".join(map(str, sorted(new))))
        back = self.transfer("--undo", "--json")
        if back.code:
            raise BrokenError("undo", back.err[-3000:])
        self.nothing_left()
        self._same_dump("undo", before)
        return "moved"

    def _refused(self, before: str, allow: list[str]) -> None:
        done = self.transfer("--json", *allow)
        if done.code == 0 or "obstacles" not in done.err:
            raise BrokenError("refusal", done.err[-3000:] or done.out)
        self._same_dump("refusal", before)
        self.nothing_left()

    def plan(self) -> dict[str, Any]:
        """What the program means to do."""
        said = self.transfer("--dry-run", "--json")
        if said.code:
            raise BrokenError("plan", said.err[-3000:])
        self.obstacles = [each["name"] for each in said.json["obstacles"]]
        if len({*self.obstacles}) < len(self.obstacles):
            raise BrokenError("names", str(sorted(self.obstacles)))
        return said.json

    def verified(self) -> set[tuple[str, ...]]:
        """What verify finds, but for the quarantines that a move makes."""
        said = self.run("verify", "--json")
        if said.code not in (0, 1) and not said.out:
            raise BrokenError("verify", said.err[-3000:])
        return {
            (each["database"], each["finding"], str(each.get("object")))
            for each in said.json["findings"]
            if each["level"] == "misplaced" and each["finding"] != "quarantine"
        }

    def nothing_left(self) -> None:
        """Raise if a command left anything behind."""
        worlds = filter(None, (self.world, self.there))
        if left := [each for world in worlds for each in world.left()]:
            raise BrokenError("left", str(left))

    def _same_dump(self, stage: str, before: str) -> None:
        if (after := self.world.dump(DATABASE)) != before:
            raise BrokenError(stage, differences(before, after))

    def _services(self, source: Source, plan: dict[str, Any]) -> tuple[Service, Service]:
        moved = [each["object"] for each in plan["objects"]]
        with self.server.connect(DATABASE) as connection:
            found = []
            for side, labels in ((MOVES, moved), (SSO, plan["stays"])):
                texts = battery.statements(connection, labels)
                # A function that nobody claims stays for sure, and goes along where it is needed.
                sides = (side,) if side == MOVES else (side, NOBODY)
                texts += [each.text for each in source.calls if each.side in sides]
                answers = battery.run(connection, ROLES[side], texts)
                found.append(Service(side, texts, answers))
            pid = connection.info.backend_pid
        # What was written is counted when the server ends the session: later it is a writer's.
        alive = f"select from pg_stat_activity where pid = {pid}"
        until(lambda: not self.world.sql(alive), "the session ends")
        return found[0], found[1]


class Fields(dict[int, Field]):
    """Servers by their versions; a context manager that closes them."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory

    def __missing__(self, major: int) -> Field:
        directory = self.directory / str(major)
        directory.mkdir()
        server = Server.start(prefix=versions.prefix(major), settings=SETTINGS)
        try:
            self[major] = Field.on(server, directory)
        except BaseException:
            server.close()
            raise
        return self[major]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.values():
            each.close()
            each.server.close()


class Service(NamedTuple):
    """What a service asks, and what it was answered before a move."""

    side: str
    texts: list[str]
    answers: battery.Answers

    def same(self, server: Server, database: str, *, owner: bool = False) -> None:
        """Raise if it is answered otherwise now; an ``owner`` moved all that it could."""
        with server.connect(database) as connection:
            now = battery.run(connection, ROLES[self.side], self.texts)
        found = [
            f"{text}\n  before: {then}\n  after:  {answer}"
            for (text, then), (_, answer) in zip(self.answers, now, strict=True)
            if then != answer
            and not (self.side == MOVES and _forbidden(then))
            and not (owner and _another_s(text, then))
        ]
        if found:
            raise BrokenError(f"battery of {self.side}", "\n".join(found[:5]))


def _forbidden(answer: str) -> bool:
    """Whether a role may not: the database becomes its own, and it may more there."""
    return answer.startswith("42501: must be owner") or "analyze" in answer


def _another_s(text: str, answer: str) -> bool:
    """Whether an owner gets it otherwise: large objects stay, and rights are not carried."""
    return "lo_get" in text or answer.startswith("42501")


def make_roles(world: World) -> None:
    """Make the roles that every source knows."""
    for role in ROLES.values():
        may = "createdb" if role == ROLES[MOVES] else ""
        world.sql(f"create role {quoted(role)} login {may} password '{PASSWORD}'")


def differences(before: str, after: str) -> str:
    """Lines that only one of them has."""
    ours, theirs = before.splitlines(), after.splitlines()
    gone = [f"- {line}" for line in ours if line not in set(theirs)]
    more = [f"+ {line}" for line in theirs if line not in set(ours)]
    return "\n".join([*gone[:30], *more[:30]]) or "the order of lines"


def minimised(
    played: Field, source: Source, error: BrokenError, budget: int, *, all_of_it: bool
) -> str:
    """As few statements as so many rounds can find that break the same."""
    flat = [Piece(piece.kind, (each,)) for piece in source.pieces for each in piece.statements]
    original, played.make = played.make, lambda pieces, **_: original(pieces, forgiving=True)  # type: ignore[method-assign]
    size = max(1, len(flat) // 2)

    def breaks(pieces: Sequence[Piece]) -> bool:
        calls = source.calls if error.stage.startswith("battery") else ()
        try:
            smaller = Source(tuple(pieces), calls, 0, source.way)
            played.play(smaller, all_of_it=all_of_it)
        except BrokenError as found:
            return found.stage == error.stage
        return False

    try:
        while budget > 0:
            start = 0
            while start < len(flat) and budget > 0:
                fewer = flat[:start] + flat[start + size :]
                budget -= 1
                if breaks(fewer):
                    flat = fewer
                else:
                    start += size
            if size == 1:
                break
            size = max(1, size // 2)
    finally:
        played.make = original  # type: ignore[method-assign]
    return Source(tuple(flat), (), 0).script
