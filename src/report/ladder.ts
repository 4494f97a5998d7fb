/** What every format shows of an overhead ladder. */
import type { Ladder, LadderCost, Rung } from '../core/ladder-schema.ts';
import type { Metric, RunRecord, Summary } from '../core/record.ts';
import { costCell, NO_PROMPT, NOTHING, sentenceOf, tokensText, whatOf } from './ladder-words.ts';
import type { CostPlace, LadderCell } from './ladder-words.ts';
import { count, percent, quantity } from './numbers.ts';
import type { ReportView } from './view.ts';

export interface LadderHead {
  /** With the unit where the cells lack it. */
  readonly name: string;
  /** Null for what belongs to a process. */
  readonly prompt: string | null;
  /** Speeds are what a narrow window keeps: `rate` with its interval, `process` goes first. */
  readonly kind: 'latency' | 'rate' | 'process';
}

export interface LadderRow {
  readonly engine: string;
  readonly isMeasured: boolean;
  /** `base`, `yes`, `as shipped`, or `not measured`. */
  readonly sameBuild: string;
  /** In the order of `heads`. */
  readonly values: readonly LadderCell[];
  /** In the order of `costHeads`. */
  readonly costs: readonly LadderCell[];
  readonly tokens: string;
  /** What the layer costs, as a sentence. */
  readonly sentence: string;
}

export interface LadderView {
  readonly title: string;
  /** Above the table: what a cost is, and on which prompts. */
  readonly lead: string;
  /** Of the columns of values. */
  readonly heads: readonly LadderHead[];
  /** Of the columns of costs. */
  readonly costHeads: readonly string[];
  readonly rows: readonly LadderRow[];
  /** One row for every metric, prompt and rung. */
  readonly all: readonly { readonly engine: string; readonly what: string; readonly cell: LadderCell }[];
  readonly notes: readonly string[];
}

interface Column extends CostPlace {
  readonly metric: Metric;
  readonly prompt: string;
  readonly head: LadderHead;
  readonly costHead: string;
}

const DEFINITIONS = [
  'Per prompt token: the time to the first token, shared out over the prompt.',
  'In-process engines are timed inside their own process, a server by its client: its times include the connection.',
  'Load and memory are of the whole process, the language runtime included.',
];

/** Null where the run is no ladder, or measured nothing. */
export function ladderView({ record }: Pick<ReportView, 'record'>): LadderView | null {
  const { ladder } = record;
  if (ladder === null || ladder.base === null || ladder.prompts === null) return null;
  const { base } = ladder;
  const columns = columnsOf(ladder.prompts);
  return {
    title: `Overhead ladder: what each layer costs against ${base}`,
    lead: leadOf(record, base, ladder.prompts, ladder.rungs),
    heads: columns.map(({ head }) => head),
    costHeads: columns.map(({ costHead }) => costHead),
    rows: ladder.rungs.map((rung) => rowOf(record, base, rung, columns)),
    all: ladder.rungs.flatMap(({ engine, costs }) =>
      costs.map((cost) => ({ engine, what: whatOf(cost), cell: costCell(cost) })),
    ),
    notes: [...ladder.notes, ...DEFINITIONS, buildsOf(record, ladder)],
  };
}

function columnsOf({ short, long }: NonNullable<Ladder['prompts']>): Column[] {
  const at = (where: string): CostPlace => ({ more: where, nothing: where });
  return [
    {
      metric: 'ttft',
      prompt: short,
      head: { name: 'First token', prompt: short, kind: 'latency' },
      costHead: 'First token',
      ...at('at the first token'),
    },
    {
      metric: 'decode',
      prompt: short,
      head: { name: 'Decode, ms/token', prompt: short, kind: 'rate' },
      costHead: 'Generated token',
      ...at('per generated token'),
    },
    {
      metric: 'prefill',
      prompt: long,
      head: { name: 'Prefill, tok/s', prompt: long, kind: 'rate' },
      costHead: 'Prompt token',
      ...at('per prompt token'),
    },
    {
      metric: 'load',
      prompt: NO_PROMPT,
      head: { name: 'Load', prompt: null, kind: 'process' },
      costHead: 'Load',
      ...at('to load'),
    },
    {
      metric: 'memory',
      prompt: NO_PROMPT,
      head: { name: 'Peak memory', prompt: null, kind: 'process' },
      costHead: 'Peak memory',
      more: 'memory',
      nothing: 'in memory',
    },
  ];
}

function leadOf(
  { manifest, verdict }: RunRecord,
  base: string,
  { short, long }: NonNullable<Ladder['prompts']>,
  rungs: readonly Rung[],
): string {
  const confidence = rungs.flatMap(({ costs }) => costs).find((cost) => cost.confidence !== null)?.confidence;
  const level = confidence == null ? '' : `; intervals hold together over a column with ${percent(confidence)}`;
  const flag = verdict.state === 'noisy' ? 'NOISY: nothing is claimed. ' : '';
  const where =
    short === long
      ? `on the prompt "${short}"`
      : `first and generated tokens on the prompt "${short}", prompt tokens on "${long}"`;
  return `${flag}Cost: the rung minus ${base}, paired block by block, ${where}, ${count(manifest.settings.threads, 'thread')} each${level}.`;
}

function rowOf(record: RunRecord, base: string, rung: Rung, columns: readonly Column[]): LadderRow {
  const { engine, missing, costs } = rung;
  const costOf = ({ metric, prompt }: Column): LadderCost | undefined =>
    costs.find((cost) => cost.metric === metric && cost.prompt === prompt);
  return {
    engine,
    isMeasured: missing === null,
    sameBuild: missing === null ? BUILD_WORDS[rung.build] : 'not measured',
    values: columns.map((column) => valueCell(record, engine, column)),
    costs: columns.map((column) => costCell(costOf(column))),
    tokens: missing === null ? tokensText(rung.tokens) : NOTHING,
    sentence: sentenceOf(
      base,
      rung,
      columns.map((column) => [column, costOf(column)] as const),
    ),
  };
}

const BUILD_WORDS = { base: 'base', same: 'yes', 'as-shipped': 'as shipped' } as const;

/** Versions and libraries, as the engines report them. */
function buildsOf(record: RunRecord, { rungs }: Ladder): string {
  const measured = rungs.filter(({ missing }) => missing === null);
  return `Builds: ${measured.map(({ engine }) => `${engine}: ${buildText(record, engine)}`).join('; ')}.`;
}

function buildText({ engines }: RunRecord, id: string): string {
  const build = engines.find((engine) => engine.id === id)?.build;
  return [build?.version, build?.library].filter((part) => part != null).join(', ') || 'unknown';
}

function valueCell({ summaries }: RunRecord, id: string, { metric, prompt }: Column): LadderCell {
  const found = summaries.find((entry) => entry.engine === id && entry.metric === metric && entry.prompt === prompt);
  if (found === undefined) return { value: NOTHING, interval: null };
  const { value, unit, interval } = quantity(metric === 'decode' ? perTokenMs(found) : found);
  // The heads of the rates name their unit.
  return { value: metric === 'decode' || metric === 'prefill' ? value : `${value} ${unit}`, interval };
}

/** A decode rate as the time that one token takes. */
function perTokenMs({ estimate, low, high }: Summary): Parameters<typeof quantity>[0] {
  const invert = (rate: number | null): number | null => (rate === null ? null : 1_000 / rate);
  return { estimate: 1_000 / estimate, low: invert(high), high: invert(low), unit: 'ms' };
}
