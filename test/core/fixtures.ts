/** Handmade manifests, facts and events for the tests of core. */
import type { EngineFacts, Manifest, ModelFacts, RunEvent, Sample } from '../../src/core/record.ts';

export const SETTINGS = {
  threads: 2,
  contextTokens: 1_024,
  batchTokens: 512,
  microBatchTokens: 512,
  kvType: 'f16',
  flashAttention: false,
  mmap: true,
  gpu: 'off',
} as const;

export function engineFacts(id: string, changes: Partial<EngineFacts> = {}): EngineFacts {
  return {
    id,
    title: id,
    state: 'available',
    reason: null,
    nextStep: null,
    modelFormat: 'gguf',
    build: { version: '1.0.0', library: 'b6700', openMp: null, instructionSets: null },
    device: 'cpu',
    location: '/bin/x',
    referenceBackend: null,
    runningInstance: false,
    numericMode: 'int8 activations',
    settings: { ...SETTINGS },
    command: null,
    shipping: null,
    ...changes,
  };
}

export function modelFacts(changes: Partial<ModelFacts> = {}): ModelFacts {
  return {
    name: 'model.gguf',
    path: '/models/model.gguf',
    format: 'gguf',
    sha256: 'a'.repeat(64),
    fileBytes: 1_000,
    fingerprint: 'f'.repeat(64),
    bitsPerWeight: 4.5,
    quantisation: 'Q4_0',
    derivedBy: null,
    parameterCount: 135_000_000,
    architecture: 'llama',
    contextTokens: 2_048,
    addBos: false,
    ...changes,
  };
}

export function manifestOf(engines: readonly EngineFacts[], changes: Partial<Manifest> = {}): Manifest {
  return {
    schemaVersion: 1,
    runoffVersion: '0.1.0',
    runId: 'run',
    startedAt: '2026-11-25T00:00:00Z',
    plan: {
      model: 'model.gguf',
      engines: engines.map(({ id }) => id),
      prompts: [{ name: 'standard', tokenCount: 512, source: 'study text' }],
      generateTokens: 64,
      budgetMs: 360_000,
      blocks: 12,
      iterations: 3,
      threads: 2,
      seed: 1,
      gpu: 'off',
      margin: 1.05,
      ladder: false,
      tuned: false,
    },
    settings: { ...SETTINGS },
    machine: {
      os: 'linux',
      kernel: '6',
      cpu: 'cpu',
      physicalCores: 2,
      logicalCores: 2,
      memoryBytes: 8e9,
      hypervisor: null,
      governor: null,
      power: 'ac',
      node: '24',
    },
    models: [modelFacts()],
    engines: [...engines],
    ...changes,
  };
}

export const QUIET = { foreignCpuShare: 0.01, stealShare: 0, ownCpuShare: 0.9 };
export const MEMORY = { peakBytes: 200_000_000, anonymousBytes: 100_000_000, fileBackedBytes: 100_000_000 };

export function sampleOf(changes: Partial<Sample> & Pick<Sample, 'engine' | 'block'>): Sample {
  return {
    type: 'sample',
    attempt: 0,
    kind: 'measured',
    prompt: 'standard',
    iteration: 0,
    promptTokens: 512,
    generatedTokens: 64,
    ttftMs: 400,
    totalMs: 1_000,
    tpotMs: 10,
    tpotP50Ms: 10,
    tpotP90Ms: 11,
    tpotP99Ms: 12,
    enginePrefillMs: null,
    engineDecodeMs: null,
    engineDecodeIntervalCount: null,
    eventsPerToken: 1,
    cachedTokens: 0,
    firstTokens: [1, 2, 3, 4],
    ...changes,
  };
}

export interface CellSpec {
  readonly engine: string;
  /** Total request time by iteration, ms. */
  readonly totalMs: readonly number[];
  readonly state?: 'complete' | 'failed';
  readonly sample?: Partial<Sample>;
}

/** All events of one block. */
export function blockEvents(
  block: number,
  cells: readonly CellSpec[],
  options: { attempt?: number; reject?: string } = {},
): RunEvent[] {
  const attempt = options.attempt ?? 0;
  const events = cells.flatMap((cell, index): RunEvent[] => {
    const where = { engine: cell.engine, block, attempt };
    const state = cell.state ?? 'complete';
    return [
      { type: 'cell-start', ...where, elapsedMs: 1_000 * (10 * block + index) },
      { type: 'load', ...where, loadMs: 500, engineLoadMs: null },
      ...cell.totalMs.map((totalMs, iteration) => sampleOf({ ...where, iteration, totalMs, ...cell.sample })),
      {
        type: 'cell-end',
        ...where,
        elapsedMs: 1_000 * (10 * block + index) + 900,
        state,
        error: state === 'failed' ? 'died' : null,
        memory: MEMORY,
        interference: QUIET,
      },
    ];
  });
  const reasons = options.reject === undefined ? [] : [options.reject];
  return [
    ...events,
    { type: 'block-end', block, attempt, state: options.reject === undefined ? 'accepted' : 'rejected', reasons },
  ];
}

export function gatesPassed(engine: string): RunEvent[] {
  return [
    { type: 'gate', engine, gate: 'token-count', outcome: 'passed', detail: '512 sent, 512 reported', remedy: null },
  ];
}
