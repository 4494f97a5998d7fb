/** The raw measurements as a spreadsheet: one row per measured sample, rejected blocks included and flagged. */
import type { EngineFacts, ModelFacts, RunRecord, Sample, Summary } from '../core/record.ts';
import type { RooflineRow } from '../core/roofline-schema.ts';
import { modelOf } from '../core/verdict/arithmetic.ts';

export interface CsvOptions {
  /** `BLOCK/ATTEMPT` of every accepted block; without it the column `accepted` stays empty. */
  readonly acceptedBlocks?: ReadonlySet<string>;
}

type Value = string | number | boolean | null;

interface Line {
  readonly record: RunRecord;
  readonly sample: Sample;
  readonly engine: EngineFacts | undefined;
  readonly model: ModelFacts | undefined;
  readonly accepted: boolean | null;
}

/** Below these a rate says more about start-up than about speed; the times are there in any case. */
const PREFILL_TOKENS_MIN = 128;
const DECODE_TOKENS_MIN = 64;

/** Units stand last in the names. A new column goes to the end: people index by position. */
const columns: readonly (readonly [name: string, value: (line: Line) => Value])[] = [
  ['run_id', ({ record }) => record.manifest.runId],
  ['model', ({ record, model }) => model?.name ?? record.manifest.plan.model],
  ['format', ({ engine }) => engine?.modelFormat ?? null],
  ['quantisation', ({ model }) => model?.quantisation ?? null],
  ['bits_per_weight', ({ model }) => model?.bitsPerWeight ?? null],
  ['engine', ({ sample }) => sample.engine],
  ['engine_version', ({ engine }) => engine?.build?.version ?? null],
  ['device', ({ engine }) => engine?.device ?? null],
  ['ranked', ({ engine }) => (engine === undefined ? null : engine.referenceBackend === null)],
  ['threads', ({ record }) => record.manifest.settings.threads],
  ['prompt', ({ sample }) => sample.prompt],
  ['block', ({ sample }) => sample.block],
  ['attempt', ({ sample }) => sample.attempt],
  ['iteration', ({ sample }) => sample.iteration],
  ['accepted', ({ accepted }) => accepted],
  ['prompt_tokens', ({ sample }) => sample.promptTokens],
  ['cached_tokens', ({ sample }) => sample.cachedTokens],
  ['generated_tokens', ({ sample }) => sample.generatedTokens],
  ['generated_tokens_asked', ({ record }) => record.manifest.plan.generateTokens],
  ['prefill_tokens_per_s', ({ sample }) => prefillRate(sample)],
  ['decode_tokens_per_s', ({ sample }) => decodeRate(sample)],
  ['ttft_ms', ({ sample }) => sample.ttftMs],
  ['request_ms', ({ sample }) => sample.totalMs],
  ['time_per_token_ms_mean', ({ sample }) => sample.tpotMs],
  ['time_per_token_ms_p50', ({ sample }) => sample.tpotP50Ms],
  ['time_per_token_ms_p90', ({ sample }) => sample.tpotP90Ms],
  ['time_per_token_ms_p99', ({ sample }) => sample.tpotP99Ms],
  ['engine_prefill_ms', ({ sample }) => sample.enginePrefillMs],
  ['engine_decode_ms', ({ sample }) => sample.engineDecodeMs],
  ['events_per_token', ({ sample }) => sample.eventsPerToken],
  ['engine_load_ms_mean', ({ record, sample }) => engineEstimate(record, sample, 'load')],
  ['engine_memory_peak_bytes_mean', ({ record, sample }) => engineEstimate(record, sample, 'memory')],
  ['cpu', ({ record }) => record.manifest.machine.cpu],
  ['os', ({ record }) => record.manifest.machine.os],
  ['started_at', ({ record }) => record.manifest.startedAt],
  ['memory_bandwidth_bytes_per_s', ({ record }) => record.roofline?.readBytesPerS ?? null],
  ['bytes_per_token', (line) => limitOf(line)?.bytesPerToken ?? null],
  ['decode_limit_tokens_per_s', (line) => limitOf(line)?.decodeLimit ?? null],
  ['decode_limit_share_mean', (line) => limitOf(line)?.decodeShare ?? null],
  // Empty for real weights.
  ['twin_of', ({ model }) => model?.twinOf ?? null],
  // Blocks that the engine was measured in, where it was retired; empty where it was measured to the end.
  ['retired_after_blocks', ({ record, sample }) => retiredAfter(record, sample)],
];

export function renderCsv(record: RunRecord, samples: readonly Sample[], options: CsvOptions = {}): string {
  const lines = samples
    .filter(({ kind }) => kind === 'measured')
    .map((sample) => columns.map(([, value]) => field(value(toLine(record, sample, options)))));
  const header = columns.map(([name]) => name);
  // RFC 4180: CRLF between records, and after the last one.
  return [header, ...lines].map((cells) => `${cells.join(',')}\r\n`).join('');
}

function toLine(record: RunRecord, sample: Sample, { acceptedBlocks }: CsvOptions): Line {
  const engine = record.engines.find(({ id }) => id === sample.engine);
  return {
    record,
    sample,
    engine,
    model: engine === undefined ? undefined : (modelOf(engine, record.manifest.models) ?? undefined),
    accepted: acceptedBlocks === undefined ? null : acceptedBlocks.has(`${sample.block}/${sample.attempt}`),
  };
}

function limitOf({ record, sample }: Line): RooflineRow | undefined {
  return record.roofline?.rows.find(({ engine, prompt }) => engine === sample.engine && prompt === sample.prompt);
}

function retiredAfter({ retired = [] }: RunRecord, { engine }: Sample): number | null {
  return retired.find((one) => one.engine === engine)?.blocks ?? null;
}

function prefillRate({ promptTokens, cachedTokens, ttftMs }: Sample): number | null {
  const tokens = promptTokens - (cachedTokens ?? 0);
  return tokens < PREFILL_TOKENS_MIN || ttftMs === 0 ? null : (1_000 * tokens) / ttftMs;
}

function decodeRate({ generatedTokens, tpotMs }: Sample): number | null {
  return generatedTokens < DECODE_TOKENS_MIN || tpotMs === null || tpotMs === 0 ? null : 1_000 / tpotMs;
}

function engineEstimate(record: RunRecord, sample: Sample, metric: Summary['metric']): number | null {
  return record.summaries.find((entry) => entry.engine === sample.engine && entry.metric === metric)?.estimate ?? null;
}

/** Times from floating-point clocks carry noise digits; a tenth of a microsecond is beyond every clock used. */
const DECIMALS = 4;

function field(value: Value): string {
  if (value === null) return '';
  if (typeof value === 'number') return String(Number(value.toFixed(DECIMALS)));
  return typeof value === 'boolean' ? String(value) : quote(defuse(value));
}

/** Spreadsheets run text that starts like a formula; an apostrophe makes it text (OWASP, "CSV Injection"). */
function defuse(text: string): string {
  return /^\s*[=+\-@＝＋－＠]|^[\t\r\n]/u.test(text) ? `'${text}` : text;
}

function quote(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
