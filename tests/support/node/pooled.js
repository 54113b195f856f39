// A push or seed with a pool of connections: argument "forget" leaves it open at the end.
const { Pool } = require("pg");

const pool = new Pool({ connectionString: process.env.DATABASE_URL, idleTimeoutMillis: 0 });

async function main() {
  await pool.query("create table if not exists rpg_heroes (name text)");
  await Promise.all([1, 2].map((n) => pool.query("insert into rpg_heroes values ($1)", [`${n}`])));
  console.log("done");
  if (process.argv[2] !== "forget") await pool.end();
}

main();
