import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { llamafileHazards, type HazardId } from '../../../src/models/llamafile/hazards.ts';
import { readLlamafile, type LlamafileFacts } from '../../../src/models/llamafile/read-llamafile.ts';
import { generationOf } from '../../../src/models/llamafile/version.ts';
import { fixturePath, temporaryFolder } from '../fixture.ts';
import { model, writeFakeLlamafile } from './fake-llamafile.ts';

const TINY = readFileSync(fixturePath('tiny-llama.gguf'));

describe('llamafileHazards', async () => {
  const folder = await temporaryFolder();
  const path = join(folder, 'x.llamafile');
  await writeFakeLlamafile(path, { entries: [model('tiny.gguf', TINY)] });
  const usual = await readLlamafile(path);
  const embedded = usual.models[0]!;

  const of = (version: string | null, words: readonly string[] | null = null): LlamafileFacts => ({
    ...usual,
    version,
    generation: generationOf(version),
    defaults: words === null ? null : { dialect: 'shell', words },
  });
  const summary = (change: object): LlamafileFacts['models'] => [
    { ...embedded, summary: { ...embedded.summary!, tiedEmbeddings: false, ...change } },
  ];
  const ids = (facts: LlamafileFacts): HazardId[] => llamafileHazards(facts).map(({ id }) => id);

  it('says what it says', () => {
    const lines = llamafileHazards({ ...of('0.9.3', ['--server']), fileBytes: 5e9 }).map(
      ({ id, os, what, remedy }) => `${id} (${os}): ${what} -> ${remedy}`,
    );
    expect(lines).toMatchInlineSnapshot(`
      [
        "windows-4-gib (windows): Windows starts no program of 4 GiB or more, and this file has 4.66 GiB. -> Ship a llamafile without a model next to it, and start: llamafile.exe -m x.llamafile",
        "server-in-args (all): The --server in its .args is ignored: 0.9 takes the mode from the command line only. -> Start it with --server.",
        "default-mode (all): Without a mode it chats on the terminal, and ends where there is none. -> An application starts it with --server --nobrowser.",
        "silent-truncation (all): Its server cuts a prompt that does not fit into the context (8,192 tokens unless -c says otherwise) and answers as if nothing happened. -> Set -c, and compare prompt_tokens of every answer with what was sent.",
        "windows-exe (windows): Windows takes a file for a program by its ending. -> Rename it to x.llamafile.exe there.",
        "loader (linux): At the first start it unpacks a loader into $TMPDIR or $HOME: that folder must be writable and allow programs (no noexec). -> Start it through a shell: sh ./FILE ...; WINE or binfmt_misc then cannot take it either.",
        "macos-compiler (macos): On Apple Silicon the first start compiles a loader and needs cc. -> Install it once: xcode-select --install",
        "gatekeeper (macos): Gatekeeper blocks a downloaded file from an unknown developer. -> Allow it in System Settings, Privacy & Security.",
      ]
    `);
  });

  it('tells Windows from 4 GiB on, to the byte', () => {
    expect(ids({ ...usual, fileBytes: 4_294_967_295 })).not.toContain('windows-4-gib');
    expect(ids({ ...usual, fileBytes: 4_294_967_296 })).toContain('windows-4-gib');
    const two = { ...usual, fileBytes: 2 ** 33, models: [embedded, embedded] };
    expect(llamafileHazards(two)[0]?.remedy).toContain('llamafile.exe -m x.llamafile@tiny.gguf');
  });

  it.each<[string, Partial<LlamafileFacts>, HazardId]>([
    ['no model', { models: [] }, 'no-model'],
    ['two models', { models: [embedded, embedded] }, 'several-models'],
    ['a compressed model', { models: [{ ...embedded, summary: null }] }, 'model-compressed'],
    ['an unaligned model', { models: [{ ...embedded, aligned: false }] }, 'model-unaligned'],
    ['an ELF program', { executable: { format: 'elf', magic: null, architectures: ['x86_64'] } }, 'one-system'],
    ['x86-64 alone', { executable: { format: 'ape', magic: "MZqFpD='", architectures: ['x86_64'] } }, 'no-arm64'],
    ['arm64 alone', { executable: { format: 'ape', magic: "MZqFpD='", architectures: ['aarch64'] } }, 'no-x86-64'],
  ])('%s', (_, change, id) => {
    expect(ids(usual)).not.toContain(id);
    expect(ids({ ...usual, ...change })).toContain(id);
  });

  it('says nothing about architectures that the header does not tell', () => {
    const found = ids({ ...usual, executable: { format: 'ape', magic: "MZqFpD='", architectures: [] } });
    expect(found.filter((id) => id.startsWith('no-'))).toEqual([]);
  });

  it.each<[string, object, HazardId | null]>([
    ['0.6.2', { tiedEmbeddings: true }, 'tied-embeddings'],
    ['0.8.13', { tiedEmbeddings: true }, null],
    ['0.6.2', { tiedEmbeddings: true, architecture: 'clip' }, null],
    ['0.9.0', { architecture: 'gemma3' }, 'architecture-unknown'],
    ['0.9.2', { architecture: 'gemma3' }, null],
    ['0.9.3', { architecture: 'gemma3n' }, 'architecture-unknown'],
    ['0.10.0', { architecture: 'gemma3n' }, null],
    ['0.9.3', { architecture: 'constructor' }, null],
  ])('%s with %j', (version, change, id) => {
    const found = ids({ ...of(version), models: summary(change) });
    expect(found.find((item) => item === 'tied-embeddings' || item === 'architecture-unknown') ?? null).toBe(id);
  });

  it.each<[string | null, string | null, string | null]>([
    ['0.6.2', 'unknown argument', 'browser tab'],
    ['0.8.13', 'unknown argument', 'browser tab'],
    ['0.8.14', null, 'chats on the terminal, and ends'],
    ['0.9.3', 'ignored', 'chats on the terminal, and ends'],
    ['0.10.0', 'wins over', 'serves and chats'],
    [null, null, null],
  ])('%s: --server inside and the default mode', (version, server, mode) => {
    const found = llamafileHazards(of(version, ['--server', '...']));
    const say = (id: HazardId): string | null => found.find((hazard) => hazard.id === id)?.what ?? null;
    for (const [id, words] of [
      ['server-in-args', server],
      ['default-mode', mode],
    ] as const) {
      if (words === null) expect(say(id)).toBeNull();
      else expect(say(id)).toContain(words);
    }
    expect(ids(of(version, ['-c', '8']))).not.toContain('server-in-args');
    expect(say('prompt-flag') !== null).toBe(version === '0.10.0');
  });

  it('knows the context that a server cuts to', () => {
    const cut = (version: string, words: readonly string[] | null = null): string | undefined =>
      /\((.*?)\)/.exec(
        llamafileHazards(of(version, words)).find(({ id }) => id === 'silent-truncation')?.what ?? '',
      )?.[1];
    expect([
      cut('0.8.12'),
      cut('0.8.13'),
      cut('0.9.3'),
      cut('0.9.3', ['-c', '0']),
      cut('0.10.0'),
      cut('0.5.0'),
    ]).toEqual([
      '512 tokens unless -c says otherwise',
      "the model's maximum unless -c says otherwise",
      '8,192 tokens unless -c says otherwise',
      'the -c of its .args',
      undefined,
      undefined,
    ]);
  });

  it('lets Windows start a file that ends with .exe', () => {
    expect(ids(usual)).toContain('windows-exe');
    expect(ids({ ...usual, path: '/x/y.llamafile.EXE' })).not.toContain('windows-exe');
  });
});
