import { describeCatalogue, describeMadeTwin, makeTwinFile } from '../../app/twin.ts';
import { AppError } from '../../core/errors.ts';
import { terminalUi } from '../progress.ts';
import { interruptible } from '../signals.ts';

/** As model-commands.ts declares them and commander checks them: a schema library takes a third of the time of a small twin. */
export interface TwinOptions {
  readonly quant?: string;
  readonly to: 'gguf' | 'mlx';
  readonly out?: string;
  readonly seed?: number;
  readonly tokenizer?: string;
  readonly json?: boolean;
}

export async function twinCommand(id: string | undefined, options: TwinOptions): Promise<void> {
  const { quant, to, out, seed, tokenizer, json } = options;
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
