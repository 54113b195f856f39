-- Publications with the tables that they name.
-- They have entries for tables and, since PostgreSQL 15, for schemas.
select json_agg(json_build_array('pg_publication'::regclass::int8, p.oid::int8, pubname, coalesce((
    select json_agg(json_build_array('pg_publication_rel'::regclass::int8, oid::int8,
      prrelid::int8)) from pg_publication_rel where prpubid = p.oid), '[]'), coalesce((
    select json_agg(json_build_array(d.classid::int8, d.objid::int8, nspname)) from pg_depend d
    join pg_depend s on s.classid = d.classid and s.objid = d.objid
      and s.refclassid = 'pg_namespace'::regclass join pg_namespace n on n.oid = s.refobjid
    where d.refclassid = 'pg_publication'::regclass and d.refobjid = p.oid
      and d.classid = to_regclass('pg_publication_namespace')), '[]'), puballtables,
  quote_ident(pubname))) from pg_publication p
