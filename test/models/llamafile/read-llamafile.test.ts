import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { embeddedGguf, readLlamafile } from '../../../src/models/llamafile/read-llamafile.ts';
import { generationOf } from '../../../src/models/llamafile/version.ts';
import { failure, fixturePath, patched, temporaryFolder } from '../fixture.ts';
import { model, text, writeFakeLlamafile, type FakeLlamafile } from './fake-llamafile.ts';
import { largeGgufHeader } from './large-gguf.ts';

const TINY = readFileSync(fixturePath('tiny-llama.gguf'));
const hasPython = spawnSync('python3', ['--version']).status === 0;

describe('readLlamafile', async () => {
  const folder = await temporaryFolder();
  const path = join(folder, 'case.llamafile');
  const read = async (fake: FakeLlamafile) => {
    await writeFakeLlamafile(path, fake);
    return readLlamafile(path);
  };
  const usual = [model('tiny.gguf', TINY), text('.args', '-m\ntiny.gguf\n...\n')];

  it.each([false, true])('tells what is inside; zip64: %s', async (zip64) => {
    const layout = await writeFakeLlamafile(path, {
      zip64,
      entries: [text('usr/share/zoneinfo/UTC', 'x', true), ...usual],
    });
    const facts = await readLlamafile(path);
    expect({
      version: facts.version,
      generation: facts.generation,
      executable: facts.executable,
      defaults: facts.defaults,
    }).toEqual({
      version: '0.9.3',
      generation: '0.9',
      executable: { format: 'ape', magic: "MZqFpD='", architectures: ['x86_64', 'aarch64'] },
      defaults: { dialect: 'shell', words: ['-m', 'tiny.gguf', '...'] },
    });
    const [embedded] = facts.models;
    expect(facts.models).toHaveLength(1);
    expect(embedded).toMatchObject({
      aligned: true,
      entry: { name: 'tiny.gguf', method: 'stored', byteLength: TINY.length },
    });
    expect(embedded?.entry.dataOffset).toBe(layout.entries['tiny.gguf']?.data);
    expect(embedded?.summary).toMatchObject({ architecture: 'llama', quantisation: 'Q4_1', preTokenizer: 'smollm' });
    expect(embedded?.summary?.path).toMatch(/case\.llamafile:tiny\.gguf$/);
  });

  it('reads compressed arguments, in the dialect of the version', async () => {
    const entries = [text('.args', '-p\ntwo words\n', true)];
    expect((await read({ version: '0.8.16', entries })).defaults?.words).toEqual(['-p', 'two words']);
    expect((await read({ version: '0.8.17', entries })).defaults?.words).toEqual(['-p', 'two', 'words']);
  });

  it.each([0, 1, 65_535])('finds the directory before a comment of %d bytes', async (length) => {
    const plain = join(folder, 'plain.llamafile');
    await writeFakeLlamafile(plain, { entries: usual });
    await patched(plain, path, (bytes) => {
      bytes.writeUInt16LE(length, bytes.length - 2);
      return Buffer.concat([bytes, Buffer.alloc(length, 0x2e)]);
    });
    expect((await readLlamafile(path)).models.map(({ entry }) => entry.name)).toEqual(['tiny.gguf']);
  });

  it('knows a program without a zip, and every magic', async () => {
    const found = [];
    for (const magic of ["MZqFpD='", "jartsr='", "APEDBG='"])
      found.push(await read({ magic, machines: [183], entries: null }));
    expect(found.map(({ executable, zip, models, defaults }) => [executable, zip, models, defaults])).toEqual(
      ["MZqFpD='", "jartsr='", "APEDBG='"].map((magic) => [
        { format: 'ape', magic, architectures: ['aarch64'] },
        null,
        [],
        null,
      ]),
    );
  });

  it('knows programs of one system', async () => {
    const elf = Buffer.alloc(100);
    elf.write('\u007fELF', 'latin1');
    elf.writeUInt16LE(183, 18);
    const pe = Buffer.alloc(200);
    pe.write('MZ', 'latin1');
    pe.writeUInt32LE(128, 0x3c);
    pe.write('PE\0\0', 128, 'latin1');
    pe.writeUInt16LE(0x8664, 132);
    const universal = Buffer.alloc(100);
    universal.writeUInt32BE(0xcafe_babe, 0);
    universal.writeUInt32BE(2, 4);
    universal.writeUInt32BE(0x0100_0007, 8);
    universal.writeUInt32BE(0x0100_000c, 28);
    const found = [];
    for (const bytes of [elf, pe, universal]) {
      await writeFile(path, bytes);
      found.push((await readLlamafile(path)).executable);
    }
    expect(found).toEqual([
      { format: 'elf', magic: null, architectures: ['aarch64'] },
      { format: 'pe', magic: null, architectures: ['x86_64'] },
      { format: 'mach-o', magic: null, architectures: ['x86_64', 'aarch64'] },
    ]);
  });

  it('finds the version across the border of two reads, and never inside a model', async () => {
    const MIB = 1 << 20;
    for (const versionAt of [MIB - 20, MIB - 7, MIB, MIB + 3]) {
      expect((await read({ version: '0.10.1', programBytes: 3 * MIB, versionAt, entries: usual })).version).toBe(
        '0.10.1',
      );
    }
    const liar = Buffer.concat([TINY, Buffer.from('\0llamafile v0.6.2\n')]);
    expect((await read({ version: null, entries: [model('liar.gguf', liar)] })).version).toBeNull();
  });

  it('does not take a name or a longer number for the version', async () => {
    await writeFakeLlamafile(path, { version: '1.2.3.4', entries: null });
    expect((await readLlamafile(path)).version).toBeNull();
  });

  it('sorts versions into generations', () => {
    const versions = ['0.5.0', '0.6.2', '0.8.13', '0.8.14', '0.8.17', '0.9.0', '0.9.3', '0.10.0', '0.10.4', null];
    expect(versions.map(generationOf)).toEqual([
      '0.1-0.5',
      '0.6-0.8.13',
      '0.6-0.8.13',
      '0.8.14-0.8.17',
      '0.8.14-0.8.17',
      '0.9',
      '0.9',
      '0.10',
      '0.10',
      'unknown',
    ]);
  });

  it('sees an unaligned and a compressed model', async () => {
    const { models } = await read({
      entries: [
        { name: 'a.gguf', bytes: TINY, alignment: 32 },
        { name: 'b.gguf', bytes: TINY, deflated: true },
      ],
    });
    expect(models.map(({ aligned, summary }) => [aligned, summary?.architecture ?? null])).toEqual([
      [false, 'llama'],
      [false, null],
    ]);
  });

  it.runIf(hasPython)('reads what another program packed', async () => {
    await writeFakeLlamafile(path, { entries: null });
    const script = `
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'a') as z:
    z.writestr('.args', '-m\\ntiny.gguf\\n', zipfile.ZIP_DEFLATED)
    with z.open('tiny.gguf', 'w', force_zip64=True) as f: f.write(open(sys.argv[2], 'rb').read())`;
    execFileSync('python3', ['-c', script, path, fixturePath('tiny-llama.gguf')]);
    const facts = await readLlamafile(path);
    expect(facts.defaults?.words).toEqual(['-m', 'tiny.gguf']);
    expect(facts.models[0]?.summary?.architecture).toBe('llama');
  });

  /** Changes bytes of a usual file; `at` knows where things are. */
  type Damage = (
    bytes: Buffer,
    at: { local: number; data: number; args: number; central: number; end: number },
  ) => Buffer | void;
  const damages: Record<string, Damage> = {
    'an empty file': () => Buffer.alloc(0),
    'no program': (bytes) => void bytes.write('not a program', 0),
    'several disks': (bytes, { end }) => void bytes.writeUInt16LE(1, end + 4),
    'a directory beyond the file': (bytes, { end }) => void bytes.writeUInt32LE(0x7fff_ffff, end + 16),
    'a zip64 reference without the record': (bytes, { end }) => void bytes.writeUInt32LE(0xffff_ffff, end + 16),
    'an absurd entry count': (bytes, { end }) =>
      void (bytes.writeUInt16LE(0xffff, end + 8), bytes.writeUInt16LE(0xffff, end + 10)),
    'one entry too many': (bytes, { end }) => void (bytes.writeUInt16LE(3, end + 8), bytes.writeUInt16LE(3, end + 10)),
    'an absurd directory size': (bytes, { end }) => void bytes.writeUInt32LE(0x7000_0000, end + 12),
    'a wrong directory signature': (bytes, { central }) => void bytes.writeUInt8(0, central),
    'a name beyond the directory': (bytes, { central }) => void bytes.writeUInt16LE(60_000, central + 28),
    'an empty name': (bytes, { central }) => void bytes.writeUInt16LE(0, central + 28),
    encryption: (bytes, { central }) => void bytes.writeUInt16LE(1, central + 8),
    'a missing zip64 value': (bytes, { central }) => void bytes.writeUInt32LE(0xffff_ffff, central + 24),
    'an offset behind the directory': (bytes, { central }) => void bytes.writeUInt32LE(0x7fff_0000, central + 42),
    'an offset to something else': (bytes, { central }) => void bytes.writeUInt32LE(100, central + 42),
    'data that reaches into the directory': (bytes, { central }) =>
      void (bytes.writeUInt32LE(900_000, central + 20), bytes.writeUInt32LE(900_000, central + 24)),
    'two sizes of a stored entry': (bytes, { central }) => void bytes.writeUInt32LE(5, central + 24),
    'another name in the local header': (bytes, { local }) => void bytes.write('other', local + 30),
    'another method in the local header': (bytes, { local }) => void bytes.writeUInt16LE(8, local + 8),
    'overlapping entries': (bytes, { local, args, central }) => {
      bytes.copy(bytes, local + 200, args, args + 60);
      bytes.writeUInt32LE(local + 200, bytes.indexOf('.args', central) - 46 + 42);
    },
    'a name that leaves the folder': (bytes) => rename(bytes, 'tiny.gguf', '../y.gguf'),
    'an absolute name': (bytes) => rename(bytes, 'tiny.gguf', '/iny.gguf'),
    'a name with a backslash': (bytes) => rename(bytes, 'tiny.gguf', String.raw`a\ny.gguf`),
    'arguments with a wrong checksum': (bytes, { args }) => void bytes.write('X', args + 40),
    'a model that is none': (bytes, { data }) => void bytes.write('GGML', data),
  };

  function rename(bytes: Buffer, from: string, to: string): void {
    for (let at = bytes.indexOf(from); at >= 0; at = bytes.indexOf(from, at + 1)) bytes.write(to, at);
  }

  it('refuses damaged files with the reason', async () => {
    const whole = join(folder, 'whole.llamafile');
    const layout = await writeFakeLlamafile(whole, { entries: usual });
    const messages: Record<string, string> = {};
    for (const [name, damage] of Object.entries(damages)) {
      await patched(whole, path, (bytes) =>
        damage(bytes, {
          local: layout.entries['tiny.gguf']!.header,
          data: layout.entries['tiny.gguf']!.data,
          args: layout.entries['.args']!.header,
          central: layout.directory,
          end: bytes.length - 22,
        }),
      );
      const { code, message } = await failure(readLlamafile(path));
      messages[name] = `${code}: ${message}`.replaceAll(path, 'FILE');
    }
    expect(messages).toMatchSnapshot();
  });

  it('refuses absurd zip64 values, and a pointer that leads back to itself', async () => {
    const whole = join(folder, 'whole64.llamafile');
    await writeFakeLlamafile(whole, { zip64: true, entries: usual });
    const changes: Record<string, (bytes: Buffer) => void> = {
      count: (bytes) => void bytes.writeBigUInt64LE(2n ** 63n, bytes.length - 98 + 32),
      'directory size': (bytes) => void bytes.writeBigUInt64LE(2n ** 64n - 1n, bytes.length - 98 + 40),
      'directory offset': (bytes) => void bytes.writeBigUInt64LE(2n ** 60n, bytes.length - 98 + 48),
      'locator to itself': (bytes) => void bytes.writeBigUInt64LE(BigInt(bytes.length - 42), bytes.length - 42 + 8),
      'locator to anything': (bytes) => void bytes.writeBigUInt64LE(16n, bytes.length - 42 + 8),
      'two directories': (bytes) => void bytes.writeUInt32LE(64, bytes.length - 22 + 16),
      'entry offset': (bytes) => void bytes.writeBigUInt64LE(2n ** 62n, bytes.lastIndexOf('tiny.gguf') + 9 + 4 + 16),
    };
    const messages: Record<string, string> = {};
    for (const [name, change] of Object.entries(changes)) {
      await patched(whole, path, change);
      const { code, message } = await failure(readLlamafile(path));
      messages[name] = `${code}: ${message}`.replaceAll(path, 'FILE');
    }
    expect(messages).toMatchSnapshot();
  });

  it('refuses an entry that occurs twice', async () => {
    expect((await failure(read({ entries: [text('a', '1'), text('a', '2')] }))).message).toContain(
      'its entry a occurs twice',
    );
  });

  it('refuses arguments that unpack to more than they may', async () => {
    expect((await failure(read({ entries: [text('.args', 'x'.repeat(70_000), true)] }))).message).toContain(
      '.args has 70000 bytes',
    );
  });

  it('says when there is no file, or a folder', async () => {
    expect((await failure(readLlamafile(join(folder, 'absent')))).code).toBe('model-not-found');
    expect((await failure(readLlamafile(folder))).code).toBe('model-unsupported');
  });

  it.runIf(existsSync('/proc/self/io'))('reads a few megabytes of a file of 5 GB', async () => {
    const header = largeGgufHeader();
    const large = join(folder, 'large.llamafile');
    await writeFakeLlamafile(large, {
      programBytes: 8 << 20,
      versionAt: 8_000_000,
      entries: [model('large.gguf', header.bytes, header.byteLength), text('.args', '-m large.gguf ...')],
    });
    const handle = await open(large);
    expect((await handle.stat()).size).toBeGreaterThan(5e9);
    await handle.close();
    const before = await bytesRead();
    const facts = await readLlamafile(large);
    expect((await bytesRead()) - before).toBeLessThan(64 << 20);
    expect(facts).toMatchObject({
      version: '0.9.3',
      models: [{ aligned: true, summary: { vocabularySize: 128_256 } }],
    });
    expect(facts.models[0]!.summary!.weightBytes).toBeGreaterThan(4.9e9);
  });
});

/** Of this process, from files. */
async function bytesRead(): Promise<number> {
  return Number(/^rchar: (\d+)/m.exec(await readFile('/proc/self/io', 'utf8'))?.[1]);
}

describe('embeddedGguf', async () => {
  const folder = await temporaryFolder();
  const path = join(folder, 'x.llamafile');
  const facts = async (...names: string[]) => {
    await writeFakeLlamafile(path, { entries: names.map((name) => model(name, TINY)) });
    return readLlamafile(path);
  };

  it('takes the only model, or the named one', async () => {
    expect(embeddedGguf(await facts('a.gguf')).entry.name).toBe('a.gguf');
    expect(embeddedGguf(await facts('a.gguf', 'b.gguf'), 'b.gguf').entry.name).toBe('b.gguf');
  });

  it('takes the language model beside an image projector', async () => {
    const two = await facts('a.gguf', 'b.gguf');
    const [a, b] = two.models;
    const projector = { ...a!, summary: { ...a!.summary!, architecture: 'clip' } };
    expect(embeddedGguf({ ...two, models: [projector, b!] }).entry.name).toBe('b.gguf');
    expect(embeddedGguf({ ...two, models: [projector] }).entry.name).toBe('a.gguf');
  });

  it('asks for a choice, and names what there is', async () => {
    const ask = async (names: string[], name: string | null) => {
      const { code, message, hint } = await failure((async () => embeddedGguf(await facts(...names), name))());
      return `${code}: ${message} ${hint}`.replaceAll(path, 'X.llamafile');
    };
    expect([
      await ask(['a.gguf', 'b.gguf'], null),
      await ask(['a.gguf'], 'c.gguf'),
      await ask([], 'c.gguf'),
      await ask([], null),
    ]).toMatchInlineSnapshot(`
      [
        "usage: X.llamafile holds several models: a.gguf, b.gguf. Name one of them: X.llamafile:a.gguf",
        "model-not-found: X.llamafile does not hold c.gguf. It holds: a.gguf.",
        "model-not-found: X.llamafile does not hold c.gguf. It holds no model.",
        "model-not-found: X.llamafile holds no .gguf model: it is an engine only. Give the path of a .gguf file, or of a llamafile that has a model inside.",
      ]
    `);
  });
});
