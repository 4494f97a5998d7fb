/** The reference converters are played by a program that notes how it was called and puts out a model that was prepared. */
import { chmod, cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import type { ReferenceAsk } from '../../../src/app/convert/reference.ts';
import { convertToGgufByReference, type GgufReferenceAsk } from '../../../src/app/convert/reference-gguf.ts';
import { convertToMlxByReference, type MlxReferenceAsk } from '../../../src/app/convert/reference-mlx.ts';
import { inspectModel } from '../../../src/app/models.ts';
import { describeInspection } from '../../../src/app/models-text.ts';
import { writeGguf } from '../../../src/models/gguf/write.ts';
import { tensorTypeNamed } from '../../../src/models/gguf/tensor-types.ts';
import type { Environments } from '../../../src/platform/environments/environments.ts';
import { failure, temporaryFolder } from '../../models/fixture.ts';
import { writeFolder } from '../../models/model-folder.ts';

if (process.platform === 'win32') console.log('reference.test.ts: skipped: the program that plays Python is a script');

const root = await temporaryFolder();
let count = 0;
let folder = '';
let source = '';
let out = '';
const questions: string[] = [];
const lines: string[] = [];

/** Waits for nothing; takes its output's name from behind `--outfile` or `--mlx-path`. */
const PYTHON = `#!${process.execPath}
const { cpSync, existsSync, readFileSync, writeFileSync } = require('node:fs');
const { join, dirname } = require('node:path');
const here = dirname(process.argv[1]);
const args = process.argv.slice(2);
const { HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE, SECRET } = process.env;
writeFileSync(join(here, 'call.json'), JSON.stringify({ args, cwd: process.cwd(), env: { HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE, SECRET } }));
if (existsSync(join(here, 'fails'))) {
  process.stderr.write('Traceback\\n  line 1\\nKeyError: attention\\n');
  process.exit(1);
}
cpSync(join(here, 'answer'), args[args.findIndex((word) => word === '--outfile' || word === '--mlx-path') + 1], { recursive: true });
`;

const python = (): string => join(folder, 'environment', 'python');

beforeEach(async () => {
  folder = join(root, String(count++));
  source = join(folder, 'mamba');
  out = join(folder, 'out');
  questions.length = 0;
  lines.length = 0;
  await mkdir(join(folder, 'environment'), { recursive: true });
  await writeFile(python(), PYTHON);
  await chmod(python(), 0o755);
  await writeFolder(source, { 'model.safetensors': TENSORS }, { model_type: 'mamba' });
});

const values = new Uint8Array(new Float32Array([1, 2, 3, 4]).buffer);
const TENSORS = [{ name: 'backbone.norm.weight', dtype: 'F32' as const, shape: [4], bytes: values }];

type State = 'ready' | 'absent' | 'impossible';

function environments(state: State): Environments {
  const packages = { 'llama.cpp': 'b11434', torch: '2.11.0', 'mlx-lm': '0.32.2', mlx: '0.32.4' };
  const ready = { state: 'ready', root: join(folder, 'environment'), runtime: python(), packages } as const;
  return {
    inspect: async () =>
      state === 'ready'
        ? ready
        : state === 'absent'
          ? { state, what: 'the converter with PyTorch', downloadBytes: 3_200_000_000 }
          : { state, reason: 'PyTorch has no build for musl', nextStep: 'Use glibc.' },
    ensure: async () => ready,
    remove: async () => {},
    list: async () => [],
  };
}

function common(state: State, answers: { install?: boolean; code?: boolean } = {}): ReferenceAsk {
  const answering =
    (answer = false) =>
    async (question: string): Promise<boolean> => {
      questions.push(question.replaceAll(folder, ''));
      return answer;
    };
  return {
    source,
    environments: environments(state),
    mayInstall: answering(answers.install),
    mayRunCode: answering(answers.code),
    signal: new AbortController().signal,
    ui: { line: (text) => void lines.push(text), status() {}, done() {} },
  };
}

const ggufAsk = (more: Partial<GgufReferenceAsk> = {}): GgufReferenceAsk => ({
  ...common('ready'),
  quant: 'BF16',
  out,
  strict: false,
  refused: [],
  ...more,
});
const mlxAsk = (more: Partial<MlxReferenceAsk> = {}): MlxReferenceAsk => ({
  ...common('ready'),
  out,
  affine: null,
  dtype: null,
  ...more,
});

async function prepareGguf(): Promise<void> {
  await writeGguf(join(folder, 'environment', 'answer'), {
    metadata: new Map([['general.architecture', { type: 'string', value: 'mamba' }]]),
    tensors: [{ name: 'output_norm.weight', type: tensorTypeNamed('F32'), dimensions: [4], bytes: values }],
  });
}

interface Call {
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
}

async function call(): Promise<Call> {
  const text = await readFile(join(folder, 'environment', 'call.json'), 'utf8');
  return JSON.parse(text.replaceAll(folder, '').replaceAll(/out\.\d+-[0-9a-f]{8}\.partial/g, 'TEMPORARY')) as Call;
}

describe.skipIf(process.platform === 'win32')("llama.cpp's converter", () => {
  test('makes the file, away from the model and offline; what it is is noted and recorded', async () => {
    await prepareGguf();
    process.env['SECRET'] = 'token';
    const { fileBytes, bitsPerWeight, notes } = await convertToGgufByReference(ggufAsk());
    delete process.env['SECRET'];
    expect(await call()).toEqual({
      args: [
        '-E',
        '-s',
        '/environment/source/convert_hf_to_gguf.py',
        '/mamba',
        '--outfile',
        '/TEMPORARY',
        '--outtype',
        'bf16',
      ],
      cwd: '/environment',
      env: { HF_HUB_OFFLINE: '1', TRANSFORMERS_OFFLINE: '1' },
    });
    expect([fileBytes > 16, bitsPerWeight]).toEqual([true, 32]);
    expect(notes.map((note) => note.replaceAll(/\S*\/(?=out)/g, ''))).toEqual([
      "Made by llama.cpp's converter (llama.cpp b11434, torch 2.11.0), not by runoff.",
      expect.stringMatching(/^The weights were not compared with the source's: .*mamba/),
      expect.stringMatching(/^The tokenizer is not proved: .* contains no tokenizer\.$/),
    ]);
    expect((await readdir(folder)).toSorted()).toEqual(['environment', 'mamba', 'out', 'out.made-by.json']);
    const record = JSON.parse(await readFile(`${out}.made-by.json`, 'utf8')) as { source: { name: string }[] };
    expect(record).toMatchObject({
      madeBy: "llama.cpp's converter (llama.cpp b11434, torch 2.11.0)",
      command: ['-E', '-s', 'convert_hf_to_gguf.py', 'mamba', '--outfile', 'out', '--outtype', 'bf16'],
      packages: { torch: '2.11.0' },
    });
    expect(record.source.map(({ name }) => name)).toEqual(['config.json', 'model.safetensors']);
    expect(questions).toEqual([]);
  });

  test('models inspect names it, until the file is another', async () => {
    await prepareGguf();
    await convertToGgufByReference(ggufAsk());
    const shown = describeInspection(await inspectModel(out, null), 100);
    expect(shown).toContain("converted by   llama.cpp's converter (llama.cpp b11434, torch 2.11.0)");
    await writeFile(out, Buffer.concat([await readFile(out), Buffer.alloc(32)]));
    expect((await inspectModel(out, null)).madeBy).toBeNull();
  });

  test('its last words are the error, and nothing is left', async () => {
    await writeFile(join(folder, 'environment', 'fails'), '');
    expect(await failure(convertToGgufByReference(ggufAsk()))).toMatchObject({
      code: 'conversion-failed',
      message: "llama.cpp's converter failed:\nTraceback\n  line 1\nKeyError: attention",
    });
    expect((await readdir(folder)).toSorted()).toEqual(['environment', 'mamba']);
  });

  test('what is no GGUF is an error, and nothing is left', async () => {
    await writeFile(join(folder, 'environment', 'answer'), 'nothing of the kind');
    expect(await failure(convertToGgufByReference(ggufAsk()))).toMatchObject({
      code: 'conversion-failed',
      message: "What llama.cpp's converter wrote cannot be read as a GGUF.",
    });
    expect((await readdir(folder)).toSorted()).toEqual(['environment', 'mamba']);
  });

  test('--strict refuses a tokenizer that is not proved', async () => {
    await prepareGguf();
    expect(await failure(convertToGgufByReference(ggufAsk({ strict: true })))).toMatchObject({
      code: 'tokenizer-unknown',
    });
    expect((await readdir(folder)).toSorted()).toEqual(['environment', 'mamba']);
  });

  test.each([
    [{ quant: 'Q4_K_M' as const }, "llama.cpp's converter writes F32, F16, BF16 and Q8_0, not Q4_K_M."],
    [{ refused: ['--imatrix'] }, "llama.cpp's converter, which makes this model, has nothing for --imatrix."],
  ])('%o is refused before anything is asked', async (more, message) => {
    expect(await failure(convertToGgufByReference(ggufAsk({ ...common('absent'), ...more })))).toMatchObject({
      code: 'usage',
      message,
    });
    expect(questions).toEqual([]);
  });
});

describe.skipIf(process.platform === 'win32')('what is asked before', () => {
  test('the size is told, and no is no', async () => {
    const error = await failure(convertToGgufByReference(ggufAsk(common('absent'))));
    expect(questions).toEqual([
      'Install the converter with PyTorch to convert this model (about 3200 MB, kept in the cache)?',
    ]);
    expect(error).toMatchObject({
      code: 'environment-failed',
      message: "llama.cpp's converter is not installed (the converter with PyTorch, about 3200 MB to download).",
    });
  });

  test('yes installs, and says what', async () => {
    await prepareGguf();
    await convertToGgufByReference(ggufAsk(common('absent', { install: true })));
    expect(lines).toEqual(['Installing the converter with PyTorch, about 3200 MB']);
  });

  test('a machine that cannot have it says why', async () => {
    expect(await failure(convertToGgufByReference(ggufAsk(common('impossible'))))).toMatchObject({
      code: 'environment-failed',
      message: "llama.cpp's converter cannot be used here: PyTorch has no build for musl.",
      hint: 'Use glibc.',
    });
  });

  test("the model's own code is run only with the user's word", async () => {
    await prepareGguf();
    for (const name of ['modeling_b.py', 'config_a.py', 'c.py', 'd.py']) await writeFile(join(source, name), '');
    const error = await failure(convertToGgufByReference(ggufAsk(common('absent', { install: true }))));
    const words =
      "The model's folder holds Python code (c.py, config_a.py, d.py, ...), which llama.cpp's converter may run";
    expect(questions).toEqual([`${words}. Go on?`]);
    expect(error).toMatchObject({ code: 'usage', message: `${words}: not without your word.` });
    await convertToGgufByReference(ggufAsk(common('ready', { code: true })));
    expect(await readdir(folder)).toContain('out');
  });
});

describe.skipIf(process.platform === 'win32')('mlx_lm.convert', () => {
  const answer = (): string => join(folder, 'environment', 'answer');

  test('makes the folder; what names tell apart is compared with the source', async () => {
    await cp(source, answer(), { recursive: true });
    const { notes, bitsPerWeight } = await convertToMlxByReference(mlxAsk());
    expect((await call()).args).toEqual([
      '-I',
      '-m',
      'mlx_lm',
      'convert',
      '--hf-path',
      '/mamba',
      '--mlx-path',
      '/TEMPORARY',
    ]);
    expect(notes).toEqual([
      'Made by mlx_lm.convert (mlx-lm 0.32.2, mlx 0.32.4), not by runoff.',
      "Every weight is the same number as in the source's; that was checked.",
    ]);
    expect(bitsPerWeight).toBe(32);
    expect((await readdir(out)).toSorted()).toEqual(['config.json', 'made-by.json', 'model.safetensors']);
    expect((await inspectModel(out, null)).madeBy).toBe('mlx_lm.convert (mlx-lm 0.32.2, mlx 0.32.4)');
  });

  test.each([
    [{ affine: { bits: 4, groupSize: 32, recipe: null } }, ['--quantize', '--q-group-size', '32', '--q-bits', '4']],
    [
      { affine: { bits: 4, groupSize: 64, recipe: 'mixed_3_6' } },
      ['--quantize', '--q-group-size', '64', '--quant-predicate', 'mixed_3_6'],
    ],
    [{ dtype: 'f16' as const }, ['--dtype', 'float16']],
  ])('%o becomes its options', async (more, words) => {
    await cp(source, answer(), { recursive: true });
    await convertToMlxByReference(mlxAsk(more));
    expect((await call()).args.slice(8)).toEqual(words);
  });

  test('other weights are said to be other', async () => {
    const other = new Uint8Array(new Float32Array([1, 2, 3, 5]).buffer);
    await writeFolder(answer(), { 'model.safetensors': [{ ...TENSORS[0]!, bytes: other }] }, { model_type: 'mamba' });
    const { notes } = await convertToMlxByReference(mlxAsk());
    // sqrt(1 / 30), from the source's values 1, 2, 3, 4.
    expect(notes[1]).toBe(
      'Compared with the source: the worst, backbone.norm.weight, is off by a relative RMSE of 0.18.',
    );
    await rm(out, { recursive: true });
    await writeFolder(
      answer(),
      { 'model.safetensors': [{ ...TENSORS[0]!, name: 'norm.weight' }] },
      { model_type: 'mamba' },
    );
    expect((await convertToMlxByReference(mlxAsk())).notes[1]).toBe(
      'Compared with the source as far as names tell: 0 tensors are the same, 0 differ, 2 could not be matched.',
    );
  });

  test('a folder without weights is an error, and nothing is left', async () => {
    await mkdir(answer());
    await writeFile(join(answer(), 'config.json'), '{}');
    expect((await failure(convertToMlxByReference(mlxAsk()))).code).toMatch(/^model-/);
    expect((await readdir(folder)).toSorted()).toEqual(['environment', 'mamba']);
  });
});
