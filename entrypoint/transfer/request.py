"""What an operator asks a transfer to do, and the plan of it."""

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..config.registry import Service
from ..operator.server import Server
from ..postgres.session import Session, translated
from . import target
from .command_lines import CommandLines
from .plan import Plan, make
from .source import read, sizes
from .throwaway import PREFIX

if TYPE_CHECKING:
    from ..operator.report import Result, Transferred


class Request(NamedTuple):
    """The source, the target, and what moves."""

    source: Server
    target: Server
    service: Service
    database: str  # the database that the objects move from
    extra: tuple[str, ...]  # names from `--with`: relations and extensions that move, too
    allowed: frozenset[str]  # names from `--allow`: problems that the operator agreed to
    jobs: int
    commands: CommandLines  # the commands after this one

    def met(self, session: Session) -> tuple["Request", bool]:
        """The request, and whether source and target are one server; ``session`` is in the source.

        If they are one, and the role is the same, the target becomes the source's server. Raises
        `RefusedError` and `UnreachableError`.
        """
        if self.target is self.source:
            return self, True
        same, alike = target.compared(session, self.target)
        return (self._replace(target=self.source) if alike else self), same

    def answer(self, result: "Result", **more: Any) -> "Transferred":  # noqa: ANN401  its fields
        """An answer, with the fields that all answers share."""
        from ..operator.report import Transferred  # pydantic: see `transfer.transfer`

        return Transferred(
            service=self.service.name,
            source=f"{self.source.conninfo.where()}/{self.database}",
            target=f"{self.target.conninfo.where()}/{self.service.database}",
            result=result,
            **more,
        )

    def plan(self, session: Session, before: Plan | None = None) -> Plan:
        """Plan what moves in the open transaction; return ``before`` if its digest is the same."""
        seen = digest(session)
        if before is not None and seen == before.source.digest:
            return before
        found = read(session)._replace(digest=seen)
        plan = make(found, self.service, self.source.registry, self.extra)
        return plan.sized(sizes(session, plan.moving))


_VERSIONS: Final = (
    *("pg_am", "pg_amop", "pg_amproc", "pg_attrdef", "pg_attribute", "pg_cast", "pg_collation"),
    *("pg_constraint", "pg_conversion", "pg_default_acl", "pg_depend", "pg_event_trigger"),
    *("pg_extension", "pg_foreign_data_wrapper", "pg_foreign_server", "pg_index", "pg_inherits"),
    *("pg_language", "pg_opclass", "pg_operator", "pg_opfamily", "pg_policy", "pg_publication"),
    *("pg_publication_rel", "pg_range", "pg_rewrite", "pg_statistic_ext", "pg_subscription_rel"),
    *("pg_transform", "pg_trigger", "pg_ts_config", "pg_ts_dict", "pg_ts_parser", "pg_ts_template"),
    "pg_type",
)
"""Catalogs in which every new row version counts. VACUUM and ANALYZE make none."""

# Only these columns count: a new row version may be the transfer's own grant to its roles, or a
# role that is no superuser may not see row versions.
_COLUMNS: Final = {
    "pg_class": "oid, relname, relnamespace, reltype, relowner, relkind, relpersistence,"
    " relispartition, relforcerowsecurity from pg_class",
    "pg_proc": "oid, proname, pronamespace, proowner, prokind, prolang, prosrc, prorettype,"
    " proargtypes, proallargtypes, proargmodes, proargnames from pg_proc where oid >= 16384",
    "pg_namespace": "oid, nspname, nspowner from pg_namespace",
    "pg_description": "objoid, description from pg_description"
    " where classoid = 'pg_namespace'::regclass",
    "pg_user_mappings": "umid, srvname, usename from pg_user_mappings",
    "pg_subscription": "oid, subname, subdbid from pg_subscription",
    "pg_largeobject_metadata": "oid from pg_largeobject_metadata",
    "pg_database": "datdba, encoding, datcollate, datctype from pg_database"
    " where datname = current_database()",
    "pg_db_role_setting": "setdatabase, setrole, setconfig from pg_db_role_setting",
    "pg_roles": f"oid, rolname, rolsuper from pg_roles where not starts_with(rolname, '{PREFIX}')",
}
_ALL: Final = " union all ".join(
    f"select '{name}', count(*), sum(hash_record_extended(each, 0)) from (select {columns}) each"  # noqa: S608  texts of our own
    for name, columns in {
        **{name: f"ctid, xmin from {name}" for name in _VERSIONS},
        **_COLUMNS,
    }.items()
)
CATALOGS: Final = frozenset((*_VERSIONS, *_COLUMNS))


def digest(session: Session) -> str:
    """Digest the catalogs in the open transaction. Raises `RefusedError`, `UnreachableError`."""
    with translated("looking for changes of the source", remedy="Run the command again."):
        rows = session.connection.execute(_ALL.encode()).fetchall()
    return " ".join(f"{name}:{number}:{sum_}" for name, number, sum_ in rows)
