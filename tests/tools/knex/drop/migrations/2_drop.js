exports.up = (knex) => knex.raw('alter table rpg_users drop email');

exports.down = (knex) => knex.raw('alter table rpg_users add email text');
