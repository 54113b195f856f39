exports.up = async (knex) => {
  await knex.raw('create table rpg_logs (id integer primary key)');
  await knex.raw('alter table rpg_users add nick text');
};

exports.down = (knex) => knex.raw('alter table rpg_users drop nick; drop table rpg_logs');
