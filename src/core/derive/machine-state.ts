/** What the looks at the machine say about a whole run. */
import type { MachineCheckEvent, MachineState } from '../machine-check-schema.ts';
import type { Manifest, RunEvent } from '../record.ts';
import { mean } from '../stats/describe.ts';
import { runLoad, stolenByBlock } from '../validity/load.ts';
import { baselineOf, loadOf, readingsOf } from '../validity/machine-checks.ts';
import { comparedCells } from '../validity/noise.ts';
import type { FamiliesInput } from './families.ts';

type CanaryBest = NonNullable<NonNullable<MachineState['canary']>['best']>;

/** ln slowdown from the quiet level by accepted block; null in a record without a canary. */
export function loadsOf(
  events: readonly RunEvent[],
  acceptedBlocks: readonly number[],
): readonly (number | null)[] | null {
  const attempts = acceptedAttempts(events);
  const accepted = acceptedBlocks.map((block) => ({ block, attempt: attempts.get(block) ?? 0 }));
  return runLoad(events, accepted)?.byBlock ?? null;
}

/** ln slowdown of the ranked engines by the hypervisor, by accepted block; null where the system does not tell. */
export function stolenOf(
  events: readonly RunEvent[],
  acceptedBlocks: readonly number[],
  { machine, settings, engines }: Pick<Manifest, 'machine' | 'settings' | 'engines'>,
): readonly (number | null)[] {
  const attempts = acceptedAttempts(events);
  const cells = events.flatMap((event) =>
    event.type === 'cell-end' && event.state === 'complete' && attempts.get(event.block) === event.attempt
      ? [{ engine: event.engine, block: event.block, stealShare: event.interference.stealShare }]
      : [],
  );
  return stolenByBlock(comparedCells(cells, engines), acceptedBlocks, {
    cores: machine.logicalCores,
    threads: settings.threads,
  });
}

function acceptedAttempts(events: readonly RunEvent[]): Map<number, number> {
  return new Map(
    events.flatMap((event) =>
      event.type === 'block-end' && event.state === 'accepted' ? [[event.block, event.attempt] as const] : [],
    ),
  );
}

/** Null in records from before there were looks. */
export function describeMachine(
  events: readonly RunEvent[],
  { loads, analysis }: Pick<FamiliesInput, 'loads' | 'analysis'>,
): MachineState | null {
  const checks = events.filter((event) => event.type === 'machine-check');
  const plan = events.find((event) => event.type === 'canary-plan');
  if (checks.length === 0) return null;
  const elapsedMs = Math.max(1, ...events.map((event) => ('elapsedMs' in event ? event.elapsedMs : 0)));
  const sustained = events.flatMap((event) =>
    event.type === 'block-end' && event.sustained !== undefined ? [event.sustained] : [],
  );
  return {
    canary: describeCanary(checks, plan, loads?.slice(0, analysis.blocks) ?? []),
    canaryReason: plan?.mode === 'off' ? plan.reason : null,
    costShare: Math.min(1, checks.reduce((sum, { costMs }) => sum + costMs, 0) / elapsedMs),
    sustained: [...new Set(sustained)].slice(0, 100),
  };
}

function describeCanary(
  checks: readonly MachineCheckEvent[],
  plan: Extract<RunEvent, { type: 'canary-plan' }> | undefined,
  loads: readonly (number | null)[],
): MachineState['canary'] {
  const baseline = baselineOf(checks);
  if (baseline === null) return null;
  const all = readingsOf(checks).map((reading) => loadOf(reading, baseline));
  const known = loads.filter((load) => load !== null);
  return {
    looks: all.length,
    threads: plan?.threads ?? 0,
    bufferBytes: plan?.bufferBytes ?? 0,
    ...baseline,
    excessLoad: known.length === 0 ? null : Math.max(0, Math.expm1(mean(known))),
    spread: Math.expm1(Math.max(...all) - Math.min(...all)),
    best: bestOf(plan?.best ?? null, readingsOf(checks)),
  };
}

/** The best before this run, or in it. */
function bestOf(before: CanaryBest | null, readings: readonly CanaryBest[]): CanaryBest | null {
  const all = before === null ? readings : [before, ...readings];
  if (all.length === 0) return null;
  return {
    readBytesPerS: Math.max(...all.map(({ readBytesPerS }) => readBytesPerS)),
    flopsPerS: Math.max(...all.map(({ flopsPerS }) => flopsPerS)),
  };
}
