/** Damaged llamafiles: the zip's records, the program's head, the model and the arguments inside. */
import { deepStrictEqual, strictEqual } from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { extractGguf } from '../../../src/models/llamafile/extract.ts';
import { llamafileHazards } from '../../../src/models/llamafile/hazards.ts';
import { readLlamafile } from '../../../src/models/llamafile/read-llamafile.ts';
import { text, writeFakeLlamafile } from '../llamafile/fake-llamafile.ts';
import { damageBytes, pick, type ByteRange } from './damage.ts';
import type { PrepareReader } from './survive.ts';

const TINY = fileURLToPath(new URL('../fixtures/tiny-llama.gguf', import.meta.url));
/** Writing a model costs more than reading all of the rest. */
const EXTRACTED_EVERY = 3;
const ARGUMENTS = ['-m', 'tiny.gguf', 'quoted \n', '$HOME', '...'];

interface Original {
  readonly bytes: Buffer;
  readonly fields: readonly ByteRange[];
}

async function original(path: string, model: Buffer, zip64: boolean): Promise<Original> {
  const entries = [
    text('note', 'plain'),
    { name: 'tiny.gguf', bytes: model, alignment: 64 },
    text('.args', String.raw`-m tiny.gguf "quoted \n" $HOME ...`, true),
  ];
  const layout = await writeFakeLlamafile(path, { zip64, programBytes: 9_000, versionAt: 8_500, entries });
  const bytes = readFileSync(path);
  const headers = Object.values(layout.entries).map(({ header, data }): ByteRange => [header, data]);
  const { data } = layout.entries['tiny.gguf'] as { data: number };
  const args = (layout.entries['.args'] as { data: number }).data;
  const directory: ByteRange = [layout.directory, bytes.length];
  return {
    bytes,
    fields: [[0, 300], ...headers, [data, data + 1_500], [args, layout.directory], directory, directory],
  };
}

const NAMES = ['../n', '/abs', String.raw`a\b`, 'C:\\x', 'note', '.args'];

/** A name that leads out of a folder, or that another entry has, in both of the places where names are. */
function renamed({ bytes }: Original, from: string, to: string): Buffer {
  const copy = Buffer.from(bytes);
  const name = Buffer.from(to.padEnd(from.length, 'x').slice(0, from.length));
  for (let at = copy.indexOf(from); at >= 0; at = copy.indexOf(from, at + 1)) name.copy(copy, at);
  return copy;
}

export const prepareLlamafile: PrepareReader = async (folder) => {
  const path = join(folder, 'case.llamafile');
  const out = join(folder, 'out.gguf');
  const model = readFileSync(TINY);
  const originals = [await original(path, model, false), await original(path, model, true)];
  return {
    async damage(random, index) {
      const whole = originals[index % 2] as Original;
      const isRenamed = random.integer(20) === 0;
      const bytes = isRenamed
        ? renamed(whole, pick(['tiny.gguf', 'note', '.args'], random), pick(NAMES, random))
        : damageBytes(whole.bytes, random, whole.fields);
      writeFileSync(path, bytes);
      return [
        async () => {
          const facts = await readLlamafile(path);
          llamafileHazards(facts);
          // Arguments have a checksum of their own: what is read was written.
          if (facts.defaults !== null && facts.version === '0.9.3') deepStrictEqual(facts.defaults.words, ARGUMENTS);
          for (const { entry } of index % EXTRACTED_EVERY === 0 ? facts.models : []) {
            const { name, dataOffset, byteLength, method } = entry;
            if (name !== 'tiny.gguf' || method !== 'stored') continue;
            const inside = bytes.subarray(dataOffset, dataOffset + byteLength);
            try {
              await extractGguf(path, entry, out);
              // The checksum holds: it is the model, whatever else was changed.
              strictEqual(inside.equals(model), true);
              strictEqual(readFileSync(out).equals(model), true);
            } finally {
              rmSync(out, { force: true });
            }
          }
        },
      ];
    },
  };
};
