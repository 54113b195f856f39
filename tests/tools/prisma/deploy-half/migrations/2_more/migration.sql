create table rpg_logs (id integer primary key);
alter table rpg_users alter name type integer using name::integer;
