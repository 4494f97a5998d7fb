/** What `runoff models verify` does: tells whether two models hold the same weights. */
import { cleanStrings } from '../report/clean.ts';
import { count, digits } from '../report/numbers.ts';
import { wrap } from '../report/text-table.ts';
import { compareWeights, type TensorComparison, type WeightsComparison } from '../models/verify/compare-weights.ts';
import { conversionProgress } from './convert/progress.ts';
import type { Ui } from './ui.ts';

export interface VerifyAsk {
  readonly a: string;
  readonly b: string;
  readonly relativeRmseMax: number;
  readonly signal: AbortSignal;
  readonly ui: Ui;
}

/**
 * Quantising to 4 bits costs 0.05 to 0.1, to 3 bits 0.15 to 0.25, unrelated weights are 1.4 apart: beyond this, two files
 * are hardly the same model.
 */
export const RELATIVE_RMSE_MAX = 0.15;

/** @throws AppError `model-not-found`, `model-invalid`, `model-unsupported` */
export async function verifyModels({ a, b, relativeRmseMax, signal, ui }: VerifyAsk): Promise<WeightsComparison> {
  ui.status('Reading both headers');
  return compareWeights(a, b, {
    relativeRmseMax,
    signal,
    onProgress: conversionProgress(ui, 'Comparing weights'),
  });
}

const TENSORS_SHOWN = 5;
const NAMES_SHOWN = 4;

/** Pure: the answer first, then what it rests on. @param width columns of the terminal */
export function describeComparison(comparison: WeightsComparison, width: number): string {
  const clean = cleanStrings(comparison);
  const lines = [headline(clean), ...evidence(clean)];
  return lines
    .flatMap((line) => wrap(line, width, line.startsWith('  ') ? { first: '  ', rest: '    ' } : undefined))
    .join('\n');
}

function headline({
  verdict,
  differing,
  identicalTensorCount,
  valueCount,
  relativeRmseMax,
}: WeightsComparison): string {
  if (verdict === 'identical') {
    return `Identical: all ${count(valueCount, 'value')} of ${count(identicalTensorCount, 'tensor')} are the same numbers.`;
  }
  const worst = differing[0];
  if (verdict === 'within') {
    return `Within ${amount(worst?.relativeRmse ?? 0)}: the same tensors, and the worst one is off by that relative RMSE (limit ${relativeRmseMax}).`;
  }
  const reason =
    worst !== undefined && worst.relativeRmse > relativeRmseMax
      ? `${worst.name} is off by a relative RMSE of ${amount(worst.relativeRmse)} (limit ${relativeRmseMax})`
      : 'the tensors are not the same';
  return `Different: ${reason}.`;
}

function evidence(comparison: WeightsComparison): string[] {
  const { a, b, overall, differing, identicalTensorCount, missingIn, otherShapes, tiedOutput } = comparison;
  const compared = identicalTensorCount + differing.length;
  const far =
    differing.length === 0
      ? []
      : [
          `  ${identicalTensorCount} of ${count(compared, 'tensor')} identical; over all values: ${overall.differingCount.toLocaleString('en-US')} of ${overall.valueCount.toLocaleString('en-US')} differ, max |a - b| ${amount(overall.maxAbsolute)}, relative RMSE ${amount(overall.relativeRmse)}`,
          ...differing.slice(0, TENSORS_SHOWN).map(tensorLine),
          ...(differing.length > TENSORS_SHOWN
            ? [`  and ${differing.length - TENSORS_SHOWN} more (--json lists all)`]
            : []),
        ];
  const tie =
    tiedOutput === null
      ? []
      : [
          `  ${tiedOutput} ties its output matrix to the embeddings: these were compared with the other's lm_head.weight`,
        ];
  return [
    `  a: ${a.path} (${a.format})`,
    `  b: ${b.path} (${b.format})`,
    ...missingLine('a', missingIn.a),
    ...missingLine('b', missingIn.b),
    ...otherShapes.slice(0, NAMES_SHOWN).map(({ name, a: one, b: other }) => `  ${name}: ${one} in a, ${other} in b`),
    ...tie,
    ...far,
  ];
}

function missingLine(side: 'a' | 'b', names: readonly string[]): string[] {
  if (names.length === 0) return [];
  const more = names.length > NAMES_SHOWN ? ` and ${names.length - NAMES_SHOWN} more` : '';
  return [`  not in ${side}: ${names.slice(0, NAMES_SHOWN).join(', ')}${more}`];
}

function tensorLine({ name, storedAs, maxAbsolute, relativeRmse }: TensorComparison): string {
  return `  ${name}: relative RMSE ${amount(relativeRmse)}, max ${amount(maxAbsolute)} (${storedAs.a} against ${storedAs.b})`;
}

/** Errors span many decades: `0.0712`, `3.1e-8`. */
function amount(value: number): string {
  if (!Number.isFinite(value)) return 'not finite';
  return value !== 0 && value < 0.001 ? value.toExponential(1) : digits(value);
}
