/** Prints by how much this process grew at most, bytes, over some hundred damaged files for every reader. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { READERS } from './readers.ts';
import { survive } from './survive.ts';

/** Of every reader; the first of the 2,000. */
const FILES = 100;
/** With all modules. */
const beforeBytes = process.memoryUsage.rss();

for (const [name, { prepare, codes }] of Object.entries(READERS)) {
  const folder = await mkdtemp(join(tmpdir(), 'runoff-damage-'));
  const reader = await prepare(folder);
  await survive(name, reader, { count: FILES, codes });
  await reader.close?.();
  await rm(folder, { recursive: true, force: true });
}
// In KiB on every system.
console.log(process.resourceUsage().maxRSS * 1024 - beforeBytes);
