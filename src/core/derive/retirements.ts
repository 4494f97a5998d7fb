/** Looks of a run after which engines were not measured on, with what each look saw. */
import type { Manifest, RunEvent } from '../record.ts';
import type { Retired, RetirementRule } from '../retirement-schema.ts';
import { ALPHA } from '../verdict/looks.ts';
import type { Look } from '../verdict/looks.ts';
import { findBehind } from '../verdict/retirement.ts';
import { collect } from './collect.ts';
import { compareMix } from './families.ts';
import type { FamiliesInput, RetiringLook } from './families.ts';
import { loadsOf, stolenOf } from './machine-state.ts';

/** In the order of the run. A look saw the events before it: a block that was run again later is another block. */
export function retiringLooks(manifest: Manifest, events: readonly RunEvent[], looks: readonly Look[]): RetiringLook[] {
  return events.flatMap((event, index) => {
    if (event.type !== 'look' || event.retired.length === 0) return [];
    const before = events.slice(0, index);
    const collected = collect(before);
    const alpha = looks.find(({ blocks }) => blocks === event.blocks)?.alpha ?? ALPHA / looks.length;
    return [
      {
        retired: event.retired.map(({ engine }) => engine),
        collected,
        loads: loadsOf(before, collected.acceptedBlocks),
        stolen: stolenOf(before, collected.acceptedBlocks, manifest),
        blocks: event.blocks,
        alpha,
      },
    ];
  });
}

/** The rule that was registered before the first block; null where nobody may be retired. */
export function registeredRule(events: readonly RunEvent[]): RetirementRule | null {
  return events.find((event) => event.type === 'plan')?.retirement ?? null;
}

/** Every retirement with its evidence from the samples, whatever the event claims. */
export function listRetired(events: readonly RunEvent[], compared: FamiliesInput): Retired[] {
  if (compared.retiring.length === 0) return [];
  const rule = registeredRule(events);
  const behind = rule === null ? [] : findBehind(compareMix(compared, rule), rule);
  const looks = events.filter((event) => event.type === 'look');
  return looks.flatMap(({ blocks, retired, restMs: restMsAll }) =>
    retired
      .filter(({ engine }) => compared.engines.some(({ id }) => id === engine))
      .map(({ engine, restMs }) => {
        const found = behind.find((entry) => entry.engine === engine);
        const { than = null, ratio = null, low = null } = found ?? {};
        return { engine, blocks, than, ratio, low, restMs, restMsAll };
      }),
  );
}
