/** Handmade ladders: rungs whose overhead is known, on a machine whose state changes from block to block. */
import { createRandom, normal } from '../../src/core/random.ts';
import type { EngineFacts, Manifest, RunEvent } from '../../src/core/record.ts';
import { engineFacts, gatesPassed, manifestOf, MEMORY, QUIET, sampleOf } from './fixtures.ts';

interface Speeds {
  readonly ttftMs?: number;
  readonly tpotMs?: number;
  readonly loadMs?: number;
  readonly memoryBytes?: number;
  readonly firstTokens?: readonly number[];
  /** What the engine's own clock leaves out at the first token; undefined: it has none. */
  readonly outsideMs?: number;
}

export const LIBRARY = { libraryId: 'llama-cpp-python 0.3.16' };
export const BASE = engineFacts('libllama', LIBRARY);
export const BINDING = engineFacts('binding', LIBRARY);
export const SERVER = engineFacts('server', LIBRARY);
export const SHIPPED = engineFacts('shipped', {
  build: { version: '9', library: 'b1', openMp: null, instructionSets: null },
});
const SHORT = { name: 'short', tokenCount: 5, source: 'study text' };
const LONG = { name: 'standard', tokenCount: 512, source: 'study text' };
const PLAN: RunEvent = { type: 'plan', blocks: 12, looks: [12], remainingMs: 300_000, estimateMs: 200_000 };
export const END: RunEvent = { type: 'end', state: 'complete', reason: 'done', elapsedMs: 1 };

export function ladderManifest(engines: readonly EngineFacts[], prompts = [SHORT, LONG]): Manifest {
  const made = manifestOf(engines);
  return { ...made, plan: { ...made.plan, prompts, ladder: true } };
}

export interface LadderSpec {
  readonly speeds: Readonly<Record<string, Speeds>>;
  readonly blocks?: number;
  readonly seed?: number;
  /** Relative spread of a process; all processes of a block share a second spread of 5%. */
  readonly noise?: number;
  readonly reject?: number;
}

/** One block: the machine's state hits every engine alike, the rest is each process's own. */
function block(index: number, { speeds, noise = 0.005, seed = 1 }: LadderSpec): RunEvent[] {
  const random = createRandom('ladder', seed, index);
  const machine = Math.exp(0.05 * normal(random));
  const cells = Object.entries(speeds).flatMap(([engine, speed]): RunEvent[] => {
    const where = { engine, block: index, attempt: 0 };
    const spread = (): number => machine * Math.exp(noise * normal(random));
    const { ttftMs = 400, tpotMs = 10, loadMs = 500, memoryBytes = 2e8, firstTokens = [1, 2, 3, 4] } = speed;
    const samples = [SHORT, LONG].map(({ name, tokenCount }) => {
      const first = (name === 'short' ? ttftMs / 40 : ttftMs) * spread();
      return sampleOf({
        ...where,
        prompt: name,
        promptTokens: tokenCount,
        ttftMs: first,
        enginePrefillMs: speed.outsideMs === undefined ? null : first - speed.outsideMs,
        tpotMs: tpotMs * spread(),
        totalMs: (ttftMs + 64 * tpotMs) * spread(),
        firstTokens: [...firstTokens],
      });
    });
    const memory = { ...MEMORY, peakBytes: memoryBytes };
    return [
      { type: 'cell-start', ...where, elapsedMs: 0 },
      { type: 'load', ...where, loadMs: loadMs * spread(), engineLoadMs: null },
      ...samples,
      { type: 'cell-end', ...where, elapsedMs: 0, state: 'complete', error: null, memory, interference: QUIET },
    ];
  });
  return [...cells, { type: 'block-end', block: index, attempt: 0, state: 'accepted', reasons: [] }];
}

export function ladderEvents(spec: LadderSpec): RunEvent[] {
  const { blocks = 12, reject = 0 } = spec;
  const rejected = Array.from({ length: reject }, (_, index): RunEvent => ({
    type: 'block-end',
    block: index,
    attempt: 9,
    state: 'rejected',
    reasons: ['busy'],
  }));
  return [
    { type: 'session', at: '2026-11-25', resumed: false },
    ...Object.keys(spec.speeds).flatMap(gatesPassed),
    PLAN,
    ...rejected,
    ...Array.from({ length: blocks }, (_, index) => block(index, spec)).flat(),
    END,
  ];
}
