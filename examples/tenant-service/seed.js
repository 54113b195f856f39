const { connect, describe } = require('./src/database/client');
const { categories } = require('./src/database/schema');
const { isUuid } = require('./src/uuid');

const CATEGORIES = [
  { slug: 'general', name: 'General' },
  { slug: 'customers', name: 'Customers' },
  { slug: 'suppliers', name: 'Suppliers' },
];

async function main() {
  const tenantId = process.argv[2];
  if (!isUuid(tenantId)) {
    throw new Error('give the tenant as a UUID: node seed.js UUID');
  }

  const { pool, db } = connect();
  try {
    const rows = CATEGORIES.map((category) => ({ ...category, tenantId }));
    const { rowCount } = await db.insert(categories).values(rows).onConflictDoNothing();
    console.log(`seed: inserted ${rowCount} rows for tenant ${tenantId}`);
  } finally {
    await pool.end();
  }
}

main().catch((error) => {
  console.error(`seed: ${describe(error)}`);
  process.exitCode = 1;
});
