/** Several quantisations of one twin: a run each, and a table over them. */
import { AppError } from '../core/errors.ts';
import type { RunRecord } from '../core/record.ts';
import { twinSentence } from '../core/verdict/wording.ts';
import { parseHubSpec } from '../models/hub/spec.ts';
import { isHubSpec } from '../models/synthesize/find-shape.ts';
import { presetNamed } from '../models/synthesize/presets.ts';
import { twinSpec } from '../models/synthesize/spec.ts';
import { duration } from '../report/numbers.ts';
import { layTable, type Column } from '../report/text-table.ts';

/** Engines with a fast path and a lossless MLX form: the widest comparison. */
const DEFAULT_QUANT = 'Q4_0';
const QUANTS_MAX = 12;

/** The models that `--twin ID --quant A,B` stands for. @throws AppError `usage` */
export function twinModels(id: string, quants: readonly string[]): { quant: string | null; model: string }[] {
  const names = quants.flatMap((text) => text.split(',')).filter((text) => text.trim() !== '');
  if (names.length === 0) {
    const quant = namesTypes(id) ? null : DEFAULT_QUANT;
    return [{ quant, model: twinSpec(quant, id) }];
  }
  if (names.length > QUANTS_MAX)
    throw new AppError('usage', `${names.length} quantisations are too many for one command`);
  const unique = [...new Set(names.map((text) => presetNamed(text).name))];
  return unique.map((quant) => ({ quant, model: twinSpec(quant, id) }));
}

/** Pure: a .gguf file, here or on the hub, has types of its own. */
function namesTypes(id: string): boolean {
  if (!isHubSpec(id)) return id.toLowerCase().endsWith('.gguf');
  const { wanted } = parseHubSpec(id);
  return wanted !== null && wanted !== 'safetensors';
}

export interface TwinRun {
  readonly quant: string;
  readonly folder: string;
  readonly record: RunRecord;
}

/** Request time over all prompts, engine by engine, and each run's verdict: across runs nothing is tested. */
export function describeTwinRuns(runs: readonly TwinRun[]): string {
  const engines = [...new Set(runs.flatMap(({ record }) => record.engines.map(({ id }) => id)))];
  const columns: Column[] = [
    { header: ['quantisation'], align: 'left' },
    { header: ['MB'], align: 'right' },
    ...engines.map((id) => ({ header: [id], align: 'right' as const })),
    { header: ['verdict'], align: 'left' },
  ];
  const rows = runs.map(({ quant, record }) => [
    quant,
    String(Math.round((record.manifest.models[0]?.fileBytes ?? 0) / 1e6)),
    ...engines.map((engine) => requestTime(record, engine)),
    verdictOf(record),
  ]);
  const twinOf = runs[0]?.record.manifest.models[0]?.twinOf;
  return [
    'Request time, all prompts, geometric mean over the blocks of each run:',
    ...layTable(columns, rows).lines,
    'Each row is a run of its own: the engines of a row were compared with each other, rows were not.',
    ...(twinOf === undefined ? [] : [twinSentence(twinOf)]),
    ...runs.map(({ quant, folder }) => `${quant}: ${folder}`),
  ].join('\n');
}

function requestTime({ summaries, verdict }: RunRecord, engine: string): string {
  const own = summaries.filter((entry) => entry.engine === engine && entry.metric === 'request');
  const all = own.find(({ prompt }) => prompt === 'mix') ?? own.find(({ prompt }) => prompt === verdict.prompts[0]);
  return all === undefined ? 'not measured' : duration(all.estimate);
}

function verdictOf({ verdict }: RunRecord): string {
  if (verdict.state === 'winner') return `${verdict.winner ?? verdict.topGroup.join(', ')} faster`;
  return verdict.state === 'tie' ? 'equivalent' : verdict.state;
}
