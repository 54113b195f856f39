// Prisma's own engine is a download; this one comes with the package, and speaks through node-postgres.
const { PrismaPg } = require('@prisma/adapter-pg');
const Result = require('pg/lib/result');

const CHAR = 18;
const NAME = 19;
const TEXT = 25;
const CHARACTER = 6;

// The adapter knows neither of two types of the catalogs, which this engine asks for.
const { addFields } = Result.prototype;
Result.prototype.addFields = function (fields) {
  for (const field of fields) {
    if ([CHAR, NAME].includes(field.dataTypeID)) field.dataTypeID = TEXT;
  }
  return addFields.call(this, fields);
};

// It and the pool leave timers running, of a minute and of ten seconds, for which Node would wait.
const { setTimeout } = globalThis;
globalThis.setTimeout = (callback, ms, ...rest) => {
  const timer = setTimeout(callback, ms, ...rest);
  return ms >= 10_000 ? timer.unref() : timer;
};

async function adapter() {
  const factory = new PrismaPg({
    connectionString: process.env.DATABASE_URL,
    allowExitOnIdle: true,
  });
  const connect = factory.connect.bind(factory);
  factory.connect = async () => {
    const connection = await connect();
    const queryRaw = connection.queryRaw.bind(connection);
    connection.queryRaw = async (query) => {
      const result = await queryRaw(query);
      const at = result.columnNames.indexOf('constraint_type');
      if (at >= 0) result.columnTypes[at] = CHARACTER;
      return result;
    };
    return connection;
  };
  return factory;
}

module.exports = { schema: 'schema.prisma', engine: 'js', experimental: { adapter: true }, adapter };
