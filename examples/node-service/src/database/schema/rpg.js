const {
  boolean,
  index,
  integer,
  pgEnum,
  pgTable,
  text,
  timestamp,
  uniqueIndex,
  uuid,
} = require('drizzle-orm/pg-core');
const { campaigns, classes } = require('./dnd');

const itemRarity = pgEnum('rpg_item_rarity', ['common', 'uncommon', 'rare', 'legendary']);
const questStatus = pgEnum('rpg_quest_status', ['open', 'accepted', 'completed', 'failed']);

const heroes = pgTable(
  'rpg_heroes',
  {
    id: uuid('id').primaryKey().defaultRandom(),
    tenantId: uuid('tenant_id').notNull(),
    name: text('name').notNull(),
    classId: uuid('class_id')
      .notNull()
      .references(() => classes.id),
    level: integer('level').notNull().default(1),
    createdAt: timestamp('created_at', { withTimezone: true }).notNull().defaultNow(),
  },
  (t) => [uniqueIndex('rpg_heroes_tenant_name_key').on(t.tenantId, t.name)],
);

const items = pgTable(
  'rpg_items',
  {
    id: uuid('id').primaryKey().defaultRandom(),
    tenantId: uuid('tenant_id').notNull(),
    name: text('name').notNull(),
    rarity: itemRarity('rarity').notNull().default('common'),
    priceGold: integer('price_gold').notNull().default(0),
  },
  (t) => [uniqueIndex('rpg_items_tenant_name_key').on(t.tenantId, t.name)],
);

const heroItems = pgTable(
  'rpg_hero_items',
  {
    id: uuid('id').primaryKey().defaultRandom(),
    heroId: uuid('hero_id')
      .notNull()
      .references(() => heroes.id, { onDelete: 'cascade' }),
    itemId: uuid('item_id')
      .notNull()
      .references(() => items.id, { onDelete: 'cascade' }),
    quantity: integer('quantity').notNull().default(1),
    equipped: boolean('equipped').notNull().default(false),
  },
  // Not a composite primary key: drizzle-kit 0.31 recreates such a key at every push to PostgreSQL 18.
  (t) => [uniqueIndex('rpg_hero_items_hero_item_key').on(t.heroId, t.itemId)],
);

const quests = pgTable(
  'rpg_quests',
  {
    id: uuid('id').primaryKey().defaultRandom(),
    tenantId: uuid('tenant_id').notNull(),
    campaignId: uuid('campaign_id').references(() => campaigns.id, { onDelete: 'set null' }),
    heroId: uuid('hero_id').references(() => heroes.id, { onDelete: 'set null' }),
    title: text('title').notNull(),
    status: questStatus('status').notNull().default('open'),
    rewardGold: integer('reward_gold').notNull().default(0),
    createdAt: timestamp('created_at', { withTimezone: true }).notNull().defaultNow(),
  },
  (t) => [index('rpg_quests_tenant_status_idx').on(t.tenantId, t.status)],
);

module.exports = { itemRarity, questStatus, heroes, items, heroItems, quests };
