/** The record of a run: a pure reduction of its manifest and events, whole or cut off anywhere. */
import type { Manifest, RunEvent, RunRecord, Sample } from '../record.ts';
import { SCHEMA_VERSION } from '../record.ts';
import { decide } from '../verdict/decide.ts';
import { ALPHA } from '../verdict/looks.ts';
import type { Analysis } from '../verdict/looks.ts';
import { listCaveats } from './caveats.ts';
import { certify } from './certificate.ts';
import type { Collected } from './collect.ts';
import { compareAll } from './families.ts';
import { deriveLadder } from './ladder.ts';
import { describeMachine } from './machine-state.ts';
import { listNotMeasured, listWarnings } from './notices.ts';
import { prepareComparisons } from './prepare-comparisons.ts';
import { listRetired } from './retirements.ts';
import { summarise } from './summaries.ts';
import { logs, mixValues } from './values.ts';

export interface DeriveOptions {
  /** The run goes on: without an `end` event it is `running`, not `interrupted`, and only planned looks are tested. */
  readonly live?: boolean;
  /**
   * The engines are copies of one, with its settings: load slows them alike, so that the rule against unequal suffering
   * has nothing to protect.
   */
  readonly copies?: boolean;
}

/**
 * Reproduces every number and verdict from the events. A block counts by its last accepted attempt; engines whose cell
 * failed are missing in that block only. An ended run is tested with what is left of the 5% (correction 14), a stopped one
 * with a part of it, a live one only at the last planned look that it passed.
 */
export function deriveRecord(manifest: Manifest, events: readonly RunEvent[], options: DeriveOptions = {}): RunRecord {
  const state = stateOf(events, options);
  const ended = state !== 'running';
  const { compared, facts, gates, roofline, tested } = prepareComparisons(manifest, events, state, options);
  const { collected, work, mix, ranked, voided, engines: measured } = compared;
  const { planned, looks, noise, analysis, pending, stops } = tested;
  const { comparisons, alpha } = compareAll(compared);
  const retired = listRetired(events, compared);
  const samples = measuredSamples(events);
  const certificate = certify({ manifest, engines: measured, gates, collected, samples, retired });
  const notMeasured = listNotMeasured({ manifest, events, facts, collected, ended });
  const told = { manifest, facts, measured, events, collected, mix, work };
  const limits = { ...told, certificate, noise, analysis, looks, stops, ended, retired };
  const verdict = decide({
    engines: measured,
    ranked: ranked.filter((id) => mix.engines.includes(id) || voided.has(id)),
    models: manifest.models,
    comparisons,
    mixLogValues: mixLogValuesOf(ranked, collected, mix.prompts, analysis),
    prompts: mix.prompts,
    alpha: looks.at(-1)?.alpha ?? ALPHA,
    margin: manifest.plan.margin,
    noise: noise.reason === null ? null : { reason: noise.reason, remedy: noise.remedy ?? '' },
    pending,
    voided: new Map([...voided].filter(([id]) => ranked.includes(id))),
    nothingReason: nothingReason(events, notMeasured),
    caveats: listCaveats(limits),
  });
  return {
    schemaVersion: SCHEMA_VERSION,
    manifest,
    state,
    elapsedMs: elapsedOf(events),
    verdict,
    certificate,
    engines: facts,
    gates: gates.slice(0, 1_000),
    summaries: summarise({ manifest, engines: measured.map(({ id }) => id), collected, work, mix }),
    comparisons,
    notMeasured,
    warnings: listWarnings({ events, collected, work }),
    blocks: countBlocks(planned, collected),
    looks: looks.map(({ blocks }) => blocks),
    ...(retired.length === 0 ? {} : { retired }),
    ladder: deriveLadder({ ...compared, facts, alpha, notMeasured }),
    machineState: describeMachine(events, compared),
    roofline,
    expected: events.find((event) => event.type === 'plan')?.expected ?? null,
  };
}

function measuredSamples(events: readonly RunEvent[]): Sample[] {
  return events.filter((event) => event.type === 'sample').filter(({ kind }) => kind === 'measured');
}

/** ln of the mean request time over the mix, by block, up to the block that is tested. */
function mixLogValuesOf(
  engines: readonly string[],
  collected: Collected,
  prompts: readonly string[],
  analysis: Analysis | null,
): Map<string, (number | null)[]> {
  return new Map(engines.map((id) => [id, logs(mixValues(collected, id, prompts).slice(0, analysis?.blocks))]));
}

function countBlocks(planned: number, { acceptedBlocks, rejected }: Collected): RunRecord['blocks'] {
  return { planned, accepted: acceptedBlocks.length, rejected: rejected.length };
}

/** Measuring time over all sessions: the last time stamp of any event that has one. */
export function elapsedOf(events: readonly RunEvent[]): number {
  return events.reduce((most, event) => ('elapsedMs' in event ? Math.max(most, event.elapsedMs) : most), 0);
}

function stateOf(events: readonly RunEvent[], { live }: Pick<DeriveOptions, 'live'>): RunRecord['state'] {
  const last = events.findLast((event) => event.type === 'end' || event.type === 'session');
  if (last?.type === 'end') return last.state;
  return live === true ? 'running' : 'interrupted';
}

function nothingReason(events: readonly RunEvent[], notMeasured: RunRecord['notMeasured']): string {
  const end = events.findLast((event) => event.type === 'end');
  const failure = events.findLast((event) => event.type === 'warning' && event.engine !== null);
  const [first] = notMeasured;
  if (failure?.type === 'warning') return failure.message.slice(0, 500);
  if (first !== undefined) return `${first.engine} on "${first.prompt}": ${first.reason}`;
  return end?.type === 'end' ? end.reason.slice(0, 500) : 'no block was completed yet';
}
