const {
  index,
  pgTableCreator,
  text,
  timestamp,
  uniqueIndex,
  uuid,
  varchar,
} = require('drizzle-orm/pg-core');

if (!process.env.TABLE_PREFIX) {
  throw new Error('TABLE_PREFIX is not set');
}

// One code base, several services: the tables of each have its own prefix.
const prefixed = (name) => `${process.env.TABLE_PREFIX}${name}`;
const pgTable = pgTableCreator(prefixed);

const categories = pgTable(
  'categories',
  {
    id: uuid('id').primaryKey().defaultRandom(),
    tenantId: uuid('tenant_id').notNull(),
    slug: varchar('slug', { length: 40 }).notNull(),
    name: text('name').notNull(),
  },
  (t) => [uniqueIndex(prefixed('categories_tenant_slug_key')).on(t.tenantId, t.slug)],
);

const entries = pgTable(
  'entries',
  {
    id: uuid('id').primaryKey().defaultRandom(),
    tenantId: uuid('tenant_id').notNull(),
    categoryId: uuid('category_id')
      .notNull()
      .references(() => categories.id),
    title: text('title').notNull(),
    createdAt: timestamp('created_at', { withTimezone: true }).notNull().defaultNow(),
  },
  (t) => [index(prefixed('entries_tenant_idx')).on(t.tenantId)],
);

module.exports = { categories, entries };
