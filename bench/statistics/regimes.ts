/** Models of what a machine does to a measurement, as log-slowdowns: docs/BENCHES.md, "statistics". */
import { normal } from '../../src/core/random.ts';
import type { Random } from '../../src/core/random.ts';

/** One run's machine. A cell is one process of one engine; positions count cells over the run. */
export interface Regime {
  readonly cell: (position: number) => number;
  /** Of one request inside a cell. */
  readonly request: () => number;
}

export type MakeRegime = (random: Random) => Regime;

/** No machine is quieter: 1% between processes, 1% between requests. */
const quiet = (random: Random): Regime => ({
  cell: () => 0.01 * normal(random),
  request: () => 0.01 * normal(random),
});

/** One request in five stalls, by 15% on average. */
const skewed = (random: Random): Regime => ({
  cell: () => 0.01 * normal(random),
  request: () => (random.next() < 0.2 ? -0.15 * Math.log(1 - random.next()) : 0),
});

/** Neighbours in time are alike: correlation 0.8 from cell to cell. */
const drift = (random: Random): Regime => {
  let level = 0;
  return {
    cell: () => {
      level = 0.8 * level + 0.03 * normal(random);
      return level + 0.01 * normal(random);
    },
    request: () => 0.01 * normal(random),
  };
};

/** The machine heats up and slows by 20% over the first dozen cells. */
const thermal = (random: Random): Regime => ({
  cell: (position) => 0.2 * (1 - Math.exp(-position / 12)) + 0.01 * normal(random),
  request: () => 0.01 * normal(random),
});

/** Another program comes (one cell in ten) and stays for three cells on average, taking 10-60%. */
const neighbour = (random: Random): Regime => {
  let burden = 0;
  return {
    cell: () => {
      if (burden > 0 && random.next() < 1 / 3) burden = 0;
      else if (burden === 0 && random.next() < 0.1) burden = 0.1 + 0.5 * random.next();
      return burden + 0.01 * normal(random);
    },
    request: () => 0.01 * normal(random),
  };
};

/** Three processes in ten get an unlucky layout of memory and stay 8% slower all their life. */
const bimodal = (random: Random): Regime => ({
  cell: () => (random.next() < 0.3 ? 0.08 : 0) + 0.01 * normal(random),
  request: () => 0.01 * normal(random),
});

const everything = (random: Random): Regime => {
  const parts = [skewed, drift, thermal, neighbour, bimodal].map((make) => make(random));
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
  return {
    cell: (position) => sum(parts.map((part) => part.cell(position))),
    request: () => sum(parts.map((part) => part.request())),
  };
};

export const REGIMES: Readonly<Record<string, MakeRegime>> = {
  quiet,
  skewed,
  drift,
  thermal,
  neighbour,
  bimodal,
  everything,
};
