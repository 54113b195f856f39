-- The rarer kinds of objects that the target gets, as rows of text.
-- The options of a foreign server may contain a password, so they are no fact.
select row('carried', upper(type), identity, said)::text from (
  select 'pg_operator'::regclass, oid, row(oprcode, oprcanmerge, oprcanhash, oprrest, oprjoin,
    oprcom::regoperator, oprnegate::regoperator)::text from pg_operator
  union all
  select 'pg_cast'::regclass, oid, row(castfunc::regprocedure, castcontext, castmethod)::text
  from pg_cast
  union all select 'pg_collation'::regclass, oid, row(collprovider, collisdeterministic,
    coalesce(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale', collcollate),
    coalesce(collctype, ''))::text from pg_collation c
  union all select 'pg_conversion'::regclass, oid,
    row(conforencoding, contoencoding, conproc, condefault)::text from pg_conversion
  union all select 'pg_ts_dict'::regclass, d.oid, row(tmplname, dictinitoption)::text
  from pg_ts_dict d join pg_ts_template t on t.oid = dicttemplate
  union all select 'pg_ts_config'::regclass, c.oid, row(prsname, (
    select array_agg(row(maptokentype, mapdict::regdictionary)::text
      order by maptokentype, mapseqno) from pg_ts_config_map where mapcfg = c.oid))::text
  from pg_ts_config c join pg_ts_parser p on p.oid = cfgparser
  union all select 'pg_event_trigger'::regclass, oid, row(evtevent, evtfoid::regproc, evtenabled,
    evttags)::text from pg_event_trigger
  union all select 'pg_foreign_server'::regclass, oid, null from pg_foreign_server
) each (class, id, said) cross join pg_identify_object(class, id, 0) where id >= 16384
  and (upper(type), identity) in (select * from unnest(%(kinds)s::text[], %(names)s::text[]))
