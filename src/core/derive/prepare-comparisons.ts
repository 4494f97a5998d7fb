/** What of a run's events is compared, in which blocks and at which level: for the record, and at a look of the run itself. */
import type { EngineFacts, GateEvent, Manifest, RunEvent, RunRecord } from '../record.ts';
import type { Roofline } from '../roofline-schema.ts';
import { LABELLING_GATES } from '../validity/gate-result.ts';
import { runNoise } from '../validity/noise.ts';
import type { RunNoise } from '../validity/noise.ts';
import type { FamilyInput } from '../verdict/compare-family.ts';
import { ALPHA, analysisFor, chargeStops, registerLooks, withAlphas } from '../verdict/looks.ts';
import type { Analysis, Look } from '../verdict/looks.ts';
import { collect, latestFacts } from './collect.ts';
import type { Collected } from './collect.ts';
import type { FamiliesInput } from './families.ts';
import { loadsOf, stolenOf } from './machine-state.ts';
import { registeredRule, retiringLooks } from './retirements.ts';
import { describeRoofline, rooflineGates } from './roofline.ts';
import { count, promptValues } from './values.ts';
import { chooseMix, describeWork } from './work.ts';

export interface Prepared {
  readonly compared: FamiliesInput;
  /** Every engine of the manifest with what it reported. */
  readonly facts: EngineFacts[];
  readonly gates: readonly GateEvent[];
  readonly roofline: Roofline | null;
  readonly tested: Tested;
}

export interface Tested {
  readonly planned: number;
  readonly looks: readonly Look[];
  readonly noise: RunNoise;
  readonly analysis: Analysis | null;
  /** Why there is no test yet; null where there is one. */
  readonly pending: string | null;
  /** Accepted blocks each time that the run was stopped and resumed. */
  readonly stops: readonly number[];
}

export function prepareComparisons(
  manifest: Manifest,
  events: readonly RunEvent[],
  state: RunRecord['state'],
  { copies = false }: { readonly copies?: boolean } = {},
): Prepared {
  const collected = collect(events);
  const facts = latestFacts(manifest, events);
  const measured = facts.filter(({ id }) => isMeasured(manifest, collected, id));
  const roofline = describeRoofline({ manifest, engines: measured, events, collected });
  const gates = [...events.filter((event) => event.type === 'gate'), ...rooflineGates(roofline, manifest)];
  const voided = voidedBy(gates);
  const ranked = measured.filter(({ referenceBackend }) => referenceBackend === null).map(({ id }) => id);
  const work = describeWork(manifest, facts, collected);
  const tested = howTested({ manifest, events, collected, state });
  const retiring = retiringLooks(manifest, events, tested.looks);
  const inPlay = ranked.filter((id) => !voided.has(id));
  const retired = retiring.flatMap((look) => look.retired);
  const mix = chooseMix({ manifest, collected, work, engines: inPlay.length > 0 ? inPlay : ranked, retired });
  const compared = {
    manifest,
    engines: measured,
    collected,
    work,
    mix,
    ranked,
    voided,
    analysis: tested.analysis ?? { blocks: collected.acceptedBlocks.length, alpha: ALPHA, alphaIfUnresolved: ALPHA },
    override: overrideOf(tested),
    loads: copies ? null : loadsOf(events, collected.acceptedBlocks),
    stolen: copies ? [] : stolenOf(events, collected.acceptedBlocks, manifest),
    retiring,
  };
  return { compared, facts, gates, roofline, tested };
}

/** A run that failed or was stopped can be resumed. */
const TESTED_AS = { running: 'running', interrupted: 'stopped', failed: 'stopped', complete: 'ended' } as const;

function howTested(input: {
  readonly manifest: Manifest;
  readonly events: readonly RunEvent[];
  readonly collected: Collected;
  readonly state: RunRecord['state'];
}): Tested {
  const { manifest, events, collected, state } = input;
  const stops = stoppedAt(events);
  const { planned, looks } = registered(manifest, events, stops);
  const accepted = collected.acceptedBlocks.length;
  const analysis = analysisFor({ looks, accepted, state: TESTED_AS[state] });
  const pending =
    analysis === null
      ? `${accepted} of ${planned} blocks are done, the first planned look is at ${looks[0]?.blocks}`
      : null;
  return {
    planned,
    looks,
    analysis,
    pending,
    stops,
    noise: runNoise({ planned, accepted, rejected: collected.rejected, ended: state !== 'running' }),
  };
}

function overrideOf({ noise, pending }: Tested): NonNullable<FamilyInput['override']> | null {
  if (noise.reason !== null) return { verdict: 'NOISY', reason: noise.reason };
  return pending === null ? null : { verdict: 'INCONCLUSIVE', reason: pending };
}

/** Engine to reason, for every failed gate that is more than a label. Once failed stays failed. */
function voidedBy(gates: readonly GateEvent[]): Map<string, string> {
  const failed = gates.filter(({ gate, outcome }) => outcome === 'failed' && !LABELLING_GATES.has(gate));
  const byEngine = Map.groupBy(failed, ({ engine }) => engine);
  return new Map(
    [...byEngine].map(([engine, list]) => {
      const reasons = list.map(
        ({ gate, detail, remedy }) =>
          `${engine} failed the ${gate} gate: ${detail}${remedy === null ? '' : ` (remedy: ${remedy.replace(/\.$/, '')})`}`,
      );
      return [engine, [...new Set(reasons)].join('; ').slice(0, 1_500)];
    }),
  );
}

function isMeasured(manifest: Manifest, collected: Collected, engine: EngineFacts['id']): boolean {
  return manifest.plan.prompts.some(({ name }) => count(promptValues(collected, engine, name, 'request')) > 0);
}

/** The plan registered after the pilot; before it, what was asked for. */
function registered(
  manifest: Manifest,
  events: readonly RunEvent[],
  stops: readonly number[],
): { readonly planned: number; readonly looks: readonly Look[] } {
  const plan = events.find((event) => event.type === 'plan');
  const planned = plan?.blocks ?? manifest.plan.blocks;
  const looks =
    plan === undefined || plan.looks.length === 0
      ? registerLooks(Math.max(1, planned), { earlyLook: !manifest.plan.ladder })
      : withAlphas(plan.looks, registeredRule(events)?.alpha);
  return { planned, looks: chargeStops(looks, stops) };
}

/** Accepted blocks each time that the run was stopped and resumed. One that had ended spent all of its level. */
function stoppedAt(events: readonly RunEvent[]): number[] {
  return events.flatMap((event, index) => {
    if (event.type !== 'session' || !event.resumed) return [];
    const before = events.slice(0, index);
    const last = before.findLast(({ type }) => type === 'end' || type === 'session');
    return last?.type === 'end' && last.state === 'complete' ? [] : [collect(before).acceptedBlocks.length];
  });
}
