const { integer, pgTable, text } = require('drizzle-orm/pg-core');

const rpg_users = pgTable('rpg_users', {
  id: integer('id').primaryKey(),
  name: text('name').notNull(),
  email: text('email'),
});

module.exports = { rpg_users };
