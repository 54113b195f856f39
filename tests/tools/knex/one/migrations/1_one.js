exports.up = (knex) =>
  knex.schema.createTable('rpg_users', (table) => {
    table.integer('id').primary();
    table.text('name').notNullable();
    table.text('email');
  });

exports.down = (knex) => knex.schema.dropTable('rpg_users');
