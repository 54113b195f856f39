const { defineConfig } = require('drizzle-kit');

module.exports = defineConfig({
  dialect: 'postgresql',
  schema: './src/database/schema.js',
  dbCredentials: { url: process.env.DATABASE_URL },
});
