/** `runoff history` and `runoff compare` as plain text. */
import { headlineChange } from '../core/derive/compare-runs.ts';
import type { Change, EngineChanges, RunsCompared } from '../core/derive/compare-runs.ts';
import type { RunRecord } from '../core/record.ts';
import { MIX_PROMPT } from '../core/verdict/compare-family.ts';
import { layTable, truncate, wrap } from './text-table.ts';
import type { Column } from './text-table.ts';

const LEFT = (header: string): Column => ({ header: [header], align: 'left' });
const RIGHT = (header: string): Column => ({ header: [header], align: 'right' });
const HEADLINE_WIDTH = 44;

export interface HistoryRow {
  readonly folder: string;
  readonly record: RunRecord | null;
  readonly problem: string | null;
}

/** One line per run: when, what, which engines, what came out. */
export function renderHistory(runs: readonly HistoryRow[]): string {
  if (runs.length === 0) return 'No runs are stored here. runoff run makes one.\n';
  const columns = [LEFT('started'), LEFT('model'), LEFT('engines'), LEFT('result'), LEFT('folder')];
  const rows = runs.map(({ folder, record, problem }) =>
    record === null
      ? ['?', '–', '–', truncate(`cannot be read: ${problem ?? ''}`, HEADLINE_WIDTH), folder]
      : [
          record.manifest.startedAt.slice(0, 16).replace('T', ' '),
          truncate(record.manifest.models[0]?.name ?? '–', 32),
          record.manifest.engines
            .filter(({ state }) => state === 'available')
            .map(({ id }) => id)
            .join(' '),
          truncate(record.verdict.headline, HEADLINE_WIDTH),
          folder,
        ],
  );
  return `${layTable(columns, rows).lines.join('\n')}\n`;
}

/** What changed between two runs, engine by engine; why not, where the work differs. */
export function renderComparison(before: string, after: string, compared: RunsCompared, width: number): string {
  const lines = [`before  ${before}`, `after   ${after}`, ''];
  if (compared.differences.length > 0) {
    lines.push('Not compared: the two runs are not the same work.');
    for (const difference of compared.differences) lines.push(...wrap(difference, width, { first: '- ', rest: '  ' }));
    return `${lines.join('\n')}\n`;
  }
  if (!compared.sameMachine) lines.push('TWO MACHINES: what follows compares machines as much as engines.', '');
  for (const engine of compared.engines) lines.push(...engineLines(engine, width), '');
  for (const [where, ids] of [['before', compared.onlyBefore] as const, ['after', compared.onlyAfter] as const])
    if (ids.length > 0) lines.push(`Only ${where}: ${ids.join(', ')}.`);
  return `${lines.join('\n').trimEnd()}\n`;
}

function engineLines(engine: EngineChanges, width: number): string[] {
  const change = headlineChange(engine);
  const build =
    engine.before === engine.after ? `unchanged build (${engine.after})` : `${engine.before} → ${engine.after}`;
  const { lines } = layTable(
    [LEFT('  metric'), LEFT('prompt'), RIGHT('time after/before'), RIGHT('95% interval'), RIGHT('blocks')],
    engine.changes.map((item) => [
      `  ${item.metric}`,
      item.prompt === MIX_PROMPT ? 'all' : item.prompt,
      item.ratio.toFixed(3),
      item.low === null || item.high === null ? '–' : `${item.low.toFixed(3)}-${item.high.toFixed(3)}`,
      `${item.blocksBefore}/${item.blocksAfter}`,
    ]),
  );
  return [
    ...wrap(`${engine.engine}: ${change === null ? 'nothing in common' : inWords(change)}`, width),
    ...wrap(build, width, { first: '  ', rest: '  ' }),
    ...lines,
  ];
}

function inWords(change: Change): string {
  const percent = `${Math.abs(100 * (change.ratio - 1)).toFixed(1)}%`;
  const how =
    change.control === null
      ? 'not controlled: the machine may have changed between the runs'
      : `against ${change.control}, whose build did not change`;
  if (change.low === null || change.high === null) return `too few blocks to tell (${how}).`;
  if (change.low > 1) return `slower by ${percent} (${how}).`;
  return change.high < 1 ? `faster by ${percent} (${how}).` : `no change that the runs can show (${how}).`;
}

/** The gate's line per engine. */
export function renderGate(
  engine: string,
  change: Change,
  outcome: 'passed' | 'failed' | 'undecided',
  limit: number,
): string {
  const percent = `${(100 * (limit - 1)).toFixed(1)}%`;
  const interval =
    change.low === null || change.high === null
      ? 'no interval'
      : `interval ${change.low.toFixed(3)}-${change.high.toFixed(3)}`;
  const said = {
    passed: `PASSED: not slower by more than ${percent}`,
    failed: `FAILED: slower by more than ${percent}`,
    undecided: `UNDECIDED: the interval holds ${percent}; measure more blocks to decide`,
  }[outcome];
  return `${engine}: ${said} (${interval})`;
}
