import { z } from 'zod';
import { convertToGguf } from '../../app/convert/to-gguf.ts';
import { AppError } from '../../core/errors.ts';
import { terminalUi } from '../progress.ts';
import { interruptible } from '../signals.ts';

const optionsSchema = z.object({
  to: z.enum(['gguf']),
  quant: z.string().optional(),
  out: z.string().optional(),
  overwrite: z.boolean().optional(),
  imatrix: z.string().optional(),
  preTokenizer: z.string().optional(),
  strict: z.boolean().optional(),
  threads: z.number().optional(),
});

export async function convertCommand(source: string, raw: Record<string, unknown>): Promise<void> {
  const options = optionsSchema.parse(raw);
  const ui = terminalUi(process.stderr);
  const { signal, release } = interruptible(ui, 'what was written so far is removed.');
  try {
    const converted = await convertToGguf({
      source,
      quant: options.quant ?? null,
      out: options.out ?? null,
      overwrite: options.overwrite === true,
      imatrix: options.imatrix ?? null,
      preTokenizer: options.preTokenizer ?? null,
      strict: options.strict === true,
      threads: options.threads ?? null,
      signal,
      ui,
    });
    ui.done();
    const { path, fileBytes, bitsPerWeight, seconds, notes } = converted;
    process.stdout.write(
      `${path}: ${(fileBytes / 1e6).toFixed(1)} MB, ${bitsPerWeight.toFixed(2)} bits per weight, ${seconds.toFixed(1)} s\n`,
    );
    for (const note of notes) ui.line(`Note: ${note}`);
    ui.line(`Look into it: runoff models inspect ${path}`);
  } catch (error) {
    if (signal.aborted) throw new AppError('interrupted', 'stopped; nothing was written', { cause: error });
    throw error;
  } finally {
    ui.done();
    release();
  }
}
