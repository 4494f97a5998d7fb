// Makes `npm start` and `npm test` work on a fresh clone: installs the dependencies and builds when something is
// missing or stale. Plain JavaScript that runs on the system's Node 20 and newer; everything after it runs on the
// Node 24 that the dependencies bring.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const NODE_MAJOR_MIN = 20;

if (Number(process.versions.node.split('.')[0]) < NODE_MAJOR_MIN) {
  console.error(`runoff needs Node ${NODE_MAJOR_MIN} or newer to set itself up; this is ${process.versions.node}.`);
  process.exit(1);
}

function modified(path) {
  return existsSync(path) ? statSync(path).mtimeMs : 0;
}

function newest(folder) {
  let latest = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    latest = Math.max(latest, entry.isDirectory() ? newest(path) : statSync(path).mtimeMs);
  }
  return latest;
}

function run(what, command, args, env) {
  console.error(`${what} …`);
  const started = Date.now();
  const result = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 'inherit'], env });
  if (result.status !== 0) {
    console.error(`${what} failed (${result.error?.message ?? `exit code ${result.status}`}).`);
    console.error('Check the network connection and the free disk space, then type the same command again.');
    process.exit(1);
  }
  console.error(`${what}: done in ${Math.round((Date.now() - started) / 1000)} s`);
}

// npm tells its scripts where its own program is: no shell and no npm.cmd needed.
const npm = process.env.npm_execpath;
const installed = modified(join(root, 'node_modules', '.package-lock.json'));
if (installed < modified(join(root, 'package-lock.json'))) {
  if (npm === undefined) {
    console.error('Type npm start or npm test: this script is run by npm.');
    process.exit(1);
  }
  run('Installing dependencies (about 30 s)', process.execPath, [
    npm,
    'ci',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
  ]);
}

const node = join(root, 'node_modules', 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
const runtime = existsSync(node) ? node : process.execPath;
const built = modified(join(root, 'dist', '.built'));
if (built < newest(join(root, 'src')) || built < modified(join(root, 'package.json'))) {
  run('Building runoff', runtime, [join(root, 'scripts', 'build.mjs')]);
}
