const { defineConfig } = require('drizzle-kit');

module.exports = defineConfig({
  dialect: 'postgresql',
  schema: './src/database/schema/index.js',
  dbCredentials: { url: process.env.DATABASE_URL },
});
