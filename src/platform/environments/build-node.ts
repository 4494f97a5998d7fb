import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { runStep } from './build-step.ts';
import type { BuildContext } from './build-step.ts';
import type { Definition } from './definition.ts';
import { withBinaries } from './node-binaries.ts';
import type { NodeBinaries } from './node-binaries.ts';

const installedSchema = z.object({
  packages: z.record(z.string(), z.object({ version: z.string().optional(), optional: z.boolean().optional() })),
});
const CHECK_FILE = 'check.mjs';
const NODE_MODULES = 'node_modules/';

/**
 * A folder with node_modules from the committed lock file and the chosen binaries; no install script runs.
 * @returns installed packages with their versions
 */
export async function buildNode(
  context: BuildContext,
  definition: Definition,
  { binaries, npmCli }: { readonly binaries: NodeBinaries; readonly npmCli: string },
): Promise<Record<string, string>> {
  const { root, title, onProgress } = context;
  await mkdir(root, { recursive: true });
  const [packageJson, lock] = await Promise.all(
    ['package.json', 'package-lock.json'].map((name) => readFile(join(definition.folder, name), 'utf8')),
  );
  const files = withBinaries({ packageJson: packageJson ?? '', lock: lock ?? '' }, binaries.packages);
  await writeFile(join(root, 'package.json'), files.packageJson);
  await writeFile(join(root, 'package-lock.json'), files.lock);
  onProgress(`${title}: downloading`);
  await runStep(context, {
    what: 'npm ci',
    command: process.execPath,
    args: [
      npmCli, 'ci', '--prefix', root, '--omit=optional', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund',
      '--no-update-notifier', '--loglevel=error',
    ],
  });
  onProgress(`${title}: checking`);
  // A file, not --eval: node-llama-cpp forks to try its binary, and a fork inherits Node's own switches.
  await writeFile(join(root, CHECK_FILE), definition.check);
  const gpu = binaries.variant === 'cpu' ? false : 'auto';
  await runStep(context, { what: 'the check', command: process.execPath, args: [join(root, CHECK_FILE), JSON.stringify(gpu)] });
  return installedPackages(root);
}

/** npm's own list of what it installed; what it left out is named there, too. */
async function installedPackages(root: string): Promise<Record<string, string>> {
  const text = await readFile(join(root, NODE_MODULES, '.package-lock.json'), 'utf8');
  const entries = Object.entries(installedSchema.parse(JSON.parse(text)).packages);
  return Object.fromEntries(
    entries
      .filter(([path, { version }]) => version !== undefined && path.lastIndexOf(NODE_MODULES) === 0)
      .map(([path, { version }]) => [path.slice(NODE_MODULES.length), version ?? '']),
  );
}
