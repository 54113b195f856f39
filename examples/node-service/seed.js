const { eq } = require('drizzle-orm');
const { connect, describe } = require('./src/database/client');
const { classes, heroes, heroItems, items } = require('./src/database/schema');
const { isUuid } = require('./src/uuid');

const CLASSES = [
  { slug: 'fighter', name: 'Fighter', hitDie: 10 },
  { slug: 'wizard', name: 'Wizard', hitDie: 6 },
  { slug: 'rogue', name: 'Rogue' },
  { slug: 'cleric', name: 'Cleric' },
];

const ITEMS = [
  { name: 'Longsword', priceGold: 15 },
  { name: 'Oak Staff', priceGold: 5 },
  { name: 'Healing Potion', priceGold: 50 },
  { name: 'Cloak of Shadows', rarity: 'rare', priceGold: 900 },
  { name: 'Crown of Embers', rarity: 'legendary', priceGold: 12000 },
];

const HEROES = [
  { name: 'Brenna', class: 'fighter', level: 3, carries: ['Longsword', 'Healing Potion'] },
  { name: 'Ilmar', class: 'wizard', level: 4, carries: ['Oak Staff'] },
  { name: 'Quill', class: 'rogue', level: 2, carries: ['Cloak of Shadows', 'Healing Potion'] },
];

// Returns how many rows were new.
async function insertMissing(tx, table, rows) {
  const result = await tx.insert(table).values(rows).onConflictDoNothing();
  return result.rowCount;
}

// Returns the ids of a tenant's rows by a readable key, also of rows that an earlier run inserted.
async function idsBy(tx, table, key, tenantId) {
  const rows = await tx
    .select({ id: table.id, key: table[key] })
    .from(table)
    .where(eq(table.tenantId, tenantId));
  return new Map(rows.map((row) => [row.key, row.id]));
}

async function seed(tx, tenantId) {
  const owned = (rows) => rows.map((row) => ({ ...row, tenantId }));
  const inserted = {};

  inserted.classes = await insertMissing(tx, classes, owned(CLASSES));
  inserted.items = await insertMissing(tx, items, owned(ITEMS));

  const classIds = await idsBy(tx, classes, 'slug', tenantId);
  inserted.heroes = await insertMissing(
    tx,
    heroes,
    HEROES.map(({ name, level, class: slug }) => ({
      tenantId,
      name,
      level,
      classId: classIds.get(slug),
    })),
  );

  const heroIds = await idsBy(tx, heroes, 'name', tenantId);
  const itemIds = await idsBy(tx, items, 'name', tenantId);
  inserted.heroItems = await insertMissing(
    tx,
    heroItems,
    HEROES.flatMap((hero) =>
      hero.carries.map((item) => ({ heroId: heroIds.get(hero.name), itemId: itemIds.get(item) })),
    ),
  );

  return inserted;
}

async function main() {
  const tenantId = process.argv[2] ?? process.env.SEED_TENANT_ID;
  if (!isUuid(tenantId)) {
    throw new Error('give the tenant as a UUID: node seed.js UUID, or SEED_TENANT_ID');
  }

  const { pool, db } = connect();
  try {
    const inserted = await db.transaction((tx) => seed(tx, tenantId));
    const total = Object.values(inserted).reduce((sum, count) => sum + count, 0);
    const parts = Object.entries(inserted).map(([name, count]) => `${name} ${count}`);
    console.log(`seed: inserted ${total} rows for tenant ${tenantId} (${parts.join(', ')})`);
  } finally {
    await pool.end();
  }
}

main().catch((error) => {
  console.error(`seed: ${describe(error)}`);
  process.exitCode = 1;
});
