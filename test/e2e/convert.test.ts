import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readGgufHeader } from '../../src/models/gguf/read-header.ts';
import { writeGguf } from '../../src/models/gguf/write.ts';
import { tensorTypeNamed } from '../../src/models/gguf/tensor-types.ts';
import { TINY_MODELS, writeTinyModel, type TinyModel } from '../models/convert/tiny-models.ts';
import { useWorkspace } from './cli.ts';

const workspace = useWorkspace();

/** Byte-level BPE with the rules of GPT-2: the smallest tokenizer that llama.cpp knows. */
function tokenizerJson(tokens: number): unknown {
  const vocab = Object.fromEntries(
    Array.from({ length: tokens }, (_, i) => [i < 94 ? String.fromCharCode(33 + i) : `w${i}`, i]),
  );
  return {
    version: '1.0',
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', vocab, merges: [] },
  };
}

async function sourceFolder(): Promise<string> {
  const folder = join(workspace().folder, 'tiny-llama');
  const model = TINY_MODELS['llama-2'] as TinyModel;
  await writeTinyModel(folder, {
    ...model,
    files: {
      'tokenizer.json': tokenizerJson(320),
      'tokenizer_config.json': { tokenizer_class: 'PreTrainedTokenizerFast' },
    },
  });
  return folder;
}

test('a Hugging Face folder becomes a GGUF with its tokenizer, and a GGUF another one', async () => {
  const w = workspace();
  const folder = await sourceFolder();
  const out = join(w.folder, 'out.gguf');
  const first = await w.runoff([
    'models',
    'convert',
    folder,
    '--to',
    'gguf',
    '--quant',
    'bf16',
    '--pre-tokenizer',
    'gpt-2',
    '--out',
    out,
  ]);
  expect(first).toMatchObject({ code: 0 });
  expect(first.stdout).toMatch(/out\.gguf: \d+\.\d MB, 16\.\d\d bits per weight, \d+\.\d s\n$/);
  const header = await readGgufHeader(out);
  expect(header.metadata.get('tokenizer.ggml.pre')).toEqual({ type: 'string', value: 'gpt-2' });
  expect(header.arrayLengths.get('tokenizer.ggml.tokens')).toBe(320);
  const second = await w.runoff([
    'models',
    'convert',
    out,
    '--to',
    'gguf',
    '--quant',
    'f32',
    '--out',
    join(w.folder, 'wide.gguf'),
  ]);
  expect(second).toMatchObject({ code: 0 });
  expect((await readGgufHeader(join(w.folder, 'wide.gguf'))).tensors).toHaveLength(header.tensors.length);
});

test('a GGUF in several files: split, inspected, verified, pulled, joined', async () => {
  const w = workspace();
  const folder = await sourceFolder();
  const out = ['--out', join(w.folder, 'm.gguf')];
  const to = ['--to', 'gguf', '--pre-tokenizer', 'gpt-2'];
  const first = join(w.folder, 'm-00001-of-00004.gguf');
  const split = await w.runoff(['models', 'convert', folder, ...to, ...out, '--split-max-size', '1M']);
  expect(split).toMatchObject({ code: 0 });
  expect(split.stdout).toContain('m-00001-of-00004.gguf');
  expect((await readdir(w.folder)).filter((name) => name.startsWith('m-')).sort()).toEqual(
    [1, 2, 3, 4].map((part) => `m-0000${part}-of-00004.gguf`),
  );
  const inspected = await w.runoff(['models', 'inspect', first]);
  expect(inspected.stdout).toMatch(/parameters +1\.\d+ million/);
  const joined = await w.runoff(['models', 'convert', first, '--to', 'gguf', ...out]);
  expect(joined).toMatchObject({ code: 0 });
  const same = await w.runoff(['models', 'verify', first, join(w.folder, 'm.gguf')]);
  expect([same.code, same.stdout.split(':')[0]]).toEqual([0, 'Identical']);
  const pulled = await w.runoff(['models', 'pull', first, '--json']);
  expect((JSON.parse(pulled.stdout) as { weights: string[] }).weights).toHaveLength(4);
  const again = await w.runoff(['models', 'convert', first, '--to', 'gguf', ...out, '--split-max-size', '2M']);
  expect(again).toMatchObject({ code: 0 });
  await rm(join(w.folder, 'm-00003-of-00004.gguf'));
  const missing = await w.runoff(['models', 'inspect', first]);
  expect(missing.code).toBe(1);
  expect(w.normalise(missing.stderr)).toContain('The model has 4 parts, and WORK/m-00003-of-00004.gguf is missing.');
});

test('--split-max-size takes what llama-gguf-split takes', async () => {
  for (const size of ['2', '0M', '2K', '-1G', '1.5G']) {
    const { code, stderr } = await workspace().runoff([
      'models',
      'convert',
      'x',
      '--to',
      'gguf',
      `--split-max-size=${size}`,
    ]);
    expect([size, code]).toEqual([size, 2]);
    expect(stderr).toContain('A number with M or G, such as 500M or 2G.');
  }
});

async function errorOf(args: readonly string[]): Promise<string> {
  const w = workspace();
  const { code, stdout, stderr } = await w.runoff(['models', 'convert', ...args]);
  expect(stdout).toBe('');
  return `exit ${code}\n${w.normalise(stderr.slice(stderr.lastIndexOf('\nrunoff: ')))}`;
}

test('an architecture that cannot be converted is named', async () => {
  const w = workspace();
  const folder = await sourceFolder();
  await writeFile(join(folder, 'config.json'), '{"architectures":["MambaForCausalLM"]}');
  const message = await errorOf([folder, '--to', 'gguf', '--quant', 'f16', '--pre-tokenizer', 'gpt-2']);
  expect(message).toMatch(
    /^exit 1\nrunoff: WORK\/tiny-llama\/config\.json: the architecture MambaForCausalLM cannot be converted/,
  );
  expect(message).toMatch(/\n {2}Add --with-reference: /);
  const toMlx = await errorOf([folder, '--to', 'mlx']);
  expect(toMlx).toMatch(
    /^exit 1\nrunoff: .*the architecture undefined is not one of those.*\n {2}Add --with-reference: /,
  );
  expect((await readdir(w.folder)).filter((name) => name.includes('.gguf'))).toEqual([]);
});

test('--with-reference --no-install tells what would be installed, and installs nothing', async () => {
  const w = workspace();
  const folder = await sourceFolder();
  await writeFile(join(folder, 'config.json'), '{"architectures":["MambaForCausalLM"]}');
  const message = await errorOf([folder, '--to', 'gguf', '--quant', 'f16', '--with-reference', '--no-install']);
  // Which of them depends on the machine's Python.
  expect(message).toMatch(
    /llama\.cpp's converter (?:is not installed \(llama\.cpp's converter \(b11434\) with PyTorch, about \d+ MB to download\)|cannot be used here)/,
  );
  expect(w.files(join(w.folder, 'cache', 'environments'))).toEqual([]);
});

test('an unknown type, an output that exists, input as output', async () => {
  const w = workspace();
  const file = join(w.folder, 'there.gguf');
  await writeGguf(file, {
    metadata: new Map(),
    tensors: [{ name: 'a.weight', type: tensorTypeNamed('F32'), dimensions: [1], bytes: new Uint8Array(4) }],
  });
  const to = ['--to', 'gguf', '--quant'];
  expect(await errorOf([file, '--to', 'gguf'])).toMatchInlineSnapshot(`
    "exit 2
    runoff: A GGUF from a GGUF needs a type: --quant.
      These can be written: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K_M, Q4_K_M, Q5_K_M, Q6_K. --split-max-size makes several files of it as it is."
  `);
  expect(await errorOf([file, ...to, 'q9'])).toMatchInlineSnapshot(`
    "exit 2
    runoff: There is no GGUF type q9.
      These can be written: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K_M, Q4_K_M, Q5_K_M, Q6_K."
  `);
  expect(await errorOf([w.folder, ...to, 'f16', '--out', file])).toMatchInlineSnapshot(`
    "exit 2
    runoff: WORK/there.gguf exists already.
      Choose another output with --out, or add --overwrite."
  `);
  expect(await errorOf([file, ...to, 'f16', '--out', file])).toMatchInlineSnapshot(`
    "exit 2
    runoff: Input and output are the same file: WORK/there.gguf.
      Choose another output with --out."
  `);
  expect(await errorOf([join(w.folder, 'nothing'), ...to, 'f16'])).toMatchInlineSnapshot(`
    "exit 1
    runoff: There is no model at WORK/nothing.
      Check the path."
  `);
});
