/** The proof of a lossless conversion: every value of the result against the source's, before it gets its name. */
import { AppError } from '../../core/errors.ts';
import { compareWeights } from '../../models/verify/compare-weights.ts';
import type { Ui } from '../ui.ts';
import { conversionProgress } from './progress.ts';

export interface ProofAsk {
  readonly source: string;
  /** Under its temporary name. */
  readonly made: string;
  /** For the message: `MLX`, `GGUF`. */
  readonly form: string;
  readonly signal: AbortSignal;
  readonly ui: Ui;
}

/** @throws AppError `conversion-failed` */
export async function proveIdentical({ source, made, form, signal, ui }: ProofAsk): Promise<void> {
  const { verdict, differing, missingIn, otherShapes } = await compareWeights(source, made, {
    relativeRmseMax: 0,
    signal,
    onProgress: conversionProgress(ui, 'Checking that the weights are the same'),
  });
  if (verdict === 'identical') return;
  const [first] = [...differing, ...otherShapes].map(({ name }) => name).concat(missingIn.a, missingIn.b);
  throw new AppError(
    'conversion-failed',
    `The ${form} form of ${source} differs from it, first in ${first ?? 'nothing'}.`,
    {
      hint: 'This is a bug in runoff; please report it.',
    },
  );
}
