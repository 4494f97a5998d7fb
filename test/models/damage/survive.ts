/** Every reader gets thousands of damaged files: each must end in a typed error or in what the file really says, soon. */
import { AppError } from '../../../src/core/errors.ts';
import { createRandom, type Random } from '../../../src/core/random.ts';

/** Reads a damaged file and compares the result with an oracle that trusts the file: @throws what is neither. */
export type Read = () => unknown;

export interface DamagedReader {
  /** Writes one damaged file. @returns what is done with it. */
  readonly damage: (random: Random, index: number) => Promise<readonly Read[]>;
  readonly close?: () => Promise<void>;
}

/** Makes the whole files below this folder, of which the damaged ones are made. */
export type PrepareReader = (folder: string) => Promise<DamagedReader>;

export interface Outcomes {
  readonly read: number;
  readonly refused: number;
  /** Different messages, numbers and quoted texts left out. */
  readonly reasons: ReadonlySet<string>;
  readonly slowestMs: number;
}

/** Codes that a reader of a model may end with. */
const CODES: readonly string[] = [
  'model-invalid',
  'model-unsupported',
  'model-not-found',
  'conversion-failed',
  'usage',
];

export async function survive(
  name: string,
  reader: DamagedReader,
  { count, codes = [] }: { readonly count: number; readonly codes?: readonly string[] | undefined },
): Promise<Outcomes> {
  const seen = { read: 0, refused: 0 };
  const reasons = new Set<string>();
  let slowestMs = 0;
  for (let index = 0; index < count; index++) {
    for (const read of await reader.damage(createRandom('damaged', name, index), index)) {
      const startedMs = performance.now();
      try {
        await read();
        seen.read += 1;
      } catch (error) {
        if (!(error instanceof AppError) || ![...CODES, ...codes].includes(error.code))
          throw new TypeError(`${name}: file ${index} ends in ${String(error)}`, { cause: error });
        seen.refused += 1;
        reasons.add(`${error.code}: ${error.message.replaceAll(/\d+|".*?"/g, 'N')}`);
      }
      slowestMs = Math.max(slowestMs, performance.now() - startedMs);
    }
  }
  return { ...seen, reasons, slowestMs };
}
