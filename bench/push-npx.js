// Drizzle's own words, `npx drizzle-kit push`, in the place of the example's push-db.js.
const { spawnSync } = require('node:child_process');

const { status } = spawnSync('npx', ['drizzle-kit', 'push'], {
  cwd: __dirname,
  stdio: 'inherit',
  // Or npx asks the registry, once a week, whether there is a newer npm.
  env: { ...process.env, npm_config_update_notifier: 'false' },
});
process.exit(status ?? 1);
