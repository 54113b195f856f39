const { connect, describe } = require('./src/database/client');
const { tenants } = require('./src/database/schema');

// Its id is made here once; the other services ask for it by this name.
const NAME = 'gaqno-development';

async function main() {
  const { pool, db } = connect();
  try {
    const { rowCount } = await db.insert(tenants).values({ name: NAME }).onConflictDoNothing();
    console.log(`seed: inserted ${rowCount} rows`);
  } finally {
    await pool.end();
  }
}

main().catch((error) => {
  console.error(`seed: ${describe(error)}`);
  process.exitCode = 1;
});
