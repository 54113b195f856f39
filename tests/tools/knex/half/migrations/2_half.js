exports.up = async (knex) => {
  await knex.raw('create table rpg_logs (id integer primary key)');
  await knex.raw('alter table rpg_users alter name type integer using name::integer');
};

exports.down = () => {};
