"""A digest of what a plan depends on, because writers wait while a move checks its plan."""

from typing import Final

from ..postgres.session import Session, translated
from .throwaway import PREFIX

_VERSIONS: Final = (
    *("pg_am", "pg_amop", "pg_amproc", "pg_attrdef", "pg_attribute", "pg_cast", "pg_collation"),
    *("pg_constraint", "pg_conversion", "pg_default_acl", "pg_depend", "pg_event_trigger"),
    *(
        "pg_extension",
        "pg_foreign_data_wrapper",
        "pg_foreign_server",
        "pg_index",
        "pg_inherits",
        "pg_language",
    ),
    *("pg_opclass", "pg_operator", "pg_opfamily", "pg_policy", "pg_publication"),
    *("pg_publication_rel", "pg_range", "pg_rewrite", "pg_statistic_ext", "pg_subscription_rel"),
    *("pg_transform", "pg_trigger", "pg_ts_config", "pg_ts_dict", "pg_ts_parser"),
    *("pg_ts_template", "pg_type"),
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


def of(session: Session) -> str:
    """Digest the catalogs in the open transaction. Raises `RefusedError`, `UnreachableError`."""
    with translated("looking for changes of the source", remedy="Run the command again."):
        rows = session.connection.execute(_ALL.encode()).fetchall()
    return " ".join(f"{name}:{number}:{sum_}" for name, number, sum_ in rows)
