create table rpg_logs (id integer primary key);
alter table rpg_users add nick text;
