/** What the machine's memory and arithmetic allow, how near the engines come, and what that explains. */
import { KV_VALUE_BYTES } from '../doctor/memory-need.ts';
import type { CanaryReading } from '../machine-check-schema.ts';
import type { EngineFacts, GateEvent, Manifest, ModelFacts, Prompt, RunEvent } from '../record.ts';
import type { Roofline, RooflineRow } from '../roofline-schema.ts';
import { geometricMean } from '../stats/describe.ts';
import { modelOf } from '../verdict/arithmetic.ts';
import { readingsOf } from '../validity/machine-checks.ts';
import type { Collected } from './collect.ts';
import { CACHE_FACTOR, explainRoofline } from './roofline-notes.ts';
import { promptValues } from './values.ts';
import type { PromptMetric } from './values.ts';

/** Nobody reads more than all of the bandwidth; the rest is the error of both measurements. */
const DECODE_SHARE_MAX = 1.15;
/** WebAssembly reaches a third of AVX-512, and int8 matrix units do some ten times that: for gross errors only. */
const PREFILL_SHARE_MAX = 50;
/** A multiplication and an addition. */
const FLOPS_PER_PARAMETER = 2;
/** Of the canary's looks: the fastest tenth is what the machine can do. */
const FAST_SHARE = 0.9;
const REMEDY = 'Check what the engine really did: a cache, a shorter prompt, fewer layers, another device.';

export interface RooflineInput {
  readonly manifest: Manifest;
  /** Measured engines. */
  readonly engines: readonly EngineFacts[];
  readonly events: readonly RunEvent[];
  readonly collected: Collected;
}

/** Null without a canary, and in records from before models told what they read. Engines on a GPU have no row. */
export function describeRoofline(input: RooflineInput): Roofline | null {
  const { manifest, engines, events, collected } = input;
  const readings = readingsOf(events.filter((event) => event.type === 'machine-check'));
  if (readings.length === 0) return null;
  const limits = {
    readBytesPerS: fastest(readings, ({ readBytesPerS }) => readBytesPerS),
    flopsPerS: fastest(readings, ({ flopsPerS }) => flopsPerS),
  };
  const rows = engines
    .filter(({ device }) => device === 'cpu')
    .flatMap((engine) => {
      const model = modelOf(engine, manifest.models);
      return manifest.plan.prompts.flatMap((prompt) => {
        const bytesPerToken = model === null ? null : bytesOf(manifest, model, prompt);
        if (model === null || bytesPerToken === null) return [];
        return [rowOf({ engine: engine.id, prompt, bytesPerToken, model, limits, collected })];
      });
    });
  return rows.length === 0 ? null : { ...limits, rows, notes: explainRoofline({ manifest, rows, limits, collected }) };
}

function fastest(readings: readonly CanaryReading[], read: (reading: CanaryReading) => number): number {
  const sorted = readings.map(read).toSorted((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(FAST_SHARE * sorted.length))] ?? 1;
}

/** Weights in the engine's form, and the KV cache at the middle of the generated tokens; null: not told. */
function bytesOf({ models, plan, settings }: Manifest, model: ModelFacts, prompt: Prompt): number | null {
  const { traffic } = model;
  const original = models[0]?.bitsPerWeight ?? null;
  if (traffic === undefined || model.bitsPerWeight === null || original === null || original <= 0) return null;
  const weights = traffic.weightBytesPerToken * (model.bitsPerWeight / original);
  const position = prompt.tokenCount + plan.generateTokens / 2;
  const cache = (traffic.cacheValuesPerToken ?? 0) * KV_VALUE_BYTES[settings.kvType] * position;
  return weights + cache > 0 ? weights + cache : null;
}

function rowOf(input: {
  readonly engine: string;
  readonly prompt: Prompt;
  readonly bytesPerToken: number;
  readonly model: ModelFacts;
  readonly limits: Pick<Roofline, 'readBytesPerS' | 'flopsPerS'>;
  readonly collected: Collected;
}): RooflineRow {
  const { engine, prompt, bytesPerToken, model, limits, collected } = input;
  const rate = (metric: PromptMetric): number | null => {
    const values = promptValues(collected, engine, prompt.name, metric).filter((value) => value !== null);
    return values.length === 0 ? null : geometricMean(values).estimate;
  };
  const [decode, prefill] = [rate('decode'), rate('prefill')];
  const decodeLimit = limits.readBytesPerS / bytesPerToken;
  const flops = FLOPS_PER_PARAMETER * (model.traffic?.multipliedParametersPerToken ?? 0);
  return {
    engine,
    prompt: prompt.name,
    bytesPerToken,
    decodeLimit,
    decode,
    decodeShare: decode === null ? null : decode / decodeLimit,
    prefill,
    prefillShare: prefill === null || flops === 0 ? null : (prefill * flops) / limits.flopsPerS,
  };
}

/** Faster than possible is not fast, it is other work. One gate per engine; none where there is nothing to hold it against. */
export function rooflineGates(roofline: Roofline | null, { machine }: Manifest): GateEvent[] {
  const byEngine = Map.groupBy(roofline?.rows ?? [], ({ engine }) => engine);
  return [...byEngine].map(([engine, rows]) => judgeRows(engine, rows, machine.cacheBytes ?? null));
}

function judgeRows(engine: string, rows: readonly RooflineRow[], cacheBytes: number | null): GateEvent {
  const gate = { type: 'gate', engine, gate: 'roofline' } as const;
  const fromMemory = (row: RooflineRow): boolean =>
    cacheBytes !== null && row.bytesPerToken > CACHE_FACTOR * cacheBytes;
  const tooFast = rows.flatMap((row) => [
    ...(fromMemory(row) && (row.decodeShare ?? 0) > DECODE_SHARE_MAX
      ? [
          `decode on "${row.prompt}" took ${factor(row.decodeShare)} of the memory bandwidth that there is (limit ${DECODE_SHARE_MAX})`,
        ]
      : []),
    ...((row.prefillShare ?? 0) > PREFILL_SHARE_MAX
      ? [
          `prefill on "${row.prompt}" was ${factor(row.prefillShare)} as fast as the arithmetic of the canary (limit ${PREFILL_SHARE_MAX})`,
        ]
      : []),
  ]);
  if (tooFast.length > 0)
    return { ...gate, outcome: 'failed', detail: tooFast.join('; ').slice(0, 1_900), remedy: REMEDY };
  const judged = rows.filter((row) => (row.decodeShare !== null && fromMemory(row)) || row.prefillShare !== null);
  if (judged.length > 0)
    return { ...gate, outcome: 'passed', detail: 'slower than memory and arithmetic allow', remedy: null };
  const why = cacheBytes === null ? 'the size of the cache is not known' : 'the weights may lie in the cache';
  return { ...gate, outcome: 'unknown', detail: `no prefill rate, and ${why}`, remedy: null };
}

function factor(share: number | null): string {
  return `${(share ?? 0).toFixed(share !== null && share >= 10 ? 0 : 2)} times`;
}
