const http = require('node:http');
const { asc, eq, sql } = require('drizzle-orm');
const { connect, describe } = require('./src/database/client');
const { categories } = require('./src/database/schema');
const { isUuid } = require('./src/uuid');

const HOST = '0.0.0.0';
const port = Number(process.env.PORT || 4004);

function send(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

async function health(db, response) {
  try {
    await db.execute(sql`select 1`);
    send(response, 200, { status: 'ok' });
  } catch (error) {
    console.error(`health: ${describe(error)}`);
    send(response, 503, { status: 'unavailable' });
  }
}

async function listCategories(db, response, tenantId) {
  if (!isUuid(tenantId)) {
    return send(response, 400, { error: 'tenant must be a UUID' });
  }
  const rows = await db
    .select({ id: categories.id, slug: categories.slug, name: categories.name })
    .from(categories)
    .where(eq(categories.tenantId, tenantId))
    .orderBy(asc(categories.slug));
  send(response, 200, { categories: rows });
}

function route(db, request, response) {
  const [pathname, query] = request.url.split('?');
  if (request.method !== 'GET') {
    return send(response, 405, { error: 'method not allowed' });
  }
  if (pathname === '/v1/health') {
    return health(db, response);
  }
  if (pathname === '/v1/categories') {
    return listCategories(db, response, new URLSearchParams(query).get('tenant'));
  }
  return send(response, 404, { error: 'not found' });
}

function main() {
  const { pool, db } = connect();

  const server = http.createServer(async (request, response) => {
    try {
      await route(db, request, response);
    } catch (error) {
      console.error(`${request.method} ${request.url}: ${describe(error)}`);
      send(response, 500, { error: 'internal error' });
    }
  });

  let stopping = false;
  const stop = (signal) => {
    if (stopping) return;
    stopping = true;
    console.log(`${signal}: stopping`);
    server.close(async () => {
      await pool.end();
      process.exit(0);
    });
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);

  server.on('error', (error) => {
    console.error(`server: ${error.message}`);
    process.exit(1);
  });
  server.listen(port, HOST, () => {
    console.log(`listening on ${HOST}:${port}`);
  });
}

try {
  main();
} catch (error) {
  console.error(`server: ${describe(error)}`);
  process.exit(1);
}
