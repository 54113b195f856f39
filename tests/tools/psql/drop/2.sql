alter table rpg_users drop if exists email;
