const { spawn } = require('node:child_process');
const os = require('node:os');
const path = require('node:path');

if (!process.env.DATABASE_URL) {
  console.error('push-db: DATABASE_URL is not set');
  process.exit(1);
}

// Starts drizzle-kit directly: npx would be one more process between a signal
// and drizzle-kit.
const drizzleKit = path.join(__dirname, 'node_modules', 'drizzle-kit', 'bin.cjs');

const child = spawn(process.execPath, [drizzleKit, 'push', ...process.argv.slice(2)], {
  cwd: __dirname,
  stdio: 'inherit',
});

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, () => child.kill(signal));
}

child.on('error', (error) => {
  console.error(`push-db: cannot start drizzle-kit: ${error.message}`);
  process.exit(1);
});

child.on('exit', (code, signal) => {
  process.exit(signal ? 128 + os.constants.signals[signal] : code);
});
