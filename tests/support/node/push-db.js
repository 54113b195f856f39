// What the system's services have as push-db.js: written by hand, it creates what is missing.
const { Client } = require('pg');
const { enums, tables, columns, indexes } = require('./schema.js');

const quoted = (value) => `'${value}'`;

async function main() {
  const client = new Client({ connectionString: process.env.DATABASE_URL });
  await client.connect();
  const steps = [
    ...Object.entries(enums).flatMap(([name, values]) => [
      `DO $$ BEGIN CREATE TYPE ${name} AS ENUM (${values.map(quoted)});
       EXCEPTION WHEN duplicate_object THEN null; END $$`,
      ...values.map((value) => `ALTER TYPE ${name} ADD VALUE IF NOT EXISTS ${quoted(value)}`),
    ]),
    ...Object.entries(tables).map(([name, body]) => `CREATE TABLE IF NOT EXISTS ${name} (${body})`),
    ...columns.map(([table, column]) => `ALTER TABLE ${table} ADD COLUMN IF NOT EXISTS ${column}`),
    ...indexes.map(([name, on]) => `CREATE INDEX IF NOT EXISTS ${name} ON ${on}`),
  ];
  for (const [done, step] of steps.entries()) {
    process.stdout.write(`\r⏳ ${done + 1}/${steps.length} ${step.slice(0, 30)}`);
    await client.query(step);
  }
  process.stdout.write('\r✅ Database schema pushed\n');
  await client.end();
}

main().catch((error) => {
  console.error(`\n❌ Error pushing schema: ${error.message}`);
  process.exit(1);
});
