const { pgTable, text, timestamp, uniqueIndex, uuid } = require('drizzle-orm/pg-core');

const tenants = pgTable(
  'sso_tenants',
  {
    id: uuid('id').primaryKey().defaultRandom(),
    name: text('name').notNull(),
    createdAt: timestamp('created_at', { withTimezone: true }).notNull().defaultNow(),
  },
  (t) => [uniqueIndex('sso_tenants_name_key').on(t.name)],
);

module.exports = { tenants };
