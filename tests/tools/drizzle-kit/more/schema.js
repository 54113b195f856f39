const { integer, pgTable, text } = require('drizzle-orm/pg-core');

const rpg_users = pgTable('rpg_users', {
  id: integer('id').primaryKey(),
  name: text('name').notNull(),
  email: text('email'),
  nick: text('nick'),
});
const rpg_logs = pgTable('rpg_logs', { id: integer('id').primaryKey() });

module.exports = { rpg_users, rpg_logs };
