const { drizzle } = require('drizzle-orm/node-postgres');
const { Pool } = require('pg');
const schema = require('./schema');

function connect() {
  if (!process.env.DATABASE_URL) {
    throw new Error('DATABASE_URL is not set');
  }
  const pool = new Pool({
    connectionString: process.env.DATABASE_URL,
    // Every service shares one PostgreSQL server, so none may hog its connections.
    max: 5,
    connectionTimeoutMillis: 3000,
  });
  // Without a listener, a connection lost while idle would end the process.
  pool.on('error', (error) => console.error(`database: ${describe(error)}`));
  return { pool, db: drizzle(pool, { schema }) };
}

// One line, without the SQL and parameters that Drizzle puts in its own message.
// A refused connection to a host with several addresses has a code but no message.
function describe(error) {
  const reason = error.cause ?? error;
  return (reason.message || reason.code || 'unknown error').split('\n')[0];
}

module.exports = { connect, describe };
