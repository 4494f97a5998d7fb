/**
 * Two stored runs, engine by engine: did it become slower? Only where the work is the same. Between two runs the machine
 * may have changed; where a second engine with an unchanged build is in both, it is the control: each block's log-ratio
 * to it is compared, so that what hit both engines alike cancels.
 */
import type { EngineFacts, Metric, ModelFacts, RunRecord, Summary } from '../record.ts';
import { mean, standardDeviation } from '../stats/describe.ts';
import { tQuantile } from '../stats/student-t.ts';
import { MIX_PROMPT } from '../verdict/compare-family.ts';

/** Fewer blocks on a side give no interval worth a decision. */
const BLOCKS_MIN = 3;
const CONFIDENCE = 0.95;
const COMPARED = ['request', 'ttft', 'prefill', 'decode'] as const satisfies readonly Metric[];

export interface Change {
  readonly metric: (typeof COMPARED)[number];
  readonly prompt: string;
  /** Time after / time before (rates are inverted): above 1 is slower. */
  readonly ratio: number;
  /** 95% interval; null under 3 blocks on a side. */
  readonly low: number | null;
  readonly high: number | null;
  readonly blocksBefore: number;
  readonly blocksAfter: number;
  /** Engine whose ratio took the machine's change out; null where there is none. */
  readonly control: string | null;
}

export interface EngineChanges {
  readonly engine: string;
  readonly before: string;
  readonly after: string;
  readonly changes: readonly Change[];
}

export interface RunsCompared {
  /** Why the two runs are not the same work; empty where they are. */
  readonly differences: readonly string[];
  readonly sameMachine: boolean;
  readonly engines: readonly EngineChanges[];
  /** Engines of one run only. */
  readonly onlyBefore: readonly string[];
  readonly onlyAfter: readonly string[];
}

/** Compares what both runs measured; nothing where the work differs. */
export function compareRuns(before: RunRecord, after: RunRecord): RunsCompared {
  const differences = workDifferences(before, after);
  const [left, right] = [measuredIds(before), measuredIds(after)];
  const common = left.filter((id) => right.includes(id));
  return {
    differences,
    sameMachine: machineOf(before) === machineOf(after),
    engines: differences.length > 0 ? [] : common.map((engine) => engineChanges(engine, common, before, after)),
    onlyBefore: left.filter((id) => !right.includes(id)),
    onlyAfter: right.filter((id) => !left.includes(id)),
  };
}

export type GateOutcome = 'passed' | 'failed' | 'undecided';

/** Slower by more than the limit (1.05: 5%) only if the whole interval says so; faster than that only if it says that. */
export function regressionGate({ low, high }: Pick<Change, 'low' | 'high'>, limit: number): GateOutcome {
  if (low === null || high === null) return 'undecided';
  if (low > limit) return 'failed';
  return high <= limit ? 'passed' : 'undecided';
}

function workDifferences(before: RunRecord, after: RunRecord): string[] {
  const [left, right] = [before.manifest, after.manifest];
  const differences: string[] = [];
  const [modelBefore, modelAfter] = [left.models[0], right.models[0]];
  if (!areSameWeights(modelBefore, modelAfter))
    differences.push(`model: ${modelBefore?.name ?? '?'} before, ${modelAfter?.name ?? '?'} after, other weights`);
  if (left.plan.generateTokens !== right.plan.generateTokens)
    differences.push(`tokens generated: ${left.plan.generateTokens} before, ${right.plan.generateTokens} after`);
  const prompts = (record: RunRecord): string =>
    record.manifest.plan.prompts.map(({ name, tokenCount }) => `${name} (${tokenCount})`).join(', ');
  if (prompts(before) !== prompts(after))
    differences.push(`prompts: ${prompts(before)} before, ${prompts(after)} after`);
  for (const name of Object.keys(left.settings) as (keyof typeof left.settings)[]) {
    if (left.settings[name] !== right.settings[name])
      differences.push(`${name}: ${String(left.settings[name])} before, ${String(right.settings[name])} after`);
  }
  for (const [label, record] of [['before', before] as const, ['after', after] as const]) {
    if (['void', 'noisy', 'load-dependent'].includes(record.verdict.state))
      differences.push(`the run ${label} is ${record.verdict.state}: ${record.verdict.headline}`);
  }
  return differences;
}

/** Only a hash or the fingerprint tells that weights are the same; without both, nothing does. */
function areSameWeights(before: ModelFacts | undefined, after: ModelFacts | undefined): boolean {
  const isEqual = (name: 'sha256' | 'fingerprint'): boolean => {
    const value = before?.[name] ?? null;
    return value !== null && value === after?.[name];
  };
  return isEqual('sha256') || isEqual('fingerprint');
}

function machineOf({ manifest: { machine } }: RunRecord): string {
  return [machine.cpu, machine.physicalCores, machine.logicalCores, machine.memoryBytes, machine.os].join('/');
}

function measuredIds(record: RunRecord): string[] {
  return record.engines
    .filter(({ id }) => record.summaries.some(({ engine, metric }) => engine === id && metric === 'request'))
    .map(({ id }) => id);
}

function engineChanges(engine: string, common: readonly string[], before: RunRecord, after: RunRecord): EngineChanges {
  const control =
    common.find((id) => id !== engine && buildOf(before, id) === buildOf(after, id) && isRanked(before, id)) ?? null;
  const changes = COMPARED.flatMap((metric) =>
    promptsOf(before, engine, metric).flatMap((prompt) => {
      const change = changeOf({ engine, metric, prompt, control }, before, after);
      return change === null ? [] : [change];
    }),
  );
  return { engine, before: buildOf(before, engine), after: buildOf(after, engine), changes };
}

function isRanked(record: RunRecord, id: string): boolean {
  return factsOf(record, id)?.referenceBackend === null;
}

function factsOf(record: RunRecord, id: string): EngineFacts | undefined {
  return record.engines.find((engine) => engine.id === id);
}

function buildOf(record: RunRecord, id: string): string {
  const build = factsOf(record, id)?.build;
  return [build?.version, build?.library].filter((part) => part != null).join(', ') || 'unknown build';
}

function promptsOf(record: RunRecord, engine: string, metric: Metric): string[] {
  return record.summaries
    .filter((item) => item.engine === engine && item.metric === metric)
    .map(({ prompt }) => prompt);
}

interface Cell {
  readonly engine: string;
  readonly metric: Change['metric'];
  readonly prompt: string;
  readonly control: string | null;
}

function changeOf(cell: Cell, before: RunRecord, after: RunRecord): Change | null {
  const controlled = cell.control === null ? null : [logs(cell, before, true), logs(cell, after, true)];
  const usable = controlled?.every((values) => values !== null && values.length >= BLOCKS_MIN) === true;
  const [left, right] = usable ? controlled : [logs(cell, before, false), logs(cell, after, false)];
  if (left == null || right == null || left.length === 0 || right.length === 0) return null;
  const { metric, prompt } = cell;
  const base = { metric, prompt, blocksBefore: left.length, blocksAfter: right.length };
  const control = usable ? cell.control : null;
  const ratio = Math.exp(mean([...right]) - mean([...left]));
  if (Math.min(left.length, right.length) < BLOCKS_MIN) return { ...base, ratio, low: null, high: null, control };
  const half = welchHalfWidth(left, right);
  return { ...base, ratio, low: ratio * Math.exp(-half), high: ratio * Math.exp(half), control };
}

/** ln time per block, less the control's where asked; null where it was not measured or not in the same blocks. */
function logs({ engine, metric, prompt, control }: Cell, record: RunRecord, isControlled: boolean): number[] | null {
  const own = timesOf(find(record, engine, metric, prompt));
  if (!isControlled || own === null) return own;
  const other = timesOf(find(record, control ?? '', metric, prompt));
  if (other?.length !== own.length) return null;
  return own.map((value, block) => value - (other[block] ?? 0));
}

function find(record: RunRecord, engine: string, metric: Metric, prompt: string): Summary | undefined {
  return record.summaries.find(
    (item) => item.engine === engine && item.metric === metric && item.prompt === prompt && item.shortened === null,
  );
}

function timesOf(summary: Summary | undefined): number[] | null {
  if (summary === undefined) return null;
  const sign = summary.unit === 'tokens/s' ? -1 : 1;
  return summary.values.filter((value) => value > 0).map((value) => sign * Math.log(value));
}

/** Welch 1947: t with Satterthwaite's degrees of freedom. */
function welchHalfWidth(left: readonly number[], right: readonly number[]): number {
  const [a, b] = [standardDeviation(left) ** 2 / left.length, standardDeviation(right) ** 2 / right.length];
  if (a + b === 0) return 0;
  const freedom = (a + b) ** 2 / (a ** 2 / (left.length - 1) + b ** 2 / (right.length - 1));
  return tQuantile((1 + CONFIDENCE) / 2, freedom) * Math.sqrt(a + b);
}

/** The change that a gate decides on: total request time over all prompts. */
export function headlineChange({ changes }: EngineChanges): Change | null {
  const requests = changes.filter(({ metric }) => metric === 'request');
  return requests.find(({ prompt }) => prompt === MIX_PROMPT) ?? requests[0] ?? null;
}
