/**
 * A run with its canary on a machine under load, where one engine suffers more from it than the other, or heats the
 * machine up: blocks judged, run again and tested by the very functions that judge real runs.
 */
import { blockOrder } from '../../src/core/protocol/block-order.ts';
import { acceptedBlocks, nextBlock } from '../../src/core/protocol/progress.ts';
import type { DoneBlock } from '../../src/core/protocol/plan-types.ts';
import { createRandom, normal } from '../../src/core/random.ts';
import type { Random } from '../../src/core/random.ts';
import type { Comparison, Memory, RunEvent } from '../../src/core/record.ts';
import { fasterMean } from '../../src/core/stats/describe.ts';
import { judgeAttempt } from '../../src/core/validity/judge-attempt.ts';
import { runLoad, stolenByBlock } from '../../src/core/validity/load.ts';
import { compareFamily, isResolved } from '../../src/core/verdict/compare-family.ts';
import { registerLooks } from '../../src/core/verdict/looks.ts';
import { REGIMES } from './regimes.ts';
import { ITERATIONS } from './simulate.ts';

const MARGIN = 1.05;
const CALIBRATIONS = 8;
/** Nothing here looks at it. */
const NO_MEMORY: Memory = { peakBytes: 0, anonymousBytes: 0, fileBackedBytes: 0 };
const ENGINES = ['a', 'b'].map((id) => ({ id, referenceBackend: null }));
/** ln; measured on a two-core virtual machine: 4% reading, 2% computing, together some 2%. */
const CANARY_SPREAD = 0.02;
const PROCESS_SPREAD = 0.01;

/** More is taken from nobody who still runs. */
const SHARE_MAX = 0.2;

/** ln slowdown of the machine; a cell of an engine may change what comes after it. */
interface Burden {
  now(): number;
  /** Time passes while this engine works. @returns the load that it worked under */
  work(engine: string): number;
  /** Share of the cores that the system says was stolen from the last one that worked. */
  stolen?(): number;
}

export type LoadRegime = (random: Random) => Burden;

/** The load of a regime of regimes.ts, whoever works. */
function outside(name: string): LoadRegime {
  return (random) => {
    const make = REGIMES[name];
    if (make === undefined) throw new TypeError(`there is no regime ${name}`);
    const regime = make(random);
    let position = 0;
    let load = regime.cell(0);
    return {
      now: () => load,
      work: () => {
        position += 1;
        load = regime.cell(position);
        return load;
      },
    };
  };
}

/** Engine b spins on all cores and heats the machine, a hardly does; heat goes away with every cell. Up to 20% slower. */
const selfHeating: LoadRegime = () => {
  let heat = 0;
  const load = (): number => 0.2 * (1 - Math.exp(-heat));
  return {
    now: load,
    work: (engine) => {
      const before = load();
      heat = 0.8 * heat + (engine === 'b' ? 0.5 : 0.1);
      return (before + load()) / 2;
    },
  };
};

/** A host that takes a share from whatever runs, and tells how much; another one while each process works. */
function stealing(usual: number, nextShare: (random: Random, usual: number) => () => number): LoadRegime {
  return (random) => {
    const next = nextShare(random, usual);
    let share = usual;
    const load = (): number => -Math.log1p(-share);
    return {
      now: load,
      work: () => {
        share = next();
        return load();
      },
      stolen: () => share,
    };
  };
}

/** Processes that follow each other get somewhat alike shares: the log of the share wanders, `kept` of it from one to the next. */
const wandering =
  (kept: number, added: number, scale = 1) =>
  (random: Random, usual: number): (() => number) => {
    let level = 0;
    return () => {
      level = kept * level + added * normal(random);
      return Math.min(SHARE_MAX, usual * Math.exp(scale * level));
    };
  };

/** A crowded host: it takes some 4% from whatever runs, all the time, now less and now more. Both cores are used. */
const steal = stealing(0.04, wandering(0.8, 0.6, 0.2));

/** As measured where one thread of two worked: 5%, by a third more or less from process to process. */
const bursts = stealing(0.05, wandering(0, 0.35));

/** As measured on a host whose guests come and go: some 2%, from 0 to 8%, alike in processes that follow each other. */
const waves = stealing(0.02, wandering(0.6, 0.55));

/** As measured on a host with many guests: looks and processes spread by 6%, neighbours in time somewhat alike. */
const restless: LoadRegime = (random) => {
  let level = 0;
  const next = (): number => {
    level = 0.5 * level + 0.05 * normal(random);
    return level;
  };
  return { now: () => level + 0.03 * normal(random), work: next };
};

export const LOAD_REGIMES: Readonly<Record<string, LoadRegime>> = {
  quiet: outside('quiet'),
  drift: outside('drift'),
  thermal: outside('thermal'),
  neighbour: outside('neighbour'),
  everything: outside('everything'),
  'self-heating': selfHeating,
  steal,
  bursts,
  waves,
  restless,
};

export interface LoadedRun {
  /** As decided with the canary; NOISY where reruns ran out. */
  readonly verdict: Comparison['verdict'];
  readonly faster: Comparison['faster'];
  /** The same blocks without gates and without the rule. */
  readonly raw: Comparison['verdict'];
}

/** @param sensitivity how much of the load each engine feels; `effect` is ln(time of b / time of a) on a quiet machine */
export function loadedRun(
  name: string,
  sensitivity: Readonly<{ a: number; b: number }>,
  options: { readonly blocks: number; readonly seed: number; readonly effect?: number },
): LoadedRun {
  const make = LOAD_REGIMES[name];
  if (make === undefined) throw new TypeError(`there is no load ${name}`);
  const { blocks: planned, seed, effect = 0 } = options;
  const machine = make(createRandom('load', name, seed));
  const random = createRandom('loaded-run', name, seed);
  const events: RunEvent[] = [{ type: 'session', at: '', resumed: false }];
  const look = (): void => void events.push(lookAt(machine.now(), random));
  for (let count = 0; count < CALIBRATIONS; count += 1) look();
  const done: DoneBlock[] = [];
  const times = new Map<string, { a: number; b: number }>();
  const cells: { block: number; attempt: number; stealShare: number }[] = [];
  const firstTries: { a: number; b: number }[] = [];
  for (;;) {
    const next =
      done.filter(({ state }) => state === 'rejected').length > planned / 2 ? null : nextBlock(done, planned);
    if (next === null) break;
    const place = { block: next.block, attempt: next.attempt };
    const values = { a: 0, b: 0 };
    for (const engine of blockOrder(['a', 'b'], next.block, seed) as ('a' | 'b')[]) {
      events.push({ type: 'cell-start', engine, ...place, elapsedMs: 0 });
      const load = machine.work(engine);
      const requests = Array.from({ length: ITERATIONS }, () => PROCESS_SPREAD * normal(random));
      const stealShare = machine.stolen?.() ?? 0;
      cells.push({ ...place, stealShare });
      values[engine] =
        sensitivity[engine] * load +
        PROCESS_SPREAD * normal(random) +
        fasterMean(requests) +
        (engine === 'b' ? effect : 0);
      events.push(cellEnd(engine, place, stealShare));
      look();
    }
    times.set(`${place.block}/${place.attempt}`, values);
    if (place.attempt === 0) firstTries.push(values);
    const { reasons } = judgeAttempt(events, ENGINES, place);
    const state = reasons.length > 0 ? ('rejected' as const) : ('accepted' as const);
    events.push({ type: 'block-end', ...place, state, reasons });
    done.push({ ...place, state, reasons });
  }
  const raw = test(firstTries, null, planned)?.verdict ?? 'INCONCLUSIVE';
  if (done.filter(({ state }) => state === 'rejected').length > planned / 2)
    return { verdict: 'NOISY', faster: null, raw };
  const places = acceptedBlocks(done).flatMap((block) => {
    const last = done.findLast((entry) => entry.block === block && entry.state === 'accepted');
    return last === undefined ? [] : [{ block, attempt: last.attempt }];
  });
  const values = places.flatMap(({ block, attempt }) => times.get(`${block}/${attempt}`) ?? []);
  const stolen = places.flatMap((place) =>
    stolenByBlock(
      cells.filter(({ block, attempt }) => block === place.block && attempt === place.attempt),
      [place.block],
      { cores: 2, threads: 2 },
    ),
  );
  const found = test(values, { loads: runLoad(events, places)?.byBlock ?? [], stolen }, planned);
  return { verdict: found?.verdict ?? 'INCONCLUSIVE', faster: found?.faster ?? null, raw };
}

/** At the planned looks, stopped when resolved. */
function test(
  values: readonly { readonly a: number; readonly b: number }[],
  machine: { readonly loads: readonly (number | null)[]; readonly stolen: readonly (number | null)[] } | null,
  planned: number,
): Comparison | undefined {
  let last: Comparison | undefined;
  for (const { blocks, alpha } of registerLooks(planned, { earlyLook: true })) {
    if (blocks > values.length) break;
    const used = values.slice(0, blocks);
    const comparisons = compareFamily({
      metric: 'request',
      prompt: 'mix',
      perEngineLogValues: new Map([
        ['a', used.map(({ a }) => a)],
        ['b', used.map(({ b }) => b)],
      ]),
      alpha,
      margin: MARGIN,
      ...(machine === null ? {} : { loads: machine.loads.slice(0, blocks), stolen: machine.stolen.slice(0, blocks) }),
    });
    [last] = comparisons;
    if (isResolved(comparisons)) break;
  }
  return last;
}

function cellEnd(
  engine: string,
  place: { readonly block: number; readonly attempt: number },
  stealShare: number,
): RunEvent {
  return {
    type: 'cell-end',
    engine,
    ...place,
    elapsedMs: 0,
    state: 'complete',
    error: null,
    memory: NO_MEMORY,
    interference: { stealShare, foreignCpuShare: 0, ownCpuShare: 0 },
  };
}

function lookAt(load: number, random: Random): RunEvent {
  const speed = Math.exp(-load);
  const noise = (): number => Math.exp(CANARY_SPREAD * Math.SQRT2 * normal(random));
  return {
    type: 'machine-check',
    elapsedMs: 0,
    canary: {
      readBytesPerS: 20e9 * speed * noise(),
      flopsPerS: 1e11 * speed * noise(),
      readMs: 150,
      multiplyAddMs: 150,
    },
    conditions: { throttleCount: null, limited: null, power: 'unknown', swapInPages: null },
    pressure: null,
    costMs: 300,
  };
}
