const { sql } = require('drizzle-orm');

const { connect, describe } = require('./src/database/client');
const { tenants } = require('./src/database/schema');

// Its id is made here once; the other services ask for it by this name.
const NAME = 'gaqno-development';

// Who may look it up in this database: a role that can do nothing else here.
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
