/** Facts of a machine with nothing wrong, to be changed in one place by each test. */
import type {
  DoctorFacts,
  EngineLook,
  HostFacts,
  LlamafileHost,
  ReadableModel,
} from '../../../src/core/doctor/facts.ts';
import type { ModelShape } from '../../../src/core/doctor/memory-need.ts';

/** Llama 3.1 8B as Q4_K_M: 32 layers, 8 key-value heads of 128 values, 128 KiB of f16 cache for each token. */
export const SHAPE: ModelShape = {
  architecture: 'llama',
  weightBytes: 4_920_000_000,
  layers: 32,
  embedding: 4_096,
  feedForward: 14_336,
  vocabulary: 128_256,
  kvHeads: Array.from({ length: 32 }, () => 8),
  keyLength: 128,
  valueLength: 128,
  kvIsUpperBound: false,
};

export const MODEL: ReadableModel = {
  state: 'readable',
  path: '/models/llama.gguf',
  fileBytes: 4_930_000_000,
  hazards: null,
  quantisation: 'Q4_K',
  contextTokens: 131_072,
  shape: SHAPE,
  tokenizer: { kind: 'gpt2', preTokenizer: 'llama-bpe', isKnownHere: true },
  fileSystem: 'ext4',
  isOnHub: false,
};

export const ENGINE: EngineLook = {
  id: 'llama-server',
  state: 'available',
  version: 'llama-server 6384 (fb15d64)',
  reason: null,
  nextStep: null,
  downloadBytes: 0,
  device: 'cpu',
  llamaBuild: 6_384,
  isLlama: true,
  convertsModel: false,
  needsPython: false,
  ownProgram: '/opt/llama/llama-server',
};

export const HOST: HostFacts = {
  platform: 'linux',
  arch: 'x64',
  nativeArch: null,
  nodeVersion: 'v24.21.0',
  musl: false,
  wsl: false,
  cores: 8,
  threads: 4,
  cpuQuotaCores: null,
  memory: { totalBytes: 64e9, availableBytes: 48e9, limitedByGroup: false, swapUsedBytes: 0 },
  power: 'ac',
  powerMode: { name: 'governor performance', saves: false },
  thermal: { throttled: false, detail: '0 of cores and 0 of packages since the start of the machine' },
  python: '3.13.1',
};

export const HEALTHY: DoctorFacts = {
  host: HOST,
  gpus: [],
  places: [
    { use: 'cache', path: '/home/ada/.cache/runoff', mountPath: '/', freeBytes: 100e9, noExec: false },
    { use: 'runs', path: '/home/ada/runs', mountPath: '/', freeBytes: 100e9, noExec: false },
    { use: 'loader', path: '/home/ada', mountPath: '/', freeBytes: 100e9, noExec: false },
  ],
  activity: {
    interference: { foreignCpuShare: 0.01, stealShare: 0, ownCpuShare: 0.01 },
    loadAverage: 0.2,
    swapInPages: 0,
    busiest: [],
  },
  engines: [ENGINE],
  model: MODEL,
  plan: { contextTokens: 768, requestTokens: 576, generateTokens: 64, studyTokens: 4_221 },
  llamafile: null,
  quarantine: null,
};

export const LLAMAFILE_HOST: LlamafileHost = { binfmt: [], commandLineTools: true };

export const withHost = (host: Partial<HostFacts>): Partial<DoctorFacts> => ({ host: { ...HOST, ...host } });
export const withModel = (model: Partial<ReadableModel>): Partial<DoctorFacts> => ({ model: { ...MODEL, ...model } });
export const withEngine = (engine: Partial<EngineLook>): Partial<DoctorFacts> => ({
  engines: [{ ...ENGINE, ...engine }],
});
