/** The record of a run: a pure reduction of its manifest and events, whole or cut off anywhere. */
import type { EngineFacts, GateEvent, Manifest, RunEvent, RunRecord, Sample } from '../record.ts';
import { SCHEMA_VERSION } from '../record.ts';
import { LABELLING_GATES } from '../validity/gate-result.ts';
import { runNoise } from '../validity/noise.ts';
import type { RunNoise } from '../validity/noise.ts';
import type { FamilyInput } from '../verdict/compare-family.ts';
import { decide } from '../verdict/decide.ts';
import { ALPHA, analysisFor, registerLooks, withAlphas } from '../verdict/looks.ts';
import type { Analysis, Look } from '../verdict/looks.ts';
import { listCaveats } from './caveats.ts';
import { certify } from './certificate.ts';
import { collect, latestFacts } from './collect.ts';
import type { Collected } from './collect.ts';
import { compareAll } from './families.ts';
import { deriveLadder } from './ladder.ts';
import { describeMachine, loadsOf, stolenOf } from './machine-state.ts';
import { listNotMeasured, listWarnings } from './notices.ts';
import { describeRoofline, rooflineGates } from './roofline.ts';
import { summarise } from './summaries.ts';
import { count, logs, mixValues, promptValues } from './values.ts';
import { chooseMix, describeWork } from './work.ts';

export interface DeriveOptions {
  /** The run goes on: without an `end` event it is `running`, not `interrupted`, and only planned looks are tested. */
  readonly live?: boolean;
}

/**
 * Reproduces every number and verdict from the events. A block counts by its last accepted attempt; engines whose cell
 * failed are missing in that block only. An ended run is tested with what is left of the 5% (correction 14), a live
 * one only at the last planned look that it passed.
 */
export function deriveRecord(manifest: Manifest, events: readonly RunEvent[], options: DeriveOptions = {}): RunRecord {
  const state = stateOf(events, options);
  const ended = state !== 'running';
  const collected = collect(events);
  const facts = latestFacts(manifest, events);
  const measured = facts.filter(({ id }) => isMeasured(manifest, collected, id));
  const roofline = describeRoofline({ manifest, engines: measured, events, collected });
  const gates = [...events.filter((event) => event.type === 'gate'), ...rooflineGates(roofline, manifest)];
  const voided = voidedBy(gates);
  const ranked = measured.filter(({ referenceBackend }) => referenceBackend === null).map(({ id }) => id);
  const work = describeWork(manifest, facts, collected);
  const inPlay = ranked.filter((id) => !voided.has(id));
  const mix = chooseMix({ manifest, collected, work, engines: inPlay.length > 0 ? inPlay : ranked });
  const tested = howTested({ manifest, events, collected, ended });
  const { planned, looks, noise, analysis, pending } = tested;
  const compared = {
    manifest,
    engines: measured,
    collected,
    work,
    mix,
    ranked,
    voided,
    analysis: analysis ?? { blocks: collected.acceptedBlocks.length, alpha: ALPHA, alphaIfUnresolved: ALPHA },
    override: overrideOf(tested),
    loads: loadsOf(events, collected.acceptedBlocks),
    stolen: stolenOf(events, collected.acceptedBlocks, manifest),
  };
  const { comparisons, alpha } = compareAll(compared);
  const certificate = certify({ manifest, engines: measured, gates, collected, samples: measuredSamples(events) });
  const notMeasured = listNotMeasured({ manifest, events, facts, collected, ended });
  const told = { manifest, facts, measured, events, collected, mix, work };
  const limits = { ...told, certificate, noise, analysis, looks, ended };
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
  analysis: Tested['analysis'],
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

interface Tested {
  readonly planned: number;
  readonly looks: readonly Look[];
  readonly noise: RunNoise;
  readonly analysis: Analysis | null;
  /** Why there is no test yet; null where there is one. */
  readonly pending: string | null;
}

function howTested(input: {
  readonly manifest: Manifest;
  readonly events: readonly RunEvent[];
  readonly collected: Collected;
  readonly ended: boolean;
}): Tested {
  const { manifest, events, collected, ended } = input;
  const { planned, looks } = registered(manifest, events);
  const accepted = collected.acceptedBlocks.length;
  const analysis = analysisFor({ looks, accepted, ended });
  const pending =
    analysis === null
      ? `${accepted} of ${planned} blocks are done, the first planned look is at ${looks[0]?.blocks}`
      : null;
  return {
    planned,
    looks,
    analysis,
    pending,
    noise: runNoise({ planned, accepted, rejected: collected.rejected, ended }),
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
): { readonly planned: number; readonly looks: readonly Look[] } {
  const plan = events.find((event) => event.type === 'plan');
  const planned = plan?.blocks ?? manifest.plan.blocks;
  const looks =
    plan === undefined || plan.looks.length === 0 ? registerLooks(Math.max(1, planned)) : withAlphas(plan.looks);
  return { planned, looks };
}

function stateOf(events: readonly RunEvent[], { live }: DeriveOptions): RunRecord['state'] {
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
