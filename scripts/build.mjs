// Compiles src to dist and copies what the compiler leaves behind (Python workers).
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const dist = join(root, 'dist');

rmSync(dist, { recursive: true, force: true });
const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
const result = spawnSync(process.execPath, [compiler, '-p', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' });
if (result.status !== 0) process.exit(1);
cpSync(join(root, 'src'), dist, {
  recursive: true,
  filter: (source) => !/\.tsx?$/.test(source),
});
chmodSync(join(dist, 'cli', 'main.js'), 0o755);
writeFileSync(join(dist, '.built'), '');
