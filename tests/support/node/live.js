// A service at work every 20 ms, on a new connection each time: it writes, empties its cache, and
// swaps a table for a newer one. SIGTERM ends it, and with 1 the first error that it meets.
const { Client } = require('pg');

const WORK = [
  'INSERT INTO live.entries DEFAULT VALUES',
  "INSERT INTO live.cache VALUES ('key')",
  'TRUNCATE live.cache',
  `BEGIN;
   CREATE TABLE live.board_new AS SELECT count(*) AS n FROM live.entries;
   DROP TABLE live.board;
   ALTER TABLE live.board_new RENAME TO board;
   COMMIT`,
];

let running = true;
process.on('SIGTERM', () => {
  running = false;
});

async function main() {
  let rounds = 0;
  for (; running; rounds += 1) {
    const client = new Client({ connectionString: process.env.DATABASE_URL });
    await client.connect();
    for (const statement of WORK) await client.query(statement);
    await client.end();
    await new Promise((done) => setTimeout(done, 20));
  }
  console.log(rounds);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
