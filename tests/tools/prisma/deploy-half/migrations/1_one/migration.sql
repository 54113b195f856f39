create table rpg_users (id integer primary key, name text not null, email text);
