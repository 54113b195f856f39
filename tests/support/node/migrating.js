// A service that runs the migrations of drizzle-orm when it starts, as some do beside a push.
const { drizzle } = require('drizzle-orm/node-postgres');
const { migrate } = require('drizzle-orm/node-postgres/migrator');
const { Pool } = require('pg');

async function main() {
  const pool = new Pool({ connectionString: process.env.DATABASE_URL });
  await migrate(drizzle(pool), { migrationsFolder: './drizzle' });
  await pool.end();
  console.log('served');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
