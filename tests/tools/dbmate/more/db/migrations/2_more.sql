-- migrate:up
create table rpg_logs (id integer primary key);
alter table rpg_users add nick text;

-- migrate:down
alter table rpg_users drop nick;
drop table rpg_logs;
