const { defineConfig } = require('@mikro-orm/postgresql');
const { Migrator } = require('@mikro-orm/migrations');

module.exports = defineConfig({
  clientUrl: process.env.DATABASE_URL,
  discovery: { warnWhenNoEntities: false },
  extensions: [Migrator],
  entities: [],
  migrations: { path: 'migrations', glob: '!(*.d).js', snapshot: false },
});
