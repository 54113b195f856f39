const {
  date,
  index,
  integer,
  pgEnum,
  pgTable,
  text,
  timestamp,
  uniqueIndex,
  uuid,
  varchar,
} = require('drizzle-orm/pg-core');

const campaignStatus = pgEnum('dnd_campaign_status', ['draft', 'active', 'finished']);

const classes = pgTable(
  'dnd_classes',
  {
    id: uuid('id').primaryKey().defaultRandom(),
    tenantId: uuid('tenant_id').notNull(),
    slug: varchar('slug', { length: 40 }).notNull(),
    name: text('name').notNull(),
    hitDie: integer('hit_die').notNull().default(8),
  },
  (t) => [uniqueIndex('dnd_classes_tenant_slug_key').on(t.tenantId, t.slug)],
);

const campaigns = pgTable(
  'dnd_campaigns',
  {
    id: uuid('id').primaryKey().defaultRandom(),
    tenantId: uuid('tenant_id').notNull(),
    title: text('title').notNull(),
    status: campaignStatus('status').notNull().default('draft'),
    createdAt: timestamp('created_at', { withTimezone: true }).notNull().defaultNow(),
  },
  (t) => [index('dnd_campaigns_tenant_idx').on(t.tenantId)],
);

const sessions = pgTable(
  'dnd_sessions',
  {
    id: uuid('id').primaryKey().defaultRandom(),
    campaignId: uuid('campaign_id')
      .notNull()
      .references(() => campaigns.id, { onDelete: 'cascade' }),
    number: integer('number').notNull(),
    playedOn: date('played_on'),
    notes: text('notes').notNull().default(''),
  },
  (t) => [uniqueIndex('dnd_sessions_campaign_number_key').on(t.campaignId, t.number)],
);

module.exports = { campaignStatus, classes, campaigns, sessions };
