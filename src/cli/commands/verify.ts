import { z } from 'zod';
import { describeComparison, RELATIVE_RMSE_MAX, verifyModels } from '../../app/verify.ts';
import { AppError } from '../../core/errors.ts';
import { EXIT } from '../exit-codes.ts';
import { terminalUi } from '../progress.ts';
import { interruptible } from '../signals.ts';

const options = z.object({ within: z.number().optional(), json: z.boolean().optional() });

/** Columns where nobody sees a terminal. */
const WIDTH = 100;

export async function verifyCommand(a: string, b: string, raw: Record<string, unknown>): Promise<void> {
  const { within, json } = options.parse(raw);
  const ui = terminalUi(process.stderr);
  const { signal, release } = interruptible(ui, 'there will be no verdict.');
  try {
    const comparison = await verifyModels({ a, b, relativeRmseMax: within ?? RELATIVE_RMSE_MAX, signal, ui });
    ui.done();
    const text =
      json === true
        ? JSON.stringify(comparison, null, 2)
        : describeComparison(comparison, process.stdout.columns ?? WIDTH);
    process.stdout.write(`${text}\n`);
    process.exitCode = { identical: EXIT.ok, within: EXIT.weightsWithin, different: EXIT.weightsDiffer }[
      comparison.verdict
    ];
  } catch (error) {
    if (signal.aborted) throw new AppError('interrupted', 'stopped; no verdict', { cause: error });
    throw error;
  } finally {
    ui.done();
    release();
  }
}
