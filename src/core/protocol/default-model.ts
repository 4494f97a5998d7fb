/**
 * Which model a run measures when nobody names one: a twin of a 1B model where a whole plan of it is predicted to fit into
 * the time, the memory and the disk; else the 135M demonstration model. Pure: facts in, a decision with its reason out.
 */
import type { Device } from '../engine.ts';
import { capacityMs } from './draft.ts';
import { planRun } from './plan-run.ts';
import type { PilotCosts, PlannedEngine } from './plan-types.ts';

export interface DefaultModelFacts {
  readonly engines: readonly DefaultModelEngine[];
  /** Null: it is known only with the tokenizer of a model. */
  readonly prompts: readonly { readonly name: string; readonly tokenCount: number | null }[];
  readonly generateTokens: number;
  readonly iterations: number;
  readonly blocks: number;
  readonly budgetMs: number;
  /** What the run is for, where the twin is not for it: `--study` and the like; null for an ordinary run. */
  readonly purpose: 'study' | 'ladder' | 'tuned' | null;
  /** That an engine gets. */
  readonly threads: number;
  readonly memory: { readonly totalBytes: number; readonly availableBytes: number | null };
  /** Where models are kept; null: not told. */
  readonly diskFreeBytes: number | null;
  /** By the canary on as many threads, in an earlier run; null: never measured here. */
  readonly readBytesPerS: number | null;
  readonly cpu: string;
  /** Names of the graphics cards with a memory of their own and a driver that works. */
  readonly cards: readonly string[];
}

export interface DefaultModelEngine {
  readonly id: string;
  readonly device: Device;
  readonly referenceBackend: string | null;
  /** It has a model of its own, or needs a copy in another form. */
  readonly model: 'file' | 'copy' | 'own';
}

export interface DefaultModelChoice {
  readonly model: 'twin' | 'demonstration';
  /** One sentence: what and why. */
  readonly reason: string;
}

/** Llama 3.2 1B, Q4_0 with embeddings and output in Q8_0 (`twin:Q4_0_L:llama-3.2-1b`): what decides its speed. */
export const TWIN_1B = {
  spec: 'twin:Q4_0_L:llama-3.2-1b',
  fileBytes: 826e6,
  /** Multiplied for a token of the prompt; the output matrix is used for the last one only. */
  promptParameters: 973e6,
} as const;

/** Of the default plan; where fewer are asked for, those must fit. */
const BLOCKS_WANTED = 12;
/** The file in the page cache, and as much again for what an engine unpacks or copies to a device; its buffers. */
const MEMORY_BYTES_NEEDED = 2 * TWIN_1B.fileBytes + 600e6;
/** Other programs are left a quarter of what is free. */
const MEMORY_SHARE_MAX = 0.75;
/** Where the system does not tell what is free. */
const MEMORY_FREE_GUESS = 0.5;
/** Left free on the disk. */
const DISK_BYTES_SPARE = 2e9;

/*
 * Rates are on the slow side of what was seen, because a wrong "yes" costs a firm result and a wrong "no" only a larger model.
 */
/** Engines read 60% of what the canary reads (llama.cpp on two to sixteen cores: 60-90%). */
const CPU_READ_SHARE = 0.6;
/** Per core, and for all: two channels of DDR4; a machine with more tells by its canary. */
const CORE_READ_BYTES_PER_S = 6e9;
const CPU_READ_BYTES_PER_S_MAX = 40e9;
/** A core with AVX2 or NEON dot products on 4-bit blocks; with AVX-512 VNNI 97e9 were measured. */
const CORE_FLOPS_PER_S = 40e9;
/**
 * Of a GPU's bandwidth, at decode: 45% (M2 Ultra) to 86% (M4) with llama.cpp and 4 bits; and its arithmetic per byte of
 * bandwidth at prefill, from 11 (M2 Pro, 2023) to 30 (M4): https://github.com/ggml-org/llama.cpp/discussions/4167.
 */
const GPU_READ_SHARE = 0.45;
const GPU_FLOPS_PER_BYTE = 12;
/** Launch, load from the page cache, stop. */
const START_MS: Readonly<Record<'cpu' | 'gpu', number>> = { cpu: 1_500, gpu: 2_500 };
/** Costs of a token that do not shrink with the bandwidth: launching kernels, sampling. */
const TOKEN_MS: Readonly<Record<'cpu' | 'gpu', number>> = { cpu: 0.5, gpu: 1.5 };
/** Validity gates and pilot: about so many prompt and generated tokens (src/app/check-engine.ts). */
const CHECK_TOKENS = { prompt: 4_000, generate: 150 } as const;
/** Checking a reference backend ends when this share of the time that is left is gone. */
const REFERENCE_CHECK_SHARE = 0.5;

/** What Apple states, bytes per second, by the chip's name; the smaller of two where there were two. */
const APPLE_BANDWIDTHS: readonly (readonly [RegExp, number])[] = [
  [/^Apple M\d+ Ultra\b/, 800e9],
  [/^Apple M3 Max\b/, 300e9],
  [/^Apple M\d+ Max\b/, 400e9],
  [/^Apple M3 Pro\b/, 150e9],
  [/^Apple M[4-9] Pro\b/, 273e9],
  [/^Apple M\d+ Pro\b/, 200e9],
  [/^Apple M1\b/, 68e9],
  [/^Apple M\d+\b/, 100e9],
];
/** The slowest card that a name covers, from the makers' data sheets; others are taken for the smallest of all. */
const CARD_BANDWIDTHS: readonly (readonly [RegExp, number])[] = [
  [/\b(V100|A100|A800|H100|H200|H800|GH200|B100|B200|B300|GB200|MI\d{3})/, 850e9],
  [/\b(RTX [2-5]0[89]0|RTX A[56]000|RTX 6000|L40|A40|RX [67]9\d0)/, 448e9],
  [/\b(RTX [2-5]0[67]0|RTX A[24][05]00|RTX [45]000|L4|A10|T4|RX [67][78]00)/, 256e9],
];
const CARD_BANDWIDTH_MIN = 128e9;

export function chooseDefaultModel(facts: DefaultModelFacts): DefaultModelChoice {
  const against = objection(facts);
  if (against !== null) {
    return {
      model: 'demonstration',
      reason: `SmolLM2 135M, because ${against}; a demonstration model, which predicts nothing for larger ones.`,
    };
  }
  const { estimateMs } = predict(facts);
  return {
    model: 'twin',
    reason: `a twin of Llama 3.2 1B (random weights, speed only), because ${blocksWanted(facts)} blocks of it with their checks are predicted to take ${minutes(estimateMs)} of the ${minutes(facts.budgetMs)} that are allowed, and memory and disk have room for it.`,
  };
}

const PURPOSES: Readonly<Record<NonNullable<DefaultModelFacts['purpose']>, string>> = {
  study: 'the study is compared on it everywhere',
  ladder: 'the costs of layers show on a small model',
  tuned: 'settings are tuned on it where no model is named',
};

/** Why not the twin; null where nothing speaks against it. */
function objection(facts: DefaultModelFacts): string | null {
  const { purpose, engines, prompts, memory, diskFreeBytes } = facts;
  if (purpose !== null) return PURPOSES[purpose];
  if (engines.some(({ model }) => model === 'own')) return 'a running server has a model of its own';
  if (prompts.some(({ tokenCount }) => tokenCount === null)) return 'a text needs the tokenizer of a real model';
  const free = memory.availableBytes ?? memory.totalBytes * MEMORY_FREE_GUESS;
  if (free * MEMORY_SHARE_MAX < MEMORY_BYTES_NEEDED)
    return `a 1B model needs ${gigabytes(MEMORY_BYTES_NEEDED / MEMORY_SHARE_MAX)} of free memory and there are ${gigabytes(free)}`;
  const copies = engines.some(({ model }) => model === 'copy') ? 2 : 1;
  const diskNeeded = copies * TWIN_1B.fileBytes + DISK_BYTES_SPARE;
  if (diskFreeBytes !== null && diskFreeBytes < diskNeeded)
    return `a 1B model needs ${gigabytes(diskNeeded)} of free disk and there are ${gigabytes(diskFreeBytes)}`;
  const { fits, estimateMs, allowedMs } = predict(facts);
  if (fits) return null;
  return `${blocksWanted(facts)} blocks of a 1B model with their checks are predicted to take ${minutes(estimateMs)} here, and ${minutes(allowedMs)} of ${minutes(facts.budgetMs)} are left for them`;
}

interface Prediction {
  /** The whole plan with its checks, unreduced. */
  readonly estimateMs: number;
  /** What is left for it beside a reference backend, with the planner's reserve taken off. */
  readonly allowedMs: number;
  readonly fits: boolean;
}

function predict(facts: DefaultModelFacts): Prediction {
  const { prompts, generateTokens, iterations, budgetMs } = facts;
  const engines = facts.engines.map(({ id, device, referenceBackend }): PlannedEngine => ({
    id,
    referenceBackend,
    pilot: costs(device, facts),
  }));
  const ranked = engines.filter(({ referenceBackend }) => referenceBackend === null);
  const checkMs = ranked.reduce((sum, { pilot }) => sum + checkCost(pilot), 0);
  const share = ranked.length < engines.length ? 1 - REFERENCE_CHECK_SHARE : 1;
  const input = {
    // Reference backends get what is left: that they are cut short is nothing against the model.
    engines: ranked,
    prompts: prompts.map(({ name, tokenCount }) => ({ name, tokenCount: tokenCount ?? 0 })),
    generateTokens,
    iterations,
    maxBlocks: blocksWanted(facts),
    remainingMs: (budgetMs - checkMs) * share,
    earlyLook: true,
  };
  const whole = planRun({ ...input, remainingMs: Number.MAX_SAFE_INTEGER });
  const estimateMs = whole.estimateMsTotal + checkMs;
  const allowedMs = Math.min(budgetMs, checkMs) + capacityMs(input);
  return { estimateMs, allowedMs, fits: ranked.length > 0 && estimateMs <= allowedMs };
}

function blocksWanted({ blocks }: DefaultModelFacts): number {
  return Math.min(blocks, BLOCKS_WANTED);
}

function checkCost({ startMs, prefillMsPerToken, decodeMsPerToken }: PilotCosts): number {
  return startMs + CHECK_TOKENS.prompt * prefillMsPerToken + CHECK_TOKENS.generate * decodeMsPerToken;
}

function costs(device: Device, facts: DefaultModelFacts): PilotCosts {
  const gpu = gpuBandwidth(device, facts);
  const kind = gpu === null ? 'cpu' : 'gpu';
  const readRate = gpu === null ? cpuReadRate(facts) : gpu * GPU_READ_SHARE;
  const flopRate = gpu === null ? facts.threads * CORE_FLOPS_PER_S : gpu * GPU_FLOPS_PER_BYTE;
  return {
    startMs: START_MS[kind],
    prefillMsPerToken: (1_000 * 2 * TWIN_1B.promptParameters) / flopRate,
    decodeMsPerToken: TOKEN_MS[kind] + (1_000 * TWIN_1B.fileBytes) / readRate,
  };
}

function cpuReadRate({ readBytesPerS, threads }: DefaultModelFacts): number {
  const guess = Math.min(threads * CORE_READ_BYTES_PER_S, CPU_READ_BYTES_PER_S_MAX);
  return (readBytesPerS ?? guess) * CPU_READ_SHARE;
}

/** Null: it computes on the processor, or it is not known to do otherwise. */
function gpuBandwidth(device: Device, { cpu, cards }: DefaultModelFacts): number | null {
  // A program of the user's own does not tell, but on these machines every build of llama.cpp uses Metal.
  if (device === 'metal' || device === 'unknown') return APPLE_BANDWIDTHS.find(([name]) => name.test(cpu))?.[1] ?? null;
  if (device === 'cpu' || (device !== 'cuda' && cards.length === 0)) return null;
  // Which of several cards an engine takes is its own choice: the slowest counts.
  const rates = cards.map((card) => CARD_BANDWIDTHS.find(([name]) => name.test(card))?.[1] ?? CARD_BANDWIDTH_MIN);
  return rates.length === 0 ? CARD_BANDWIDTH_MIN : Math.min(...rates);
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

/** `6 minutes`, `3.5 minutes`. */
function minutes(ms: number): string {
  const value = Math.max(0, ms) / 60_000;
  const text = value >= 10 ? value.toFixed(0) : value.toFixed(1).replace(/\.0$/, '');
  return `${text} minute${text === '1' ? '' : 's'}`;
}
