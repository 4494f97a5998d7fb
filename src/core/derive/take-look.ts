/** A planned look while a run goes on: may it stop, and who need not be measured on? */
import type { Manifest, RunEvent } from '../record.ts';
import type { LookEvent } from '../retirement-schema.ts';
import { isResolved } from '../verdict/compare-family.ts';
import { chooseRetired, findBehind } from '../verdict/retirement.ts';
import type { DeriveOptions } from './derive-record.ts';
import { prepareComparisons } from './prepare-comparisons.ts';
import { compareAll, compareMix } from './families.ts';
import { registeredRule } from './retirements.ts';

/**
 * Resolved: every ranked pair of the headline has its answer at the last planned look that the events passed, or one of
 * its engines is retired. A ladder goes on to its last block: it asks how much, not who is faster, and an interval never
 * has its answer.
 * @param restMs predicted for what is left of every engine that is measured on
 * @param options copies: as for the record that is made of it in the end, or a run of copies would go on past its answer
 */
export function takeLook(
  manifest: Manifest,
  events: readonly RunEvent[],
  restMs: ReadonlyMap<string, number>,
  options: Pick<DeriveOptions, 'copies'> = {},
): Pick<LookEvent, 'resolved' | 'retired'> {
  if (manifest.plan.ladder) return { resolved: false, retired: [] };
  const { compared } = prepareComparisons(manifest, events, 'running', options);
  const gone = compared.retiring.flatMap((look) => look.retired);
  const { comparisons } = compareAll(compared);
  const rule = registeredRule(events);
  const resolved = isResolved(comparisons, gone);
  // A noisy run names nobody faster, and so nobody slower.
  if (resolved || rule === null || compared.override !== null) return { resolved, retired: [] };
  const ranked = compared.mix.engines.filter(
    (engine) => restMs.has(engine) && !compared.voided.has(engine) && !gone.includes(engine),
  );
  const behind = findBehind(compareMix(compared, rule), rule);
  const retired = chooseRetired({ behind, ranked, restMs });
  return { resolved: isResolved(comparisons, [...gone, ...retired.map(({ engine }) => engine)]), retired };
}
