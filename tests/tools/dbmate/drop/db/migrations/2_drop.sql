-- migrate:up
alter table rpg_users drop email;

-- migrate:down
alter table rpg_users add email text;
