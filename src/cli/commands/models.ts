import { z } from 'zod';
import { inspectModel, packModels } from '../../app/models.ts';
import { describeInspection } from '../../app/models-text.ts';
import { describeModelList, describePulled, listModels, pullModel } from '../../app/pull-model.ts';
import { checkTokenizer } from '../../app/tokenizer.ts';
import { describeTokenizer } from '../../app/tokenizer-text.ts';
import { AppError } from '../../core/errors.ts';
import { EXIT } from '../exit-codes.ts';
import { terminalUi } from '../progress.ts';
import { interruptible } from '../signals.ts';

const inspectOptions = z.object({ context: z.number().optional(), json: z.boolean().optional() });
const packOptions = z.object({
  llamafile: z.string(),
  arg: z.array(z.string()).optional(),
  out: z.string().optional(),
  replace: z.boolean().optional(),
});

const jsonOption = z.object({ json: z.boolean().optional() });
const tokenizerOptions = z.object({
  against: z.string().optional(),
  preTokenizer: z.string().max(100).optional(),
  strict: z.boolean().optional(),
  json: z.boolean().optional(),
});

/** Columns where nobody sees a terminal. */
const WIDTH = 100;

export async function inspectCommand(file: string, raw: Record<string, unknown>): Promise<void> {
  const { context, json } = inspectOptions.parse(raw);
  const inspection = await inspectModel(file, context ?? null);
  const text =
    json === true
      ? JSON.stringify(inspection, null, 2)
      : describeInspection(inspection, process.stdout.columns ?? WIDTH);
  process.stdout.write(`${text}\n`);
}

export async function packCommand(words: readonly string[], raw: Record<string, unknown>): Promise<void> {
  const { llamafile, arg = [], out, replace } = packOptions.parse(raw);
  const { models, args } = splitWords(words);
  const ui = terminalUi(process.stderr);
  const { signal, release } = interruptible(ui);
  try {
    const packed = await packModels({
      llamafile,
      models,
      args: [...arg, ...args],
      out: out ?? null,
      replace: replace === true,
      signal,
      ui,
    });
    ui.done();
    process.stdout.write(`${packed.path}: ${(packed.fileBytes / 1e6).toFixed(1)} MB\n`);
    for (const { what, remedy } of packed.warnings) ui.line(`Note: ${what} ${remedy}`);
    ui.line(`Look into it: runoff models inspect ${packed.path}`);
  } catch (error) {
    if (signal.aborted) throw new AppError('interrupted', 'stopped; nothing was written', { cause: error });
    throw error;
  } finally {
    ui.done();
    release();
  }
}

export async function tokenizerCommand(path: string, raw: Record<string, unknown>): Promise<void> {
  const { against, preTokenizer, strict, json } = tokenizerOptions.parse(raw);
  const ui = terminalUi(process.stderr);
  const { signal, release } = interruptible(ui);
  try {
    const report = await checkTokenizer({
      path,
      against: against ?? null,
      preTokenizer: preTokenizer ?? null,
      strict: strict === true,
      signal,
      ui,
    });
    ui.done();
    const text =
      json === true ? JSON.stringify(report, null, 2) : describeTokenizer(report, process.stdout.columns ?? WIDTH);
    process.stdout.write(`${text}\n`);
    if (report.proof.state === 'differs') process.exitCode = EXIT.trouble;
  } catch (error) {
    if (signal.aborted) throw new AppError('interrupted', 'stopped; nothing was written', { cause: error });
    throw error;
  } finally {
    ui.done();
    release();
  }
}

/** The parser drops the `--`; a word with a dash at its start, or `...`, can only stand behind it. */
function splitWords(words: readonly string[]): { models: readonly string[]; args: readonly string[] } {
  const first = words.findIndex((word) => word.startsWith('-') || word === '...');
  return first < 0 ? { models: words, args: [] } : { models: words.slice(0, first), args: words.slice(first) };
}

/** The path alone on stdout, so that scripts can take it. */
export async function pullCommand(spec: string, raw: Record<string, unknown>): Promise<void> {
  const { json } = jsonOption.parse(raw);
  const ui = terminalUi(process.stderr);
  const { signal, release } = interruptible(ui, 'what has arrived is kept.');
  try {
    const model = await pullModel({ spec, signal, ui });
    ui.done();
    if (json !== true) for (const line of describePulled(model)) ui.line(line);
    process.stdout.write(`${json === true ? JSON.stringify(model, null, 2) : model.path}\n`);
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new AppError('interrupted', 'stopped', { hint: `Go on with: runoff models pull ${spec}`, cause: error });
  } finally {
    ui.done();
    release();
  }
}

export async function listCommand(raw: Record<string, unknown>): Promise<void> {
  const { json } = jsonOption.parse(raw);
  const list = await listModels();
  process.stdout.write(`${json === true ? JSON.stringify(list, null, 2) : describeModelList(list)}\n`);
}
