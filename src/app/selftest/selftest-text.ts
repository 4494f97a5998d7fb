/** What `runoff selftest` prints: the statement first, then what it rests on. */
import pc from 'picocolors';
import type { Outcome } from '../../core/selftest/selftest.ts';
import { cleanStrings } from '../../report/clean.ts';
import { layTable, wrap } from '../../report/text-table.ts';
import { minutes } from '../wording.ts';
import type { SelftestItem, SelftestResult } from './selftest.ts';

export interface TextOptions {
  readonly color: boolean;
  readonly width: number;
}

const WIDTH_MAX = 100;
const MARKS: Readonly<Record<Outcome, string>> = { passed: '✓', failed: '✗', undecided: '?' };

export function describeSelftest(result: SelftestResult, { color, width }: TextOptions): string {
  const columns = Math.min(WIDTH_MAX, width);
  const { items, machine, engine, model } = cleanStrings(result);
  const colors = pc.createColors(color);
  const paint = { passed: colors.green, failed: colors.red, undecided: colors.yellow };
  const lines = [
    ...statement(result).flatMap((text, index) =>
      wrap(text, columns).map((line) => (index === 0 ? colors.bold(line) : line)),
    ),
    '',
    ...items.flatMap((item) => itemLines(item, columns, paint[item.outcome])),
    '',
    ...resolutionLines(result),
    ...wrap(`On ${machine}, with ${engine} and ${model}.`, columns),
  ];
  return `${lines.join('\n')}\n`;
}

function itemLines({ outcome, title, detail }: SelftestItem, width: number, paint: (text: string) => string): string[] {
  return [`${paint(MARKS[outcome])} ${title}`, ...wrap(detail, width, { first: '    ', rest: '    ' })];
}

/** What a user may conclude, in plain sentences. */
export function statement(result: SelftestResult): string[] {
  const { state, outcome, items } = result;
  if (state === 'interrupted') return ['Interrupted: what was measured until then is below.'];
  if (outcome === 'failed') {
    const failed = items.filter((item) => item.outcome === 'failed').map(({ title }) => title);
    return [`NOT PASSED. On this machine runoff does not hold what it promises: ${failed.join('; ')}.`];
  }
  const open = items.filter((item) => item.outcome === 'undecided').length;
  const first =
    open === 0 ? 'PASSED.' : `PASSED as far as it could be told; ${open} of ${items.length} checks stay open.`;
  return [`${first} ${canResolve(result)}`, ...loadAdvice(result), ...noiseAdvice(result)];
}

function canResolve({ resolutions, rejectedBlocks }: SelftestResult): string {
  const [quick, long] = [resolutions[0], resolutions.at(-1)];
  if (quick === undefined || long === undefined)
    return `What differences this machine can resolve is unknown: ${rejectedBlocks > 0 ? 'other work disturbed too much of the measurement' : 'too few blocks were measured; --budget gives more time'}.`;
  return `With two engines and the default prompts, this machine resolves a difference of ${share(quick.different)} in about ${minutes(quick.runMs)}, and of ${share(long.different)} in about ${minutes(long.runMs)}.`;
}

/** A difference of a third is what two builds of one engine have: a machine that cannot see it measures nothing. */
const POOR_SHARE = 0.2;

/** Copies are slowed alike by load; a run of two engines cannot know that of them. */
function loadAdvice({ loadDependent }: SelftestResult): string[] {
  return loadDependent === null
    ? []
    : [
        `For two different engines a run would name no winner at a time like this, even of the largest difference here: ${loadDependent}.`,
      ];
}

function noiseAdvice({ rejectedBlocks, remedy, resolutions }: SelftestResult): string[] {
  const poor = (resolutions[0]?.different ?? 0) > POOR_SHARE;
  if (remedy !== null) {
    const blocks = rejectedBlocks === 1 ? '1 block was' : `${rejectedBlocks} blocks were`;
    return [`${blocks} disturbed by other work. ${remedy}, and try again.`];
  }
  return poor
    ? ['Close other programs, plug in the power supply, and try again: runoff doctor names who is busy.']
    : [];
}

function resolutionLines({ resolutions }: SelftestResult): string[] {
  if (resolutions.length === 0) return [];
  const { lines } = layTable(
    [
      { header: ['blocks'], align: 'right' },
      { header: ['time'], align: 'right' },
      { header: ['told as different'], align: 'right' },
      { header: ['told as FASTER'], align: 'right' },
    ],
    resolutions.map(({ blocks, runMs, different, faster }) => [
      String(blocks),
      minutes(runMs),
      share(different),
      share(faster),
    ]),
  );
  return ['Smallest difference that is found in 8 of 10 runs of two engines with the default prompts:', ...lines, ''];
}

function share(value: number): string {
  return `${(100 * value).toFixed(value < 0.1 ? 1 : 0)}%`;
}
