import { z } from 'zod';
import { describeCatalogue, describeMadeTwin, makeTwinFile } from '../../app/twin.ts';
import { AppError } from '../../core/errors.ts';
import { terminalUi } from '../progress.ts';
import { interruptible } from '../signals.ts';

const optionsSchema = z.object({
  quant: z.string().optional(),
  to: z.enum(['gguf', 'mlx']),
  out: z.string().optional(),
  seed: z.number().optional(),
  tokenizer: z.string().optional(),
  json: z.boolean().optional(),
});

export async function twinCommand(id: string | undefined, raw: Record<string, unknown>): Promise<void> {
  const { quant, to, out, seed, tokenizer, json } = optionsSchema.parse(raw);
  if (id === undefined) {
    process.stdout.write(`${describeCatalogue()}\n`);
    return;
  }
  const ui = terminalUi(process.stderr);
  const { signal, release } = interruptible(ui);
  try {
    const made = await makeTwinFile({
      id,
      to,
      quant: quant ?? null,
      out: out ?? null,
      seed: seed ?? null,
      tokenizer: tokenizer ?? null,
      signal,
      ui,
    });
    ui.done();
    process.stdout.write(`${json === true ? JSON.stringify(made, null, 2) : describeMadeTwin(made)}\n`);
    if (json !== true && to === 'gguf') ui.line(`Measure it: runoff run --model ${made.path}`);
  } catch (error) {
    if (signal.aborted) throw new AppError('interrupted', 'stopped; nothing was written', { cause: error });
    throw error;
  } finally {
    ui.done();
    release();
  }
}
