-- Lists every misplaced object and its service. `entrypoint verify --sql` wrote this file.
--
-- Execute the whole file in the database "postgres", in which every row is one too many, and in each
-- service's own. The query reads catalogs and writes nothing. The first line keeps a database's
-- owner from putting functions before the server's; RESET search_path, or a new session, undoes it.
set search_path = pg_catalog, pg_temp;
with service (name, database) as (values
  ('gaqno-sso-service', 'gaqno_sso_db'),
  ('gaqno-ai-service', 'gaqno_ai_db'),
  ('gaqno-finance-service', 'gaqno_finance_db'),
  ('gaqno-pdv-service', 'gaqno_pdv_db'),
  ('gaqno-rpg-service', 'gaqno_rpg_db'),
  ('gaqno-omnichannel-service', 'gaqno_omnichannel_db')),
selected (name) as (values
  ('gaqno-sso-service'),
  ('gaqno-ai-service'),
  ('gaqno-finance-service'),
  ('gaqno-pdv-service'),
  ('gaqno-rpg-service'),
  ('gaqno-omnichannel-service')),
prefix (service, prefix) as (values
  ('gaqno-sso-service', 'sso_'),
  ('gaqno-ai-service', 'ai_'),
  ('gaqno-finance-service', 'finance_'),
  ('gaqno-pdv-service', 'pdv_'),
  ('gaqno-rpg-service', 'rpg_'),
  ('gaqno-rpg-service', 'dnd_'),
  ('gaqno-omnichannel-service', 'omni_')),
listed (service, name) as (select null::text, null::text where false),
-- The tables by which tools remember what they did; with columns, where the name tells too little.
book (name, columns) as (values
  ('drizzle.__drizzle_migrations', NULL),
  ('_prisma_migrations', NULL),
  ('pgmigrations', NULL),
  ('knex_migrations', NULL),
  ('knex_migrations_lock', NULL),
  ('kysely_migration', NULL),
  ('kysely_migration_lock', NULL),
  ('mikro_orm_migrations', NULL),
  ('SequelizeMeta', NULL),
  ('SequelizeData', NULL),
  ('typeorm_metadata', NULL),
  ('migrations', '{id,name,timestamp}'),
  ('alembic_version', NULL),
  ('schema_migrations', NULL),
  ('django_migrations', NULL),
  ('flyway_schema_history', NULL),
  ('goose_db_version', NULL),
  ('databasechangelog', NULL),
  ('databasechangeloglock', NULL),
  ('_schema_migrations', NULL),
  ('ar_internal_metadata', NULL),
  ('_yoyo_log', NULL),
  ('_yoyo_migration', NULL),
  ('_yoyo_version', NULL),
  ('yoyo_lock', NULL),
  ('spatial_ref_sys', NULL)),
object (kind, schema, name, arguments, rows, bytes, users, comment, columns) as (
  with recursive space as materialized (
    select n.oid, nspname, obj_description(n.oid, 'pg_namespace') as comment from pg_namespace n
    where left(nspname, 3) <> 'pg_' and nspname <> 'information_schema'
      and not exists (select from pg_depend where classid = 'pg_namespace'::regclass and objid = n.oid
        and deptype = 'e')
  ), member as materialized (
    select classid, objid, refobjid as extension from pg_depend
    where deptype = 'e' and refclassid = 'pg_extension'::regclass
  )
  , tree (root, oid) as (
    select c.oid, c.oid from pg_class c
    where relnamespace in (select oid from space) and relkind in ('r', 'p', 'f', 'v', 'm', 'S', 'c')
      and not relispartition and relpersistence <> 't'
    union all
    select root, inhrelid from tree
    join pg_inherits on inhparent = tree.oid
    join pg_class p on p.oid = inhrelid and p.relispartition
  ), measure as (
    select root, sum(case when relkind in ('r', 'm') then
        greatest(reltuples, pg_stat_get_live_tuples(c.oid)) end)::int8 as rows,
      sum(case when true and relkind in ('r', 'm', 'S') then pg_total_relation_size(c.oid) end
        )::int8 as size_bytes
    from tree join pg_class c on c.oid = tree.oid group by root
  ), owned as materialized (
    select objid from pg_depend d where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0
    and d.deptype in ('a', 'i')
  ), follower (classid, objid) as (
    select 'pg_type'::regclass::oid, t.oid from pg_type t join space s on s.oid = typnamespace
    left join pg_class c on c.oid = typrelid
    where typtype in ('e', 'd', 'r') or typtype = 'b' and typcategory <> 'A' or c.relkind = 'c'
    union all select 'pg_proc'::regclass, p.oid from pg_proc p join space s on s.oid = pronamespace
    union all select 'pg_class'::regclass, c.oid from pg_class c join space s on s.oid = relnamespace
    where relkind = 'S' and c.oid not in (select objid from owned)
  ), reach (rootclass, root, classid, objid) as (
    select classid, objid, classid, objid from follower
    where (classid, objid) not in (select classid, objid from member)
    union
    select rootclass, r.root, u.classid, u.objid from reach r
    join pg_depend d on d.refclassid = r.classid and d.refobjid = r.objid and d.deptype <> 'e'
      and (r.classid <> 'pg_class'::regclass or r.objid = r.root)  -- not past a table
    cross join lateral (
      select 'pg_class'::regclass::oid, adrelid from pg_attrdef a
      where d.classid = 'pg_attrdef'::regclass and a.oid = d.objid
      union all select case conrelid when 0 then 'pg_type'::regclass else 'pg_class'::regclass end,
        coalesce(nullif(conrelid, 0), contypid) from pg_constraint c
      where d.classid = 'pg_constraint'::regclass and c.oid = d.objid
      union all select 'pg_class'::regclass, tgrelid from pg_trigger t
      where d.classid = 'pg_trigger'::regclass and t.oid = d.objid
      union all select 'pg_class'::regclass, ev_class from pg_rewrite w
      where d.classid = 'pg_rewrite'::regclass and w.oid = d.objid
      union all select 'pg_class'::regclass, polrelid from pg_policy p
      where d.classid = 'pg_policy'::regclass and p.oid = d.objid
      union all select case relkind when 'c' then 'pg_type'::regclass else 'pg_class'::regclass end,
        case relkind when 'c' then reltype else coalesce(indrelid, c.oid) end
      from pg_class c left join pg_index on indexrelid = c.oid
      where d.classid = 'pg_class'::regclass and c.oid = d.objid
      union all select d.classid, d.objid
      where d.classid in ('pg_type'::regclass, 'pg_proc'::regclass)
    ) u (classid, objid)
  ), used (classid, objid, names) as (
    select rootclass, r.root, array_agg(distinct coalesce(relname, typname, proname)::text)
    from reach r left join tree on classid = 'pg_class'::regclass and tree.oid = objid
    left join pg_class c on c.oid = tree.root and relnamespace not in (
      select oid from space where starts_with(comment, 'entrypoint moved: '))
    left join pg_type t on classid = 'pg_type'::regclass and t.oid = objid and typcategory <> 'A'
    left join pg_proc p on classid = 'pg_proc'::regclass and p.oid = objid
    where (classid, objid) <> (rootclass, r.root) and coalesce(relname, typname, proname) is not null
    group by 1, 2
  )
  select case relkind when 'r' then 'table' when 'p' then 'table' when 'f' then 'foreign table'
      when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence'
      else 'type' end, nspname, relname, null, rows, size_bytes, coalesce(names, '{{}}'), comment,
    case when relname = any('{{migrations}}') then array(
      select attname::text from pg_attribute where attrelid = c.oid and attnum > 0
        and not attisdropped) end
  from measure join pg_class c on c.oid = root join space s on s.oid = relnamespace
  left join used on classid = case relkind when 'c' then 'pg_type'::regclass
      else 'pg_class'::regclass end and objid = case relkind when 'c' then reltype else c.oid end
  where ('pg_class'::regclass::oid, c.oid) not in (select classid, objid from member)
    and (relkind <> 'S' or c.oid not in (select objid from owned))
  union all
  select 'type', nspname, typname, null, null, null, coalesce(names, '{{}}'), comment, null
  from pg_type t join space s on s.oid = typnamespace
  left join used on classid = 'pg_type'::regclass and objid = t.oid
  where (typtype in ('e', 'd', 'r') or typtype = 'b' and typcategory <> 'A')
    and ('pg_type'::regclass::oid, t.oid) not in (select classid, objid from member)
  union all
  select case prokind when 'p' then 'procedure' when 'a' then 'aggregate' else 'function' end,
    nspname, proname, pg_get_function_identity_arguments(p.oid), null, null, coalesce(names, '{{}}'),
    comment, null
  from pg_proc p join space s on s.oid = pronamespace
  left join used on classid = 'pg_proc'::regclass and objid = p.oid
  where ('pg_proc'::regclass::oid, p.oid) not in (select classid, objid from member)
    and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass
      and d.objid = p.oid and d.deptype = 'i')  -- the constructors of a range
  order by 2, 3, 1, 4
),
claim (name, service) as (
  select each.name, (select prefix.service from prefix where starts_with(each.name, prefix.prefix)
    order by length(prefix.prefix) desc limit 1)
  from (select name::text from object union select unnest(users) from object) as each (name)
),
here (name, prefixed) as (
  select name, exists (select from prefix where prefix.service = service.name)
  from service where database = current_database()
),
judged as (
  select object.*, claim.service as claimed, object.kind in ('aggregate', 'function', 'procedure', 'sequence', 'type') as follows,
    array[object.name::text, object.schema || '.' || object.name] as names
  from object join claim on claim.name = object.name
  where not starts_with(coalesce(comment, ''), 'entrypoint moved: ') and not exists (
    select from book where book.name in (object.name, object.schema || '.' || object.name)
      and (book.columns is null
        or book.columns::text[] @> object.columns and object.columns @> book.columns::text[]))
),
used as (
  select judged.*, case when follows then (
    select case count(distinct coalesce(claim.service, '')) when 1 then min(claim.service) end
    from unnest(users) as each (name) join claim using (name)) end as used_by,
  follows and exists (select from here, unnest(users) as each (name) join claim using (name)
    where claim.service = here.name or claim.service is null and (not here.prefixed or exists (
      select from listed where listed.service = here.name and listed.name = each.name))
  ) as used_here
  from judged
),
stray as (
  select used.*, coalesce(claimed, used_by) as whose, 'stray_object' as finding
  from used where current_database() = 'postgres'
  union all
  select used.*, claimed,
    case when claimed is null then 'unprefixed_object' else 'foreign_object' end
  from used, here where here.name in (select name from selected) and not used_here
    and claimed is distinct from here.name
    and not (claimed is null and (not here.prefixed or exists (
      select from listed where listed.service = here.name and listed.name = any (names))))
)
select finding, kind,
  case schema when 'public' then '' else schema || '.' end || name
    || coalesce('(' || arguments || ')', '') as object,
  coalesce(whose, (select 'perhaps ' || string_agg(distinct service, ' or ') from listed
    where listed.name = any (names))) as whose, rows, pg_size_pretty(bytes) as size
from stray where finding <> 'stray_object' or true or whose in (select name from selected)
union all
select 'quarantine', 'schema', nspname, null, null, null from pg_namespace
where starts_with(obj_description(oid, 'pg_namespace'), 'entrypoint moved: ') order by 1 desc, 4, 3;
