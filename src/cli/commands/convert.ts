import { z } from 'zod';
import { convertToMlx, type ConvertedToMlx } from '../../app/convert/to-mlx.ts';
import { AppError } from '../../core/errors.ts';
import { terminalUi } from '../progress.ts';
import { interruptible } from '../signals.ts';

const optionsSchema = z.object({
  to: z.enum(['mlx']),
  bits: z.number().optional(),
  group: z.number().optional(),
  recipe: z.enum(['mixed_2_6', 'mixed_3_4', 'mixed_3_6', 'mixed_4_6']).optional(),
  dtype: z.enum(['f16', 'bf16', 'f32']).optional(),
  rounding: z.enum(['cpu', 'metal']).optional(),
  out: z.string().optional(),
  overwrite: z.boolean().optional(),
  threads: z.number().optional(),
});

export async function convertCommand(source: string, raw: Record<string, unknown>): Promise<void> {
  const options = optionsSchema.parse(raw);
  const ui = terminalUi(process.stderr);
  const { signal, release } = interruptible(ui, 'what was written so far is removed.');
  try {
    const converted = await convertToMlx({
      source,
      bits: options.bits ?? null,
      groupSize: options.group ?? null,
      recipe: options.recipe ?? null,
      dtype: options.dtype ?? null,
      rounding: options.rounding ?? 'cpu',
      out: options.out ?? null,
      overwrite: options.overwrite === true,
      threads: options.threads ?? null,
      signal,
      ui,
    });
    ui.done();
    report(converted);
    for (const note of converted.notes) ui.line(`Note: ${note}`);
    ui.line(`Look into it: runoff models inspect ${converted.path}`);
  } catch (error) {
    if (signal.aborted) throw new AppError('interrupted', 'stopped; nothing was written', { cause: error });
    throw error;
  } finally {
    ui.done();
    release();
  }
}

function report({ path, fileBytes, bitsPerWeight, seconds }: ConvertedToMlx): void {
  const size = `${(fileBytes / 1e6).toFixed(1)} MB`;
  process.stdout.write(`${path}: ${size}, ${bitsPerWeight.toFixed(2)} bits per weight, ${seconds.toFixed(1)} s\n`);
}
