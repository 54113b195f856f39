-- Objects of the rarer kinds, which a dump contains whatever relations it leaves out.
with \ir rare_kinds.sql
select json_agg(json_build_array(classid::int8, objid::int8, upper(type), coalesce(
    (parse_ident(schema))[1], '-'),
  coalesce(name, spelt, identity), identity, '',
  case when owner > 0 then pg_get_userbyid(owner) else '' end, false, null, null))
from rare cross join pg_identify_object(classid, objid, 0) left join (
  select 'pg_operator'::regclass, oid, format('%s (%s, %s)', oprname,
    case oprleft when 0 then 'NONE' else format_type(oprleft, null) end,
    case oprright when 0 then 'NONE' else format_type(oprright, null) end) from pg_operator
  union all select 'pg_opclass'::regclass, o.oid, format('%I USING %I', opcname, amname)
  from pg_opclass o join pg_am a on a.oid = opcmethod
  union all select 'pg_opfamily'::regclass, o.oid, format('%I USING %I', opfname, amname)
  from pg_opfamily o join pg_am a on a.oid = opfmethod
  union all select 'pg_transform'::regclass, t.oid,
    format('FOR %s LANGUAGE %I', format_type(trftype, null), lanname)
  from pg_transform t join pg_language l on l.oid = trflang
  union all select 'pg_cast'::regclass, oid,
    format('(%s AS %s)', format_type(castsource, null), format_type(casttarget, null)) from pg_cast
) as dumped (class, id, spelt) on class = classid and id = objid
where objid >= 16384 and (classid, objid) not in (
  select classid, objid from pg_depend
  where deptype = 'e' or deptype = 'i' and classid = 'pg_cast'::regclass)
