-- Which objects are not where they belong, and whose they are, for pgAdmin and psql.
-- The decisions are those of placement.py; a test compares both.
with service (name, database) as ({services}),
selected (name) as ({selected}),
prefix (service, prefix) as ({prefixes}),
listed (service, name) as ({names}),
-- The tables by which tools remember what they did; with columns, where the name tells too little.
book (name, columns) as ({books}),
object (kind, schema, name, arguments, rows, bytes, users, comment, columns) as (
{objects}
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
  select object.*, claim.service as claimed, object.kind in ({follow}) as follows,
    array[object.name::text, object.schema || '.' || object.name] as names
  from object join claim on claim.name = object.name
  where not starts_with(coalesce(comment, ''), {quarantine}) and not exists (
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
  from used where current_database() = {default}
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
from stray where finding <> 'stray_object' or {whole} or whose in (select name from selected)
union all
select 'quarantine', 'schema', nspname, null, null, null from pg_namespace
where starts_with(obj_description(oid, 'pg_namespace'), {quarantine}) order by 1 desc, 4, 3;
