/** Same weights are not the same bytes: what qualifies a comparison (correction 6). */
import type { EngineFacts, ModelFacts } from '../record.ts';

/** More than this apart and no FASTER stands without the two figures beside it. */
const BITS_TOLERANCE = 0.02;

/**
 * The file that an engine reads: the last one of its format, because conversions come after their original; of served
 * models, each server's own.
 */
export function modelOf(
  engine: Pick<EngineFacts, 'modelFormat' | 'location'>,
  models: readonly ModelFacts[],
): ModelFacts | null {
  const ofFormat = models.filter(({ format }) => format === engine.modelFormat);
  return (
    (engine.modelFormat === 'served' ? ofFormat.find(({ path }) => path === engine.location) : ofFormat.at(-1)) ?? null
  );
}

/** `with 4.50 against 5.00 bits per weight (a, b)`; null where both read the same representation, or it is unknown. */
export function bitsQualifier(a: EngineFacts, b: EngineFacts, models: readonly ModelFacts[]): string | null {
  const [left, right] = [modelOf(a, models), modelOf(b, models)];
  if (left === null || right === null || left === right) return null;
  const [leftBits, rightBits] = [left.bitsPerWeight, right.bitsPerWeight];
  if (leftBits === null || rightBits === null) return null;
  if (Math.abs(leftBits / rightBits - 1) <= BITS_TOLERANCE) return null;
  return `with ${leftBits.toFixed(2)} (${a.id}) against ${rightBits.toFixed(2)} (${b.id}) bits per weight`;
}
