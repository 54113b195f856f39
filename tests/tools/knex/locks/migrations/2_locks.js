exports.config = { transaction: false };

exports.up = async (knex) => {
  await knex.raw('create table if not exists rpg_logs (id integer primary key)');
  await knex.raw('alter table rpg_users add if not exists nick text');
};

exports.down = () => {};
