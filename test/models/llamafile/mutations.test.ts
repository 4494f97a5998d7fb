/** Whatever is changed in a llamafile: a typed error or a valid answer, never a crash, never a long wait. */
import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { AppError } from '../../../src/core/errors.ts';
import { createRandom, type Random } from '../../../src/core/random.ts';
import { llamafileHazards } from '../../../src/models/llamafile/hazards.ts';
import { readLlamafile } from '../../../src/models/llamafile/read-llamafile.ts';
import { fixturePath, temporaryFolder } from '../fixture.ts';
import { text, writeFakeLlamafile } from './fake-llamafile.ts';

const FILES = 2_000;
/** A slow machine reads one in some milliseconds. */
const ONE_FILE_MS_MAX = 5_000;
const ABSURD = [
  0n,
  1n,
  0x7fn,
  0xffn,
  0xffffn,
  0x7fff_ffffn,
  0xffff_ffffn,
  2n ** 40n,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
];

const folder = await temporaryFolder();
const tiny = readFileSync(fixturePath('tiny-llama.gguf'));

interface Original {
  readonly bytes: Buffer;
  /** Half-open: where the format's fields are; elsewhere changes do little. */
  readonly fields: readonly (readonly [number, number])[];
}

async function original(zip64: boolean): Promise<Original> {
  const path = join(folder, `original-${zip64}.llamafile`);
  const entries = [
    text('note', 'plain'),
    { name: 'tiny.gguf', bytes: tiny, alignment: 64 },
    text('.args', '-m tiny.gguf "quoted \\n" $HOME ...', true),
  ];
  const layout = await writeFakeLlamafile(path, { zip64, programBytes: 9_000, versionAt: 8_500, entries });
  const bytes = await readFile(path);
  const headers = Object.values(layout.entries).map(({ header, data }) => [header, data] as const);
  const { data } = layout.entries['tiny.gguf']!;
  const args = layout.entries['.args']!.data;
  return {
    bytes,
    fields: [
      [0, 300],
      ...headers,
      [data, data + 1_500],
      [args, layout.directory],
      [layout.directory, bytes.length],
      [layout.directory, bytes.length],
    ],
  };
}

function mutated({ bytes, fields }: Original, random: Random): Buffer {
  const copy = Buffer.from(bytes);
  for (let change = 0; change <= random.integer(3); change++) {
    const [from, to] = fields[random.integer(fields.length)]!;
    const at = from + random.integer(to - from);
    const kind = random.integer(5);
    if (kind === 0) copy[at] = random.integer(256);
    if (kind === 1) copy[at] = copy[at]! ^ (1 << random.integer(8));
    if (kind === 2) writeAbsurd(copy, at, random);
    if (kind === 3) copy.copyWithin(at, random.integer(copy.length), random.integer(copy.length));
    if (kind === 4 && random.integer(4) === 0) return copy.subarray(0, random.integer(copy.length));
  }
  return copy;
}

function writeAbsurd(copy: Buffer, at: number, random: Random): void {
  const value = Buffer.alloc(8);
  value.writeBigUInt64LE(ABSURD[random.integer(ABSURD.length)]!);
  value.copy(copy, at, 0, 1 << random.integer(4));
}

it(`reads or refuses ${FILES} damaged files`, { timeout: 120_000 }, async () => {
  const originals = [await original(false), await original(true)];
  const random = createRandom('damaged llamafiles');
  const path = join(folder, 'case.llamafile');
  const outcomes = { read: 0, refused: 0 };
  const reasons = new Set<string>();
  let slowestMs = 0;
  for (let file = 0; file < FILES; file++) {
    await writeFile(path, mutated(originals[file % 2]!, random));
    const startedMs = performance.now();
    try {
      llamafileHazards(await readLlamafile(path));
      outcomes.read += 1;
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      outcomes.refused += 1;
      reasons.add(`${error.code}: ${error.message.replaceAll(/\d+|".*"/g, 'N')}`);
    }
    slowestMs = Math.max(slowestMs, performance.now() - startedMs);
  }
  // Otherwise the damage never reaches the checks, or never passes them.
  expect(outcomes.read).toBeGreaterThan(FILES / 10);
  expect(outcomes.refused).toBeGreaterThan(FILES / 4);
  expect(reasons.size).toBeGreaterThan(30);
  expect(slowestMs).toBeLessThan(ONE_FILE_MS_MAX);
});
