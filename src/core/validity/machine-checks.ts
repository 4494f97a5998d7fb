/**
 * Was the machine the same before, between and after the processes of a block? By the canary and by what the system
 * counts. A block that fails is run again, whatever its result.
 */
import type { RunEvent } from '../record.ts';
import type { CanaryReading, MachineCheckEvent } from '../machine-check-schema.ts';
import { median, robustDeviation } from '../stats/describe.ts';

/** Off the baseline, or changed within the block. Reading alone spreads by some 4% on a quiet virtual machine. */
const CANARY_CHANGE_MAX = 0.1;
/**
 * Where the looks of a session spread more, the machine is so, and running a block again does not help: it is disturbed when
 * it stands out from them. In standard deviations: what chance alone reaches once in a hundred blocks of six looks, for
 * the largest over the middle and for the range. What the spread does to the engines is in the intervals, and where it
 * slowed them the rule on load names no winner (see load.ts).
 */
const SPREADS_OFF_MAX = 3;
const SPREADS_CHANGE_MAX = 5;
/** A machine that spreads more is too noisy, however usual that is. */
const SPREAD_MAX = 0.06;
/** Share of the time between engines in which some program waited. */
const PRESSURE_MAX = 0.1;
/** 1 MiB: a few pages of something idle come back on every system. */
const SWAP_IN_PAGES_MAX = 256;
/** Heat block after block, with nobody else at work, is the engines' own: measuring again would measure it again. */
const SUSTAINED_BLOCKS = 3;

/** What disturbed a block; the kind decides what a user can do about it. */
export type DisturbanceKind = 'foreign-cpu' | 'steal' | 'canary' | 'pressure' | 'thermal' | 'power' | 'swap';

export interface Disturbance {
  readonly kind: DisturbanceKind;
  readonly reason: string;
}

export interface BlockJudgement {
  readonly disturbances: readonly Disturbance[];
  /** The block counts although the machine is slower than at the start: it has settled there. Null where it is not. */
  readonly sustained: string | null;
}

/** ln of how much slower the machine is than the baseline: reading and computing count the same. */
export function loadOf(reading: CanaryReading, baseline: Pick<CanaryReading, 'readBytesPerS' | 'flopsPerS'>): number {
  const { readBytesPerS, flopsPerS } = reading;
  return (Math.log(baseline.readBytesPerS / readBytesPerS) + Math.log(baseline.flopsPerS / flopsPerS)) / 2;
}

/** Median of readings; null without any. */
export function baselineOf(
  checks: readonly MachineCheckEvent[],
): Pick<CanaryReading, 'readBytesPerS' | 'flopsPerS'> | null {
  const readings = readingsOf(checks);
  if (readings.length === 0) return null;
  return {
    readBytesPerS: median(readings.map(({ readBytesPerS }) => readBytesPerS)),
    flopsPerS: median(readings.map(({ flopsPerS }) => flopsPerS)),
  };
}

export function readingsOf(checks: readonly MachineCheckEvent[]): CanaryReading[] {
  return checks.flatMap(({ canary }) => (canary !== null && isUsable(canary) ? [canary] : []));
}

function isUsable({ readBytesPerS, flopsPerS }: CanaryReading): boolean {
  return readBytesPerS > 0 && flopsPerS > 0;
}

/** One try of a block, with the looks at the machine from before its first process to after its last. */
export interface BlockLooks {
  readonly block: number;
  readonly attempt: number;
  readonly looks: readonly MachineCheckEvent[];
}

/** All tries of blocks of a session in order. `events` of several sessions are several sessions' blocks. */
export function blockLooks(events: readonly RunEvent[]): BlockLooks[] {
  const tries: { block: number; attempt: number; looks: MachineCheckEvent[]; closed: boolean }[] = [];
  let last: MachineCheckEvent | null = null;
  for (const event of events) {
    const current = tries.at(-1);
    if (event.type === 'session') last = null;
    if (event.type === 'machine-check') {
      // The look after the last process belongs to this block; what follows it begins the next one.
      if (current !== undefined && !current.closed) current.looks.push(event);
      last = event;
    }
    if (event.type === 'block-end' && current !== undefined) current.closed = true;
    if (event.type !== 'cell-start') continue;
    const { block, attempt } = event;
    if (current?.block === block && current.attempt === attempt) continue;
    tries.push({ block, attempt, looks: last === null ? [] : [last], closed: false });
  }
  return tries;
}

/** Looks of the running session: heat and neighbours of yesterday are no baseline. */
export function sessionChecks(events: readonly RunEvent[]): MachineCheckEvent[] {
  const start = events.findLastIndex(({ type }) => type === 'session');
  return events.slice(start + 1).filter((event) => event.type === 'machine-check');
}

/** Judges the last block of the log, when all its processes have run. */
export function judgeBlock(events: readonly RunEvent[]): BlockJudgement {
  const start = Math.max(
    0,
    events.findLastIndex(({ type }) => type === 'session'),
  );
  const blocks = blockLooks(events.slice(start));
  const current = blocks.at(-1);
  if (current === undefined) return { disturbances: [], sustained: null };
  const session = sessionChecks(events);
  const before = blocks.slice(0, -1);
  const canary = judgeCanary(current, before.at(-1) ?? null, session);
  const heat = judgeHeat([...before, current].slice(-SUSTAINED_BLOCKS));
  const disturbances = [
    ...canary.disturbances,
    ...judgePressure(current),
    ...heat.disturbances,
    ...judgePower(current, session),
    ...judgeSwap(current),
  ];
  return { disturbances, sustained: disturbances.length === 0 ? (canary.sustained ?? heat.sustained) : null };
}

function judgeCanary(
  { looks }: BlockLooks,
  before: BlockLooks | null,
  session: readonly MachineCheckEvent[],
): BlockJudgement {
  const baseline = baselineOf(session);
  if (baseline === null) return QUIET;
  const loads = readingsOf(looks).map((reading) => loadOf(reading, baseline));
  if (loads.length === 0) return QUIET;
  const [least, most] = [Math.min(...loads), Math.max(...loads)];
  const deviations = readingsOf(session).map((reading) => loadOf(reading, baseline));
  const spread = Math.min(SPREAD_MAX, robustDeviation(deviations));
  const limitOf = (spreads: number): number => Math.max(Math.log(1 + CANARY_CHANGE_MAX), spreads * spread);
  const [change, limit] = [limitOf(SPREADS_CHANGE_MAX), limitOf(SPREADS_OFF_MAX)];
  if (most - least > change) {
    const reason = `the machine's own speed changed by ${percent(Math.expm1(most - least))} within the block (limit ${percent(Math.expm1(change))})`;
    return { disturbances: [{ kind: 'canary', reason }], sustained: null };
  }
  if (most <= limit) return QUIET;
  const slower = `${percent(1 - Math.exp(-most))} slower than in most of this session`;
  const last = before === null ? undefined : readingsOf(before.looks).at(-1);
  const lastLoad = last === undefined ? null : loadOf(last, baseline);
  const isLevel = lastLoad !== null && Math.max(most, lastLoad) - Math.min(least, lastLoad) <= change;
  return isLevel
    ? { disturbances: [], sustained: `the machine has settled at a speed ${slower}` }
    : {
        disturbances: [{ kind: 'canary', reason: `the machine was ${slower} (limit ${percent(-Math.expm1(-limit))})` }],
        sustained: null,
      };
}

const QUIET: BlockJudgement = { disturbances: [], sustained: null };

function judgePressure({ looks }: BlockLooks): Disturbance[] {
  const worst = (read: (pressure: NonNullable<MachineCheckEvent['pressure']>) => number): number =>
    Math.max(0, ...looks.flatMap(({ pressure }) => (pressure === null ? [] : [read(pressure)])));
  const shares = [
    { what: 'the processor', share: worst(({ cpu }) => cpu) },
    { what: 'the disk', share: worst(({ io }) => io) },
    { what: 'memory', share: worst(({ memory }) => memory) },
  ];
  return shares
    .filter(({ share }) => share > PRESSURE_MAX)
    .map(({ what, share }) => ({
      kind: 'pressure',
      reason: `programs waited for ${what} in ${percent(share)} of the time between engines (limit ${percent(PRESSURE_MAX)})`,
    }));
}

/** @param blocks the last ones, this one at the end */
function judgeHeat(blocks: readonly BlockLooks[]): BlockJudgement {
  const heats = blocks.map(heatOf);
  const current = heats.at(-1) ?? null;
  if (current === null) return QUIET;
  if (blocks.length >= SUSTAINED_BLOCKS && heats.every((heat) => heat !== null)) {
    return {
      disturbances: [],
      sustained: 'the processor is held back by its own heat or power limit in block after block',
    };
  }
  return { disturbances: [{ kind: 'thermal', reason: current }], sustained: null };
}

function heatOf({ looks }: BlockLooks): string | null {
  const counts = looks.flatMap(({ conditions }) => conditions.throttleCount ?? []);
  const grown = (counts.at(-1) ?? 0) - (counts[0] ?? 0);
  if (grown > 0) return `the processor was slowed down because of heat (${grown} throttle events)`;
  return looks.some(({ conditions }) => conditions.limited === true)
    ? 'the processor is held below its speed by heat or a power limit'
    : null;
}

/** Halves of a run on mains and on battery are two machines. */
function judgePower({ looks }: BlockLooks, session: readonly MachineCheckEvent[]): Disturbance[] {
  const known = (checks: readonly MachineCheckEvent[]): ('ac' | 'battery')[] =>
    checks.flatMap(({ conditions: { power } }) => (power === 'unknown' ? [] : [power]));
  const [first] = known(session);
  const other = known(looks).find((power) => power !== first);
  if (first === undefined || other === undefined) return [];
  const name = { ac: 'mains', battery: 'battery' } as const;
  return [{ kind: 'power', reason: `the power source changed from ${name[first]} to ${name[other]}` }];
}

function judgeSwap({ looks }: BlockLooks): Disturbance[] {
  const counts = looks.flatMap(({ conditions }) => conditions.swapInPages ?? []);
  const pages = (counts.at(-1) ?? 0) - (counts[0] ?? 0);
  return pages > SWAP_IN_PAGES_MAX
    ? [{ kind: 'swap', reason: `${pages} pages of memory were read back from swap (limit ${SWAP_IN_PAGES_MAX})` }]
    : [];
}

function percent(share: number): string {
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`;
}
