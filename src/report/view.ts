/** What every format shows, computed once. Formats only lay it out. */
import type { Comparison, EngineFacts, GateEvent, Metric, RunRecord, Summary } from '../core/record.ts';
import { LABELLING_GATES } from '../core/validity/gate-result.ts';
import { describeRetired } from '../core/verdict/retirement.ts';
import { twinSentence } from '../core/verdict/wording.ts';
import { cleanStrings } from './clean.ts';
import { count, duration, excess, percent, type Quantity, quantity } from './numbers.ts';
import {
  type CertificateLine,
  certificateLines,
  orient,
  type OrientedPair,
  ratioWords,
  runStateWords,
  stateWords,
  type Tone,
  verdictPhrase,
  verdictTones,
} from './words.ts';

/** Prompt name of the headline summaries: all prompts together. */
export const MIX = 'mix';
/** Prompt name of summaries that belong to no prompt: load and memory. */
const NO_PROMPT = '-';

export interface Cell extends Quantity {
  /** The work differs from what was asked: shown with a mark, never compared. */
  readonly shortened: boolean;
  readonly summary: Summary;
}

export interface ResultRow {
  readonly prompt: string;
  /** `all prompts` for the mix. */
  readonly promptLabel: string;
  readonly cells: Readonly<Partial<Record<Metric, Cell>>>;
  readonly measured: boolean;
}

export interface EngineResult {
  readonly id: string;
  readonly title: string;
  readonly ranked: boolean;
  /** A validity gate failed: the numbers do not describe the work that was asked for. */
  readonly isVoid: boolean;
  /** Compact letters, `void`, `unranked`, or `–` where nothing is known. */
  readonly group: string;
  readonly load: Cell | null;
  readonly memory: Cell | null;
  readonly rows: readonly ResultRow[];
}

export interface PairView {
  readonly metric: Comparison['metric'];
  readonly promptLabel: string;
  readonly sentence: string;
  readonly tone: Tone;
  readonly pair: OrientedPair;
  readonly ratioText: string;
  readonly verdictText: string;
  readonly reasons: readonly string[];
  readonly comparison: Comparison;
}

interface NotMeasured {
  readonly engine: string;
  /** What is missing: a prompt, or `all prompts`. */
  readonly what: string;
  readonly reason: string;
  readonly nextStep: string | null;
}

export interface ReportView {
  readonly record: RunRecord;
  readonly status: { readonly word: string; readonly tone: Tone };
  /** Words that the headline lacks and must not be read without, e.g. `PRELIMINARY`. */
  readonly flags: readonly string[];
  readonly notices: readonly string[];
  readonly engines: readonly EngineResult[];
  readonly footnotes: readonly string[];
  readonly groupNotes: readonly string[];
  /** What the verdict rests on: `all prompts`, or the only one. */
  readonly primaryLabel: string;
  readonly primaryPairs: readonly PairView[];
  readonly otherPairs: readonly PairView[];
  readonly detectable: string | null;
  readonly certificate: readonly CertificateLine[];
  readonly gatesFailed: readonly GateEvent[];
  readonly gatesUnknown: readonly GateEvent[];
  readonly gateCounts: string;
  readonly notMeasured: readonly NotMeasured[];
  readonly blocks: string;
  readonly subtitle: string;
}

export function buildView(untrusted: RunRecord): ReportView {
  const record = cleanStrings(untrusted);
  const engines = engineResults(record);
  const pairs = record.comparisons.map((comparison) => pairView(record, comparison));
  const primary = primaryPrompt(record);
  const isPrimary = ({ comparison }: PairView): boolean =>
    comparison.metric === 'request' && comparison.prompt === primary;
  const primaryPairs = pairs.filter(isPrimary);
  return {
    record,
    status: stateWords[record.verdict.state],
    flags: flags(record),
    notices: [runStateWords[record.state], twinNotice(record)].filter((notice) => notice !== null),
    engines,
    footnotes: footnotes(record, engines),
    groupNotes: groupNotes(record, engines, primaryPairs),
    primaryLabel: promptLabel(record, primary),
    primaryPairs,
    otherPairs: pairs.filter((pair) => !isPrimary(pair)),
    detectable: detectable(
      primaryPairs.map((pair) => pair.comparison),
      record.expected ?? null,
    ),
    certificate: certificateLines(record.certificate),
    gatesFailed: record.gates.filter((gate) => gate.outcome === 'failed'),
    gatesUnknown: record.gates.filter((gate) => gate.outcome === 'unknown'),
    gateCounts: gateCounts(record),
    notMeasured: notMeasured(record),
    blocks: blocks(record),
    subtitle: subtitle(record),
  };
}

/** Stands at the top of every format: nobody may take a twin for the model. */
function twinNotice({ manifest }: RunRecord): string | null {
  const twin = manifest.models.find(({ twinOf }) => twinOf !== undefined);
  return twin?.twinOf === undefined ? null : `TWIN: ${twinSentence(twin.twinOf)}`;
}

/** A mix of one prompt is that prompt. */
function promptLabel(record: RunRecord, prompt: string): string {
  const { prompts } = record.manifest.plan;
  if (prompt !== MIX) return prompt;
  return prompts.length === 1 ? (prompts[0]?.name ?? prompt) : 'all prompts';
}

/** The prompt that the verdict rests on: the mix, or the only prompt where a record has no mix. */
function primaryPrompt(record: RunRecord): string {
  const requests = record.comparisons.filter((comparison) => comparison.metric === 'request');
  return requests.some(({ prompt }) => prompt === MIX)
    ? MIX
    : (record.verdict.prompts[0] ?? requests[0]?.prompt ?? MIX);
}

function flags(record: RunRecord): string[] {
  const { state, headline, preliminary } = record.verdict;
  const words: string[] = [];
  if (preliminary) words.push('PRELIMINARY');
  if (state !== 'winner' && state !== 'tie') words.push(stateWords[state].word);
  return words.filter((word) => !headline.toUpperCase().includes(word));
}

function engineResults(record: RunRecord): EngineResult[] {
  const results = record.engines
    .filter(({ state }) => state === 'available')
    .map((facts) => engineResult(record, facts));
  const measured = results.filter(({ rows }) => rows.some((row) => row.measured));
  // An order by speed is a claim: made only where the verdict makes it. Unranked backends stand last anyway.
  const time = (result: EngineResult): number =>
    record.verdict.state === 'winner' ? (result.rows.at(-1)?.cells.request?.summary.estimate ?? Infinity) : 0;
  return measured.toSorted((left, right) =>
    left.ranked === right.ranked ? Math.sign(time(left) - time(right)) || 0 : left.ranked ? -1 : 1,
  );
}

function engineResult(record: RunRecord, facts: EngineFacts): EngineResult {
  const own = record.summaries.filter(({ engine }) => engine === facts.id);
  const find = (metric: Metric): Cell | null => {
    const summary = own.find((entry) => entry.metric === metric && entry.prompt === NO_PROMPT);
    return summary === undefined ? null : toCell(summary);
  };
  const { letters } = record.verdict;
  const letter = Object.hasOwn(letters, facts.id) ? letters[facts.id] : undefined;
  const isVoid = record.gates.some(
    ({ engine, gate, outcome }) => engine === facts.id && outcome === 'failed' && !LABELLING_GATES.has(gate),
  );
  return {
    id: facts.id,
    title: facts.title,
    ranked: facts.referenceBackend === null,
    isVoid,
    group: isVoid ? 'void' : facts.referenceBackend === null ? letter || '–' : 'unranked',
    load: find('load'),
    memory: find('memory'),
    rows: promptNames(record)
      .map((prompt) => resultRow(record, prompt, own))
      // The mix is made of the others: where it is missing, one of them says why.
      .filter(({ prompt, measured }) => measured || prompt !== MIX),
  };
}

/** Prompts in the order of the plan; the mix last, and only where it says more than the one prompt. */
function promptNames(record: RunRecord): string[] {
  const names = record.manifest.plan.prompts.map(({ name }) => name);
  const hasMix = record.summaries.some(({ prompt }) => prompt === MIX);
  return hasMix && names.length > 1 ? [...names, MIX] : names;
}

function resultRow(record: RunRecord, prompt: string, own: readonly Summary[]): ResultRow {
  const summaries = own.filter((summary) => summary.prompt === prompt);
  const cells = Object.fromEntries(summaries.map((summary) => [summary.metric, toCell(summary)]));
  return { prompt, promptLabel: promptLabel(record, prompt), cells, measured: summaries.length > 0 };
}

function toCell(summary: Summary): Cell {
  return { ...quantity(summary), shortened: summary.shortened !== null, summary };
}

function footnotes(record: RunRecord, engines: readonly EngineResult[]): string[] {
  const shortened = record.summaries
    .filter((summary) => summary.shortened !== null)
    .map(
      ({ engine, prompt, shortened: reason }) =>
        `* ${engine}, ${promptLabel(record, prompt)}: ${reason}; shown, not compared`,
    );
  const unranked = record.engines
    .filter((facts) => facts.referenceBackend !== null && engines.some(({ id }) => id === facts.id))
    .map((facts) => `unranked: ${facts.id} is a reference backend (${facts.referenceBackend})`);
  const voided = engines
    .filter(({ isVoid }) => isVoid)
    .map(({ id }) => `void: ${id} failed a validity gate; its numbers do not describe the work that was asked for`);
  const retired = (record.retired ?? []).map(
    ({ engine, blocks: after, ...evidence }) =>
      `${engine} was ${describeRetired(evidence, after)}; its figures are of the blocks before`,
  );
  return [...new Set([...voided, ...shortened, ...unranked, ...retired])];
}

function groupNotes(record: RunRecord, engines: readonly EngineResult[], pairs: readonly PairView[]): string[] {
  const { topGroup } = record.verdict;
  const notes: string[] = [];
  if (topGroup.length > 1) notes.push(`Not ruled out as the fastest: ${topGroup.join(', ')}.`);
  const lettered = engines.filter(({ ranked, isVoid, group }) => ranked && !isVoid && group !== '–');
  if (lettered.length > 1) {
    notes.push(
      `Group: engines that share a letter are equivalent, inside the ${excess(record.manifest.plan.margin)} margin.`,
    );
  }
  const open = pairs.filter(({ comparison }) =>
    ['INCONCLUSIVE', 'NOISY', 'LOAD_DEPENDENT'].includes(comparison.verdict),
  );
  if (open.length > 0) notes.push(`Unknown: ${open.map(({ pair }) => `${pair.first} and ${pair.second}`).join('; ')}.`);
  return notes;
}

function pairView(record: RunRecord, comparison: Comparison): PairView {
  const pair = orient(comparison);
  const { size, interval } = ratioWords(pair, comparison.confidence);
  const phrase = verdictPhrase(comparison, record.manifest.plan.margin);
  const verdictText = comparison.preliminary ? `PRELIMINARY, ${phrase}` : phrase;
  const subject =
    comparison.faster === null
      ? `${pair.first} against ${pair.second}${pair.ratio === null ? '' : `: ${size} (${interval})`}`
      : `${pair.first} is ${size} as fast as ${pair.second} (${interval})`;
  return {
    metric: comparison.metric,
    promptLabel: promptLabel(record, comparison.prompt),
    sentence: `${subject}: ${verdictText}`,
    tone: verdictTones[comparison.verdict],
    pair,
    ratioText: pair.ratio === null ? size : `${size} (${interval})`,
    verdictText,
    reasons: comparison.reasons,
    comparison,
  };
}

/** The pair that is hardest to tell apart sets what the run could see. */
function detectable(
  comparisons: readonly Comparison[],
  expected: NonNullable<RunRecord['expected']> | null,
): string | null {
  const worst = (values: (number | null)[]): number | null => {
    const known = values.filter((value) => value !== null);
    return known.length === 0 ? null : Math.max(...known);
  };
  const different = worst(comparisons.map(({ detectableDifferent }) => detectableDifferent));
  const faster = worst(comparisons.map(({ detectableFaster }) => detectableFaster));
  if (different === null && faster === null) return null;
  const parts = [
    different === null ? null : `a difference of ${excess(different)}`,
    faster === null ? null : `FASTER at ${excess(faster)}`,
  ].filter((part) => part !== null);
  const blockCount = Math.max(...comparisons.map((comparison) => comparison.blockCount));
  const before =
    expected === null
      ? ''
      : ` Expected before the run, with an assumed spread of ${100 * expected.deviation}%: ${excess(expected.different)} and ${excess(expected.faster)}.`;
  return `Smallest detectable effect (80% power, ${count(blockCount, 'block')}): ${parts.join(', ')}.${before}`;
}

function gateCounts(record: RunRecord): string {
  const of = (outcome: GateEvent['outcome']): number => record.gates.filter((gate) => gate.outcome === outcome).length;
  return `${of('passed')} passed, ${of('failed')} failed, ${of('unknown')} unknown`;
}

function notMeasured(record: RunRecord): NotMeasured[] {
  const missing = record.engines
    .filter(({ state }) => state === 'unavailable')
    .map(({ id, reason, nextStep }) => ({
      engine: id,
      what: 'all prompts',
      reason: reason ?? 'not available',
      nextStep,
    }));
  const skipped = record.notMeasured.map(({ engine, prompt, reason, estimateMs }) => ({
    engine,
    what: prompt === NO_PROMPT ? 'all prompts' : promptLabel(record, prompt),
    // The planner's reasons name their estimate already.
    reason: estimateMs === null || reason.includes('est.') ? reason : `${reason} (est. ${duration(estimateMs)})`,
    nextStep: null,
  }));
  const retired = (record.retired ?? []).map(({ engine, blocks: after, restMs, ...evidence }) => ({
    engine,
    what: `all blocks from ${after + 1} on`,
    reason: `${describeRetired(evidence, after)} (est. ${duration(restMs)})`,
    nextStep: null,
  }));
  return [...missing, ...skipped, ...retired];
}

function blocks(record: RunRecord): string {
  const { planned, accepted, rejected } = record.blocks;
  const { looks } = record;
  const planText = looks.length === 0 ? '' : ` Looks planned before the run: after ${looks.join(', ')}.`;
  return `${accepted} of ${count(planned, 'planned block')} accepted, ${rejected} rejected.${planText}`;
}

function subtitle(record: RunRecord): string {
  const { models, machine, plan } = record.manifest;
  const model = models[0];
  const name = model === undefined ? plan.model : `${model.name} ${model.quantisation}`;
  return `${name}, ${plan.generateTokens} tokens generated, ${count(plan.threads, 'thread')}, ${machine.cpu}, ${machine.os}`;
}

/** The intervals in the table are each at 95%; those of comparisons are simultaneous and say so themselves. */
export const TABLE_INTERVAL = `${percent(0.95)} interval`;
