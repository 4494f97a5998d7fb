/** The machine in a report: how quiet it was, what it allows, and how near the engines come. */
import type { MachineState } from '../core/machine-check-schema.ts';
import type { RunRecord } from '../core/record.ts';
import type { RooflineRow } from '../core/roofline-schema.ts';
import { count, digits } from './numbers.ts';

export const ROOFLINE_HEAD = [
  'Engine',
  'Prompt',
  'Read per token',
  'Decode, tok/s',
  'Limit, tok/s',
  'Of the limit',
  'Prefill, × canary',
] as const;

export interface MachineView {
  /** Sentences about the canary and the limits. */
  readonly lines: readonly string[];
  /** Cells in the order of `ROOFLINE_HEAD`; empty without a canary, or where nothing ran on the CPU. */
  readonly rows: readonly (readonly string[])[];
  readonly caption: string;
  readonly notes: readonly string[];
}

const NOTHING = '–';
const MIB = 2 ** 20;
const GIGA = 1e9;

/** Null in records from before anything looked at the machine. */
export function machineView({ machineState, roofline }: RunRecord): MachineView | null {
  if (machineState === null || machineState === undefined) return null;
  const { canary, canaryReason, sustained } = machineState;
  const limits = roofline ?? null;
  return {
    lines: [
      ...(canary === null ? [sentence(canaryReason ?? 'no canary')] : canaryLines(machineState, canary)),
      ...sustained.map((text) => `Sustained: ${text}.`),
    ],
    rows: limits === null ? [] : limits.rows.map(rowCells),
    caption:
      limits === null
        ? ''
        : `Limit: all of the ${digits(limits.readBytesPerS / GIGA)} GB/s that the canary read in this run, spent on the weights and the KV cache of each token. ` +
          `Prefill: arithmetic over the canary's ${digits(limits.flopsPerS / GIGA)} GFLOP/s, which int8 and wider units exceed`,
    notes: limits?.notes ?? [],
  };
}

function canaryLines(
  { costShare }: MachineState,
  {
    looks,
    threads,
    bufferBytes,
    readBytesPerS,
    flopsPerS,
    excessLoad,
    spread,
    best,
  }: NonNullable<MachineState['canary']>,
): string[] {
  const load =
    excessLoad === null
      ? ''
      : `; the tested blocks were ${percent(excessLoad)} slower than the machine at its quietest`;
  const now = `${digits(readBytesPerS / GIGA)} GB/s, ${digits(flopsPerS / GIGA)} GFLOP/s`;
  return [
    `Canary on ${count(threads, 'thread')}, ${Math.round(bufferBytes / MIB)} MiB: ${now} (medians of ${count(looks, 'look')}, ${percent(spread)} from the fastest to the slowest)${load}. Looking took ${percent(costShare)} of the time.`,
    ...(best === null
      ? []
      : [
          `Best ever seen of this machine: ${digits(best.readBytesPerS / GIGA)} GB/s, ${digits(best.flopsPerS / GIGA)} GFLOP/s.`,
        ]),
  ];
}

function rowCells(row: RooflineRow): string[] {
  const { engine, prompt, bytesPerToken, decode, decodeLimit, decodeShare, prefillShare } = row;
  return [
    engine,
    prompt,
    `${digits(bytesPerToken / 1e6)} MB`,
    decode === null ? NOTHING : digits(decode),
    digits(decodeLimit),
    decodeShare === null ? NOTHING : `${Math.round(100 * decodeShare)}%`,
    prefillShare === null ? NOTHING : digits(prefillShare),
  ];
}

function percent(share: number): string {
  return `${Number((100 * share).toFixed(1))}%`;
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.?$/, '.')}`;
}
