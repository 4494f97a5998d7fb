import { z } from 'zod';
import { convertToGguf } from '../../app/convert/to-gguf.ts';
import { convertToMlx } from '../../app/convert/to-mlx.ts';
import type { ReferencePermission } from '../../app/convert/reference.ts';
import type { Ui } from '../../app/ui.ts';
import { AppError } from '../../core/errors.ts';
import { askYesNo, installQuestion } from '../ask.ts';
import { terminalUi } from '../progress.ts';
import { interruptible } from '../signals.ts';

const COMMON = {
  out: z.string().optional(),
  overwrite: z.boolean().optional(),
  resume: z.boolean().optional(),
  withReference: z.boolean().optional(),
  yes: z.boolean().optional(),
  install: z.boolean(),
  threads: z.number().optional(),
};
const ggufSchema = z.strictObject({
  ...COMMON,
  to: z.literal('gguf'),
  quant: z.string().optional(),
  imatrix: z.string().optional(),
  preTokenizer: z.string().optional(),
  strict: z.boolean().optional(),
  splitMaxSize: z.number().optional(),
});
const mlxSchema = z.strictObject({
  ...COMMON,
  to: z.literal('mlx'),
  bits: z.number().optional(),
  group: z.number().optional(),
  recipe: z.enum(['mixed_2_6', 'mixed_3_4', 'mixed_3_6', 'mixed_4_6']).optional(),
  dtype: z.enum(['f16', 'bf16', 'f32']).optional(),
  rounding: z.enum(['cpu', 'metal']).optional(),
});
const optionsSchema = z.discriminatedUnion('to', [ggufSchema, mlxSchema]);
type Options = z.infer<typeof optionsSchema>;

interface Converted {
  readonly path: string;
  readonly fileBytes: number;
  readonly bitsPerWeight: number;
  readonly seconds: number;
  readonly notes: readonly string[];
}

export async function convertCommand(source: string, raw: Record<string, unknown>): Promise<void> {
  const options = readOptions(raw);
  const ui = terminalUi(process.stderr);
  const { signal, release } = interruptible(ui, 'tensors that are complete are kept for --resume.');
  try {
    const { path, fileBytes, bitsPerWeight, seconds, notes } = await convert(source, options, signal, ui);
    ui.done();
    process.stdout.write(
      `${path}: ${(fileBytes / 1e6).toFixed(1)} MB, ${bitsPerWeight.toFixed(2)} bits per weight, ${seconds.toFixed(1)} s\n`,
    );
    for (const note of notes) ui.line(`Note: ${note}`);
    ui.line(`Look into it: runoff models inspect ${path}`);
  } catch (error) {
    if (error instanceof AppError && error.code === 'interrupted') throw error;
    if (signal.aborted) throw new AppError('interrupted', 'stopped; nothing was written', { cause: error });
    throw error;
  } finally {
    ui.done();
    release();
  }
}

/** An option of the other format is a mistake, not something to ignore. */
function readOptions(raw: Record<string, unknown>): Options {
  const parsed = optionsSchema.safeParse(raw);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const [name] = issue?.code === 'unrecognized_keys' ? issue.keys : [];
  if (name === undefined) throw parsed.error;
  throw new AppError(
    'usage',
    `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} does not go with --to ${String(raw['to'])}`,
    {
      hint: 'runoff models convert --help says which option is for which format.',
    },
  );
}

function convert(source: string, options: Options, signal: AbortSignal, ui: Ui): Promise<Converted> {
  const common = {
    source,
    out: options.out ?? null,
    overwrite: options.overwrite === true,
    resume: options.resume === true,
    reference: options.withReference === true ? permissionOf(options) : null,
    threads: options.threads ?? null,
    signal,
    ui,
  };
  if (options.to === 'gguf') {
    const {
      quant = null,
      imatrix = null,
      preTokenizer = null,
      strict = false,
      splitMaxSize: splitBytesMax = null,
    } = options;
    return convertToGguf({ ...common, quant, imatrix, preTokenizer, strict, splitBytesMax });
  }
  const { bits = null, group: groupSize = null, recipe = null, dtype = null, rounding = 'cpu' } = options;
  return convertToMlx({ ...common, bits, groupSize, recipe, dtype, rounding });
}

/** A script that starts an installation means it; code that came with a model is another matter. */
function permissionOf({ yes, install }: Options): ReferencePermission {
  const isAsked = process.stdin.isTTY && process.stderr.isTTY;
  return {
    mayInstall: installQuestion({ yes: yes === true, install }),
    mayRunCode: async (question) => yes === true || (isAsked && (await askYesNo(question))),
  };
}
