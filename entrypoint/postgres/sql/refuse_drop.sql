-- The body of the event trigger that refuses drops.
declare
  gone record;
  filled bool;
  owner oid;
  lost text[];
begin
  if clock_timestamp() >= {until}::timestamptz then
    return;
  end if;
  if \ir push_session.sql
    is not true then
    perform pg_notify({channel}, objid::text || \ir session_port.sql
      || coalesce(' ' || address_names[3], ''))
    from pg_event_trigger_dropped_objects()
    where classid = 'pg_class'::regclass and object_type in ('table', 'table column')
      and not is_temporary;
    return;
  end if;
  for gone in
    select objid, objsubid, address_names as name from pg_event_trigger_dropped_objects()
    where classid = 'pg_class'::regclass and object_type in ('table', 'table column')
      and not is_temporary
  loop
    filled := gone.objid = any ({tables}::oid[]);
    if filled and gone.objsubid <> 0 then
      select relowner into owner from pg_class where oid = gone.objid and relkind = 'r';
      filled := found;  -- or it went with it
      if filled and has_table_privilege(gone.objid, 'select')
        and not row_security_active(gone.objid) then
        if \ir owner_is_ours.sql
        then
          execute format('select exists (select from only %I.%I)', gone.name[1], gone.name[2])
            into filled;
        else
          filled := pg_relation_size(gone.objid) > 0;
        end if;
      end if;
    end if;
    if filled and not array[
        gone.name[2], concat_ws('.', gone.name[1], gone.name[2]),
        concat_ws('.', gone.name[2], gone.name[3]), array_to_string(gone.name, '.')
      ] && {allowed}::text[] then
      lost := lost
        || array_to_string(array_remove(gone.name[1:1], 'public') || gone.name[2:], '.');
    end if;
  end loop;
  if lost is not null then
    perform \ir tell_refusal.sql
    , pg_sleep({patience});
    raise exception '% %; allow it once with ENTRYPOINT_ALLOW_LOSS=%', {refuses},
      array_to_string(lost, ', '), array_to_string(lost, ',');
  end if;
end
