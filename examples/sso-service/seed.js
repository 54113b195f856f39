const { sql } = require('drizzle-orm');

const { connect, describe } = require('./src/database/client');
const { tenants } = require('./src/database/schema');

// This seed makes the tenant's id, once; the other services ask for the id by this name.
const NAME = 'gaqno-development';

// The role that may look the tenant up in this database, and may do nothing else here.
const READER = process.env.TENANT_READER;

async function main() {
  const { pool, db } = connect();
  try {
    const { rowCount } = await db.insert(tenants).values({ name: NAME }).onConflictDoNothing();
    console.log(`seed: inserted ${rowCount} rows`);
    if (READER) {
      const { rows } = await db.execute(sql`select current_database() as name`);
      const reader = sql.identifier(READER);
      await db.execute(sql`grant connect on database ${sql.identifier(rows[0].name)} to ${reader}`);
      await db.execute(sql`grant select on sso_tenants to ${reader}`);
    }
  } finally {
    await pool.end();
  }
}

main().catch((error) => {
  console.error(`seed: ${describe(error)}`);
  process.exitCode = 1;
});
