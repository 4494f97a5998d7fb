import { spawn } from 'node:child_process';
import { appendFile, mkdir, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { writeConverted } from '../../../src/models/convert/convert-to-gguf.ts';
import { planFromFolder, type ConversionPlan } from '../../../src/models/convert/plan.ts';
import { TINY_MODELS, writeTinyModel, type TinyModel } from '../convert/tiny-models.ts';
import { failure, temporaryFolder } from '../fixture.ts';

const root = await temporaryFolder();
const MODEL = TINY_MODELS['llama-3'] as TinyModel;
const OPTIONS = { '--quant': 'Q8_0' };

let count = 0;
let folder = '';
let model = '';
let out = '';
beforeEach(async () => {
  folder = join(root, String(count++));
  model = join(folder, 'model');
  out = join(folder, 'out.gguf');
  await writeTinyModel(model, MODEL);
});

const planOf = (): Promise<ConversionPlan> =>
  planFromFolder(model, { quant: 'Q8_0', tokenizer: new Map(), importance: null });

interface Run {
  readonly resume?: boolean;
  readonly options?: Readonly<Record<string, string | null>>;
  /** What happens at the n-th report of progress. */
  readonly at?: readonly [number, (controller: AbortController) => void];
}

/** @returns lines for the user, and how many chunks were converted */
async function convert({ resume = false, options = OPTIONS, at }: Run = {}): Promise<{
  lines: string[];
  chunks: number;
}> {
  const lines: string[] = [];
  const controller = new AbortController();
  let chunks = 0;
  await writeConverted(await planOf(), out, {
    libraryPath: null,
    importancePath: null,
    signal: controller.signal,
    continuation: { resume, options, onLine: (text) => lines.push(text), onChecking() {} },
    onProgress() {
      chunks += 1;
      if (chunks === at?.[0]) at[1](controller);
    },
  });
  return { lines, chunks };
}

const abortAt = (chunk: number): Run => ({ at: [chunk, (controller) => controller.abort()] });

async function uninterrupted(): Promise<Buffer> {
  const path = join(folder, 'whole.gguf');
  await writeConverted(await planOf(), path, { libraryPath: null, importancePath: null, onProgress() {} });
  const bytes = await readFile(path);
  await rm(path);
  return bytes;
}

const written = async (): Promise<string[]> => (await readdir(folder)).filter((name) => name.startsWith('out'));
const doneTensors = async (): Promise<string[]> =>
  (await readFile(`${out}.partial.journal`, 'utf8'))
    .split('\n')
    .flatMap((line) => (line.startsWith('{"tensor"') ? [(JSON.parse(line) as { tensor: string }).tensor] : []));

describe('an interrupted conversion', () => {
  test.each([1, 2, 9, 40, 78])('stopped at chunk %i and resumed is the same file', async (chunk) => {
    const whole = await uninterrupted();
    await failure(convert(abortAt(chunk)));
    const before = (await written()).includes('out.gguf.partial') ? (await doneTensors()).length : 0;
    const { chunks } = await convert({ resume: true });
    expect(Buffer.compare(await readFile(out), whole)).toBe(0);
    expect(chunks).toBe((await planOf()).jobs.length - before);
    expect(await written()).toEqual(['out.gguf']);
  });

  test('says what is kept and how to go on, and leaves nothing under its own name', async () => {
    const error = await failure(convert(abortAt(9)));
    const done = (await doneTensors()).length;
    expect(done).toBeGreaterThan(5);
    expect(error).toMatchObject({
      code: 'interrupted',
      message: `stopped; ${done} of 83 tensors are kept in ${out}.partial.`,
      hint: 'Add --resume to the same command to go on, or delete it.',
    });
    expect(await written()).toEqual(['out.gguf.partial', 'out.gguf.partial.journal']);
  });

  test('is resumed after a second interruption', async () => {
    const whole = await uninterrupted();
    await failure(convert(abortAt(9)));
    await failure(convert({ resume: true, ...abortAt(9) }));
    const { lines } = await convert({ resume: true });
    expect(lines[0]).toMatch(/^Going on with .*out\.gguf\.partial: [12]\d of 83 tensors are there\.$/);
    expect(Buffer.compare(await readFile(out), whole)).toBe(0);
  });

  test('tensors that are there are not read from the source again', async () => {
    const whole = await uninterrupted();
    const files = (await readdir(model)).filter((file) => file.endsWith('.safetensors'));
    for (const file of files) await utimes(join(model, file), 1_000, 1_000);
    await failure(convert(abortAt(30)));
    const done = new Set(await doneTensors());
    // Another source under the same size and time: only tensors that are made now come from it.
    for (const file of files) {
      const path = join(model, file);
      const bytes = await readFile(path);
      const headerBytes = Number(bytes.readBigUInt64LE(0));
      bytes.fill(0, 8 + headerBytes);
      await writeFile(path, bytes);
      await utimes(path, 1_000, 1_000);
    }
    await convert({ resume: true });
    const result = await readFile(out);
    const { plans, parts } = await planOf();
    const { layout } = parts[0] as (typeof parts)[number];
    const unchanged = plans.flatMap(({ name }, i) => {
      const [from, to] = [layout.offsets[i], layout.offsets[i + 1] ?? layout.totalBytes];
      return result.subarray(from, to).equals(whole.subarray(from, to)) ? [name] : [];
    });
    expect(new Set(unchanged)).toEqual(new Set([...done, 'rope_freqs.weight']));
  });

  test('a tensor whose bytes did not reach the disk is made again', async () => {
    const whole = await uninterrupted();
    await failure(convert(abortAt(30)));
    const [lost] = await doneTensors();
    const { plans, parts } = await planOf();
    const { layout } = parts[0] as (typeof parts)[number];
    const index = plans.findIndex(({ name }) => name === lost);
    const bytes = await readFile(`${out}.partial`);
    bytes.fill(0, layout.offsets[index], (layout.offsets[index] as number) + 64);
    await writeFile(`${out}.partial`, bytes);
    const { lines } = await convert({ resume: true });
    expect(lines[0]).toContain('; 1 did not reach the disk and are made again.');
    expect(Buffer.compare(await readFile(out), whole)).toBe(0);
  });

  test('a file that was cut off is filled up', async () => {
    const whole = await uninterrupted();
    await failure(convert(abortAt(30)));
    await writeFile(`${out}.partial`, (await readFile(`${out}.partial`)).subarray(0, 200_000));
    await convert({ resume: true });
    expect(Buffer.compare(await readFile(out), whole)).toBe(0);
  });

  test('the journal may end in the middle of a line', async () => {
    const whole = await uninterrupted();
    await failure(convert(abortAt(30)));
    await appendFile(`${out}.partial.journal`, '{"tensor":"blk.0.ffn_d');
    await failure(convert({ resume: true, ...abortAt(9) }));
    await convert({ resume: true });
    expect(Buffer.compare(await readFile(out), whole)).toBe(0);
  });

  test('a full disk leaves what is done, with the reason and both steps', async () => {
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    const error = await failure(
      convert({
        at: [
          9,
          () => {
            throw full;
          },
        ],
      }),
    );
    expect(error.code).toBe('conversion-failed');
    expect(error.message).toMatch(
      /failed: ENOSPC: no space left on device, write\. \d+ of 83 tensors are kept in .*out\.gguf\.partial\.$/,
    );
    expect(error.hint).toBe(
      'Check the free space and the permissions of the output folder. Add --resume to the same command to go on, or delete it.',
    );
    await convert({ resume: true });
    expect(await written()).toEqual(['out.gguf']);
  });

  test('without --resume it is replaced, and that is said', async () => {
    const whole = await uninterrupted();
    await failure(convert(abortAt(30)));
    const { lines, chunks } = await convert();
    expect(lines).toEqual([
      `An interrupted conversion is replaced: ${out}.partial (--resume would have gone on with it).`,
    ]);
    expect(chunks).toBe(83);
    expect(Buffer.compare(await readFile(out), whole)).toBe(0);
    expect(await written()).toEqual(['out.gguf']);
  });

  test('--resume begins at the beginning where nothing is left', async () => {
    const { lines, chunks } = await convert({ resume: true });
    expect([lines, chunks]).toEqual([[], 83]);
  });

  test('a damaged model leaves nothing: it would fail again', async () => {
    const name = (await readdir(model)).findLast((file) => file.endsWith('.safetensors')) as string;
    const bytes = await readFile(join(model, name));
    bytes.writeUInt16LE(0x7fc0, bytes.length - 2);
    await writeFile(join(model, name), bytes);
    expect(await failure(convert())).toMatchObject({ code: 'model-invalid' });
    expect(await written()).toEqual([]);
  });
});

describe('it is not resumed when', () => {
  const HINT = 'Convert with the same source and options, or leave --resume out to begin anew.';
  const refusal = async (options: Run = {}): Promise<string> => {
    const { code, message, hint } = await failure(convert({ resume: true, ...options }));
    expect([code, hint]).toEqual(['usage', HINT]);
    expect(await written()).toEqual(['out.gguf.partial', 'out.gguf.partial.journal']);
    return message.replace(`${out}.partial cannot be resumed: `, '');
  };
  beforeEach(() => failure(convert(abortAt(30))));

  test('an option is another', async () => {
    expect(await refusal({ options: { '--quant': 'Q4_0' } })).toBe('--quant was Q8_0 and is Q4_0 now.');
    expect(await refusal({ options: { ...OPTIONS, '--imatrix': 'abc' } })).toBe(
      '--imatrix was not given and is abc now.',
    );
  });

  test('a weight file has another time', async () => {
    const name = (await readdir(model)).find((file) => file.endsWith('.safetensors'));
    await utimes(join(model, name as string), 1, 1);
    expect(await refusal()).toBe(`${name} has changed since.`);
  });

  test('the configuration is another', async () => {
    const config = { ...MODEL.config, rope_theta: 7 };
    await writeFile(join(model, 'config.json'), JSON.stringify(config));
    expect(await refusal()).toBe("the model's configuration, tokenizer or name has changed since.");
  });

  test('another version of the converter began it', async () => {
    const path = `${out}.partial.journal`;
    await writeFile(path, (await readFile(path, 'utf8')).replace('to GGUF, 1', 'to GGUF, 0'));
    expect(await refusal()).toBe('it was begun by another version of the converter (to GGUF, 0; this is to GGUF, 1).');
  });
});

describe('what is in the way', () => {
  test('a file that is no conversion of ours stays', async () => {
    await writeFile(`${out}.partial`, 'mine');
    expect(await failure(convert())).toMatchObject({
      code: 'usage',
      message: expect.stringContaining('is in the way, and it is no unfinished conversion'),
    });
    expect(await readFile(`${out}.partial`, 'utf8')).toBe('mine');
  });

  test.each(['', '{}', '{"unfinished":"conversion"}', 'x\n', '[]\n'])('the journal %j is refused', async (text) => {
    await writeFile(`${out}.partial`, '');
    await writeFile(`${out}.partial.journal`, text);
    expect(await failure(convert({ resume: true }))).toMatchObject({
      code: 'conversion-failed',
      message: `${out}.partial.journal is not the journal of a conversion, or it is damaged.`,
    });
  });

  test('a folder as journal is refused', async () => {
    await mkdir(`${out}.partial.journal`);
    expect(await failure(convert())).toMatchObject({ code: 'conversion-failed' });
  });

  test('another process that is writing', async () => {
    await failure(convert(abortAt(30)));
    const other = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
    try {
      await appendFile(`${out}.partial.journal`, `{"process":${other.pid}}\n`);
      for (const resume of [true, false])
        expect(await failure(convert({ resume }))).toMatchObject({
          code: 'usage',
          message: `Another runoff (process ${other.pid}) is writing the same output.`,
        });
    } finally {
      other.kill('SIGKILL');
      await new Promise((resolve) => void other.once('close', resolve));
    }
    await convert({ resume: true });
    expect(await written()).toEqual(['out.gguf']);
  });
});

test('several files are taken up again, and get their names together', async () => {
  const plan = await planFromFolder(model, {
    quant: 'Q8_0',
    tokenizer: new Map(),
    importance: null,
    partBytesMax: 1e6,
  });
  const whole = join(folder, 'whole.gguf');
  const options = { libraryPath: null, importancePath: null };
  const wholePaths = await writeConverted(plan, whole, { ...options, onProgress() {} });
  expect(wholePaths.length).toBeGreaterThan(2);
  const controller = new AbortController();
  const continuation = { options: OPTIONS, onLine() {}, onChecking() {} };
  let chunks = 0;
  const begun = writeConverted(plan, out, {
    ...options,
    continuation: { ...continuation, resume: false },
    signal: controller.signal,
    onProgress() {
      chunks += 1;
      if (chunks === 40) controller.abort();
    },
  });
  expect(await failure(begun)).toMatchObject({ code: 'interrupted' });
  expect(await written()).toEqual(['out.gguf.partial', 'out.gguf.partial.journal']);
  chunks = 0;
  const paths = await writeConverted(plan, out, {
    ...options,
    continuation: { ...continuation, resume: true },
    onProgress: () => void (chunks += 1),
  });
  expect(chunks).toBeLessThan(83 - 35);
  for (const [i, path] of paths.entries())
    expect(Buffer.compare(await readFile(path), await readFile(wholePaths[i] as string))).toBe(0);
  expect(await written()).toEqual(paths.map((path) => path.slice(folder.length + 1)));
});
