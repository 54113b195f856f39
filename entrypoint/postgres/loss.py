"""What a push lost: the difference between two snapshots. Pure."""

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from ..errors import plural
from .snapshot import MAX_ROWS, Snapshot, Table

MAX_TOLD: Final = 20  # losses of one push that the ledger keeps


class Loss(NamedTuple):
    """What is no longer there; names are `Table.label`s."""

    tables: tuple[str, ...] = ()
    foreign_tables: tuple[str, ...] = ()  # those of `tables` without a prefix of the service
    columns: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    enum_values: tuple[str, ...] = ()
    rows: Mapping[str, int] = {}  # by table, others' deletions included; estimates above `MAX_ROWS`
    of_rows: Mapping[str, frozenset[str]] = {}
    """Tables and columns that went with rows, each with its names in ENTRYPOINT_ALLOW_LOSS."""

    def unallowed(self, allowed: Collection[str]) -> list[str]:
        """What went with its rows although ``allowed`` does not name it."""
        return [label for label, names in self.of_rows.items() if not names & set(allowed)]

    def fields(self) -> dict[str, object]:
        """The fields of an event, without empty ones."""
        names = ("tables", "foreign_tables", "columns", "constraints", "enum_values")
        fields = {name: list(getattr(self, name)) for name in names} | {"rows": dict(self.rows)}
        return {name: value for name, value in fields.items() if value}

    def told(self) -> list[str]:
        """The ledger's lines, the worst first, at most `MAX_TOLD`."""
        lines = [f"{plural(count, 'row')} of {name}" for name, count in self.rows.items()]
        for what in ("tables", "columns", "constraints", "enum_values"):
            lines += [f"{what[:-1].replace('_', ' ')} {name}" for name in getattr(self, what)]
        return lines[:MAX_TOLD]


def compare(before: Snapshot, after: Snapshot, prefixes: Collection[str] = ()) -> Loss:
    """Find what ``before`` has and ``after`` lacks.

    A constraint or an enum's value that is there again under its old name is no loss, because tools
    recreate them.
    """
    tables, columns, rows = [], [], {}
    of_rows: dict[str, frozenset[str]] = {}
    for oid, table in before.tables.items():
        now = after.tables.get(oid)
        if now is None:
            tables.append(table)
        if table.filled and (now is None or (now.rows == 0 and now.filenode != table.filenode)):
            of_rows[table.label()] = frozenset(table.names())
        if lost := _rows_lost(table, now):
            rows[table.label()] = lost
    for (oid, number), name in before.columns.items():
        table = before.tables[oid]
        if oid in after.tables and (oid, number) not in after.columns:
            columns.append(table.label(name))
            if table.filled:
                of_rows[table.label(name)] = frozenset(table.names() | table.names(name))
    return Loss(
        tables=tuple(sorted(table.label() for table in tables)),
        foreign_tables=tuple(
            sorted(
                table.label()
                for table in tables
                if prefixes and not table.name.startswith(tuple(prefixes))
            )
        ),
        columns=tuple(sorted(columns)),
        constraints=_constraints(before, after),
        enum_values=_enum_values(before, after),
        rows=rows,
        of_rows=of_rows,
    )


def _rows_lost(table: Table, now: Table | None) -> int:
    if table.rows is None or (now is not None and now.rows is None):
        return 0
    left = now.rows if now is not None else 0
    if not table.rows or left is None or left >= table.rows:
        return 0
    had = table.rows if table.rows < MAX_ROWS else max(table.rows, table.estimate)
    return had - left


def _constraints(before: Snapshot, after: Snapshot) -> tuple[str, ...]:
    there = {(constraint.table, constraint.name) for constraint in after.constraints.values()}
    return tuple(
        sorted(
            before.tables[table].label(name)
            for oid, (table, name, _) in before.constraints.items()
            if oid not in after.constraints and table in after.tables and (table, name) not in there
        )
    )


def _enum_values(before: Snapshot, after: Snapshot) -> tuple[str, ...]:
    there = {(name, value) for (_, value), name in after.enum_values.items()}
    return tuple(
        f"{name}.{value}"
        for (kind, value), name in before.enum_values.items()
        if (kind, value) not in after.enum_values and (name, value) not in there
    )


def invalid_indexes(before: Snapshot, after: Snapshot) -> list[str]:
    """Indexes that have become invalid, after a CREATE INDEX CONCURRENTLY that failed."""
    return sorted(
        name for oid, name in after.invalid_indexes.items() if oid not in before.invalid_indexes
    )


def not_validated(before: Snapshot, after: Snapshot) -> list[str]:
    """Constraints that have become NOT VALID; many are meant to be, for a while."""
    known = {c for c in before.constraints.values() if not c.valid}
    return sorted(
        after.tables[constraint.table].label(constraint.name)
        for constraint in after.constraints.values()
        if not constraint.valid and constraint not in known
    )
