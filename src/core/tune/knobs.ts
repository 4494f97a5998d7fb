/** What `runoff tune` tries: the settings that change an engine's speed, and the values worth a race. Pure. */
import type { EngineSettings } from '../engine.ts';

export type KnobName = 'threads' | 'batch' | 'flash attention' | 'mmap' | 'KV cache type';

export interface Candidate {
  /** Short and unique among the knob's candidates, e.g. `1`, `256`, `off`. */
  readonly label: string;
  readonly settings: Partial<EngineSettings>;
}

export interface Knob {
  readonly name: KnobName;
  /** Without the value in force. */
  readonly candidates: readonly Candidate[];
}

export interface KnobsInput {
  /** Settings that the engine takes. */
  readonly taken: readonly (keyof EngineSettings)[];
  /** In force now; what a knob changed is in it when the next knob's turn comes. */
  readonly base: EngineSettings;
  readonly physicalCores: number;
  /** Cores that this process may use. */
  readonly logicalCores: number;
  /** Longest prompt of the plan: a larger batch changes nothing. */
  readonly promptTokensMax: number;
  /** Also what changes the answers: a quantised KV cache. */
  readonly lossy: boolean;
}

/** More racers than this share a time box badly. */
const CANDIDATES_MAX = 4;
const BATCHES = [128, 256, 512, 1_024, 2_048];

/** Knobs in the order in which they matter; one that the engine does not take is left out. */
export function knobNames({ taken, lossy }: Pick<KnobsInput, 'taken' | 'lossy'>): KnobName[] {
  const names: KnobName[] = [];
  if (taken.includes('threads')) names.push('threads');
  if (taken.includes('batchTokens')) names.push('batch');
  if (taken.includes('flashAttention')) names.push('flash attention');
  if (taken.includes('mmap')) names.push('mmap');
  if (lossy && taken.includes('kvType')) names.push('KV cache type');
  return names;
}

/** The values that a knob tries against the settings in force. */
export function makeKnob(name: KnobName, input: KnobsInput): Knob {
  const { base } = input;
  const others = CANDIDATES[name](input).filter(
    ({ settings }) => !Object.entries(settings).every(([key, value]) => base[key as keyof EngineSettings] === value),
  );
  return { name, candidates: others.slice(0, CANDIDATES_MAX) };
}

const CANDIDATES: Readonly<Record<KnobName, (input: KnobsInput) => Candidate[]>> = {
  threads({ physicalCores, logicalCores }) {
    const counts = [physicalCores, logicalCores, Math.ceil(physicalCores / 2), 1, physicalCores - 1];
    return [...new Set(counts)]
      .filter((count) => count >= 1 && count <= logicalCores)
      .map((threads) => ({ label: String(threads), settings: { threads } }));
  },
  batch({ promptTokensMax, taken }) {
    // The step above the longest prompt takes it whole; those above that are the same work.
    const useful = BATCHES.filter(
      (size, index) => size < promptTokensMax || (BATCHES[index - 1] ?? 0) < promptTokensMax,
    );
    return useful.map((batchTokens) => ({
      label: String(batchTokens),
      settings: { batchTokens, ...(taken.includes('microBatchTokens') ? { microBatchTokens: batchTokens } : {}) },
    }));
  },
  'flash attention': () =>
    [true, false].map((flashAttention) => ({ label: onOff(flashAttention), settings: { flashAttention } })),
  mmap: () => [true, false].map((mmap) => ({ label: onOff(mmap), settings: { mmap } })),
  // llama.cpp takes a quantised V cache with flash attention only.
  'KV cache type': ({ base }) =>
    (base.flashAttention ? (['f16', 'q8_0'] as const) : (['f16'] as const)).map((kvType) => ({
      label: kvType,
      settings: { kvType },
    })),
};

function onOff(value: boolean): string {
  return value ? 'on' : 'off';
}
