import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { inspectModel, packModels } from '../../src/app/models.ts';
import { describeInspection } from '../../src/app/models-text.ts';
import { AppError } from '../../src/core/errors.ts';
import { repackToMlx } from '../../src/models/mlx/repack.ts';
import { safetensorsFile } from '../models/model-folder.ts';
import { model, text, writeFakeLlamafile } from '../models/llamafile/fake-llamafile.ts';

const TINY = new URL('../models/fixtures/tiny-llama.gguf', import.meta.url).pathname;
const folder = await mkdtemp(join(tmpdir(), 'runoff-inspect-'));
afterAll(() => rm(folder, { recursive: true, force: true }));
const scrub = (lines: string): string =>
  lines.replaceAll(folder, '/models').replaceAll(TINY, '/models/tiny-llama.gguf');

test('a .gguf file, as it is printed', async () => {
  expect(scrub(describeInspection(await inspectModel(TINY, null), 80))).toMatchInlineSnapshot(`
    "tiny-llama.gguf
      file           /models/tiny-llama.gguf
      size           0.0327 MiB
      name           Tiny llama
      architecture   llama, 1 layer
      parameters     27,328
      quantisation   Q4_1; 9.45 bits per weight over all tensors
      tensors        1 F16 (25.4% of the bytes), 1 BF16 (25.4%), 2 Q8_0 (21.9%), 1
                     Q5_0 (8.7%), 1 Q4_1 (7.9%), 1 Q5_1 (4.8%), 2 more kinds
      tokenizer      gpt2 (byte-level BPE), pre-tokenizer smollm, 40 tokens
      chat template  no: chat requests need one from the application
      context        128 tokens at most
      memory         0.0464 MiB: 0.0308 MiB of weights and 0.0156 MiB of f16 cache
                     for 128 tokens; working buffers come on top
      licence        the file does not say"
  `);
});

test('a llamafile, as it is printed', async () => {
  const path = join(folder, 'x.llamafile');
  await writeFakeLlamafile(path, {
    version: '0.10.1',
    entries: [model('tiny.gguf', readFileSync(TINY)), text('.args', '-m /zip/tiny.gguf "two words" ...')],
  });
  expect(scrub(describeInspection(await inspectModel(path, 100), 100))).toMatchInlineSnapshot(`
    "llamafile 0.10.1
      file           /models/x.llamafile
      size           0.0954 MiB
      runs on        one program for Linux, macOS, Windows and BSD; x86-64 and arm64
      arguments      -m /zip/tiny.gguf "two words" ... (... is what its user types)
      inside         2 packed files; nothing was run to find this out

    Model inside: tiny.gguf
      place          0.0327 MiB from byte 65,536; stored and aligned, so it is mapped as it is; CRC-32
                     18f00e5d
      name           Tiny llama
      architecture   llama, 1 layer
      parameters     27,328
      quantisation   Q4_1; 9.45 bits per weight over all tensors
      tensors        1 F16 (25.4% of the bytes), 1 BF16 (25.4%), 2 Q8_0 (21.9%), 1 Q5_0 (8.7%), 1 Q4_1
                     (7.9%), 1 Q5_1 (4.8%), 2 more kinds
      tokenizer      gpt2 (byte-level BPE), pre-tokenizer smollm, 40 tokens
      chat template  no: chat requests need one from the application
      context        128 tokens at most
      memory         0.0430 MiB: 0.0308 MiB of weights and 0.0122 MiB of f16 cache for 100 tokens;
                     working buffers come on top
      licence        the file does not say

    What to know before shipping it
      everywhere     -p TEXT is the SYSTEM prompt: without --cli the program then waits on the terminal
                     and seems to hang.
                     -> Use --cli -p TEXT for one answer, --server for an application.
      everywhere     Without a mode it serves and chats on the terminal.
                     -> An application starts it with --server.
      Windows        Windows takes a file for a program by its ending.
                     -> Rename it to x.llamafile.exe there.
      Linux          At the first start it unpacks a loader into $TMPDIR or $HOME: that folder must be
                     writable and allow programs (no noexec).
                     -> Start it through a shell: sh ./FILE ...; WINE or binfmt_misc then cannot take it
                        either.
      macOS          On Apple Silicon the first start compiles a loader and needs cc.
                     -> Install it once: xcode-select --install
      macOS          Gatekeeper blocks a downloaded file from an unknown developer.
                     -> Allow it in System Settings, Privacy & Security."
  `);
});

test('a program without a model, and words that are no tokens', async () => {
  const path = join(folder, 'program');
  await writeFakeLlamafile(path, { version: null, machines: [62], entries: null });
  const found = describeInspection(await inspectModel(path, null), 100).split('\n');
  expect(found[0]).toBe('A llamafile; its version is not in the file');
  expect(found).toContain('  arguments      none inside');
  expect(found.join('\n')).toContain('No model is inside');
});

test('names inside a file cannot write on the terminal', async () => {
  const path = join(folder, 'evil.llamafile');
  await writeFakeLlamafile(path, { entries: [text('.args', "-m '\u001b[2Jx'")] });
  expect(describeInspection(await inspectModel(path, null), 100)).not.toContain('\u001b');
});

test('the context that was asked for counts, whatever the model was made for', async () => {
  const [asked] = (await inspectModel(TINY, 1_000)).models;
  expect(asked?.memory).toMatchObject({ contextTokens: 1_000, cacheBytes: 128_000 });
  const [usual] = (await inspectModel(TINY, null)).models;
  expect(usual?.memory.contextTokens).toBe(128);
});

test.each([
  ['absent', null, 'model-not-found'],
  ['page.gguf', '<html>', 'model-invalid'],
  ['page.html', '<html>', 'model-invalid'],
])('%s is refused', async (name, content, code) => {
  const path = join(folder, name);
  if (content !== null) await writeFile(path, content);
  const error = await inspectModel(path, null).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(AppError);
  expect((error as AppError).code).toBe(code);
});

test('packing tells at once what makes the file useless, and nothing else', async () => {
  const llamafile = join(folder, 'engine');
  await writeFakeLlamafile(llamafile, { version: '0.9.3', machines: [62], entries: [text('note', 'x')] });
  const lines: string[] = [];
  const ui = { line: (line: string) => lines.push(line), status: (line: string) => lines.push(line), done() {} };
  const ask = {
    llamafile,
    models: [TINY],
    out: join(folder, 'new.llamafile'),
    replace: false,
    signal: new AbortController().signal,
    ui,
  };
  const { warnings, fileBytes } = await packModels({ ...ask, args: ['--server'] });
  expect(warnings.map(({ id }) => id)).toEqual(['no-arm64', 'server-in-args']);
  expect(fileBytes).toBeGreaterThan(readFileSync(TINY).length);
  expect(lines.some((line) => line.startsWith('Packing new.llamafile'))).toBe(true);
});

test('an MLX folder, as it is printed, with the licence of its model card', async () => {
  const path = join(folder, 'tiny-mlx');
  await repackToMlx(TINY, path, { scales: 'f16' });
  await writeFile(join(path, 'README.md'), '---\nlanguage: en\nlicense: apache-2.0\n---\n# A model\n');
  await writeFile(join(path, 'chat_template.jinja'), '{{ messages }}');
  const printed = scrub(describeInspection(await inspectModel(path, 64), 80)).replace(/size .*/, 'size SIZE');
  expect(printed).toMatchInlineSnapshot(`
    "tiny-mlx
      file           /models/tiny-mlx
      size SIZE
      name           tiny-mlx
      architecture   llama, 1 layer
      parameters     27,328
      quantisation   F16; 9.57 bits per weight over all tensors
      tensors        4 F16 (26.2% of the bytes), 1 BF16 (25.0%), 2 8-bit affine,
                     groups of 32 (22.9%), 2 5-bit affine, groups of 32 (14.1%), 2
                     4-bit affine, groups of 32 (11.7%)
      tokenizer      tokenizer.json, 40 tokens
      chat template  yes
      context        128 tokens at most
      memory         0.0390 MiB: 0.0312 MiB of weights and 0.00781 MiB of f16 cache
                     for 64 tokens; working buffers come on top
      licence        apache-2.0"
  `);
});

test('a single .safetensors file without a configuration', async () => {
  const path = join(folder, 'alone.safetensors');
  const bytes = new Uint8Array(4 * 6);
  await writeFile(path, safetensorsFile([{ name: 'x.weight', dtype: 'F32', shape: [2, 3], bytes }]));
  const { models } = await inspectModel(path, null);
  expect(models).toEqual([
    expect.objectContaining({
      architecture: 'unknown',
      parameterCount: 6,
      bitsPerWeight: 32,
      quantisation: 'F32',
      tokenizer: null,
      layerCount: null,
      memory: { contextTokens: 4_096, weightBytes: 24, cacheBytes: null },
    }),
  ]);
});
