create table if not exists rpg_logs (id integer primary key);
alter table rpg_users add if not exists nick text;
