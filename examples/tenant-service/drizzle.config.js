const { defineConfig } = require('drizzle-kit');

module.exports = defineConfig({
  dialect: 'postgresql',
  schema: './src/database/schema.js',
  tablesFilter: [`${process.env.TABLE_PREFIX}*`],
  dbCredentials: { url: process.env.DATABASE_URL },
});
