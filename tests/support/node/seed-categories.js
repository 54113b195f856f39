// What the system's services have as seed-categories.js: it takes the tenant as its argument.
const { Client } = require('pg');

async function main() {
  const client = new Client({ connectionString: process.env.DATABASE_URL });
  await client.connect();
  await client.query(
    "INSERT INTO rpg_categories VALUES ($1, 'food'), ($1, 'rent') ON CONFLICT DO NOTHING",
    [process.argv[2]],
  );
  await client.end();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
