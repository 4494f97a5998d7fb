/** Which model is measured where nobody names one, on recorded machines. */
import { expect, test } from 'vitest';
import { chooseDefaultModel, type DefaultModelFacts } from '../../../src/core/protocol/default-model.ts';

const PLAN = {
  prompts: [
    { name: 'short', tokenCount: 5 },
    { name: 'standard', tokenCount: 512 },
  ],
  generateTokens: 64,
  iterations: 3,
  blocks: 12,
  budgetMs: 360_000,
  purpose: null,
} as const;

const onCpu = (id: string): DefaultModelFacts['engines'][number] => ({
  id,
  device: 'cpu',
  referenceBackend: null,
  model: 'file',
});
const on = (device: 'metal' | 'cuda' | 'unknown', id: string): DefaultModelFacts['engines'][number] => ({
  ...onCpu(id),
  device,
});
const MLX_CPU = { ...onCpu('mlx-lm'), referenceBackend: "MLX's CPU backend", model: 'copy' } as const;

/** AMD EPYC, two cores of a server: facts of the machine that the README's run is from. */
const SMALL_VM: DefaultModelFacts = {
  ...PLAN,
  engines: [onCpu('llama-cpp'), onCpu('llama-server'), MLX_CPU],
  threads: 2,
  memory: { totalBytes: 25.2e9, availableBytes: 23.7e9 },
  diskFreeBytes: 40e9,
  readBytesPerS: 21.4e9,
  cpu: 'AMD EPYC',
  cards: [],
};
/** sysctl and vm_stat of a MacBook Pro; llama-server is from Homebrew, which does not tell its device. */
const MAC: DefaultModelFacts = {
  ...PLAN,
  engines: [on('metal', 'llama-cpp'), on('unknown', 'llama-server'), { ...on('metal', 'mlx-lm'), model: 'copy' }],
  threads: 12,
  memory: { totalBytes: 34.4e9, availableBytes: 19.8e9 },
  diskFreeBytes: 310e9,
  readBytesPerS: null,
  cpu: 'Apple M2 Max',
  cards: [],
};
/** `nvidia-smi -L` of a desktop; both engines are builds with CUDA. */
const GPU_MACHINE: DefaultModelFacts = {
  ...PLAN,
  engines: [on('cuda', 'llama-cpp'), on('cuda', 'llama-server')],
  threads: 8,
  memory: { totalBytes: 67.3e9, availableBytes: 58.1e9 },
  diskFreeBytes: 800e9,
  readBytesPerS: 43.7e9,
  cpu: 'AMD Ryzen 7 7800X3D 8-Core Processor',
  cards: ['NVIDIA GeForce RTX 4090'],
};

const choose = (facts: DefaultModelFacts, changes: Partial<DefaultModelFacts> = {}): string => {
  const { model, reason } = chooseDefaultModel({ ...facts, ...changes });
  return `${model}: ${reason}`;
};

test('a small virtual machine keeps the demonstration model', () => {
  expect(choose(SMALL_VM)).toMatchInlineSnapshot(
    `"demonstration: SmolLM2 135M, because 12 blocks of a 1B model with their checks are predicted to take 38 minutes here, and 4.7 minutes of 6 minutes are left for them; a demonstration model, which predicts nothing for larger ones."`,
  );
});

test('two cores keep it also before the canary has ever run, and with the two llama.cpp engines alone', () => {
  expect(choose(SMALL_VM, { readBytesPerS: null })).toMatch(/^demonstration: /);
  expect(choose(SMALL_VM, { engines: SMALL_VM.engines.slice(0, 2) })).toMatch(/^demonstration: /);
});

test('a Mac with a fast chip measures the twin, one with a slow chip does not', () => {
  expect(choose(MAC)).toMatchInlineSnapshot(
    `"twin: a twin of Llama 3.2 1B (random weights, speed only), because 12 blocks of it with their checks are predicted to take 4.2 minutes of the 6 minutes that are allowed, and memory and disk have room for it."`,
  );
  expect(choose(MAC, { cpu: 'Apple M1' })).toMatchInlineSnapshot(
    `"demonstration: SmolLM2 135M, because 12 blocks of a 1B model with their checks are predicted to take 14 minutes here, and 5.5 minutes of 6 minutes are left for them; a demonstration model, which predicts nothing for larger ones."`,
  );
  for (const cpu of ['Apple M4 Pro', 'Apple M3 Max', 'Apple M4 Max', 'Apple M1 Ultra'])
    expect(choose(MAC, { cpu })).toMatch(/^twin: /);
  expect(choose(MAC, { cpu: 'Apple M2 Pro' })).toMatch(/^demonstration: /);
  expect(choose(MAC, { cpu: 'Apple M3' })).toMatch(/^demonstration: /);
});

test('a machine with a fast graphics card measures the twin; one whose engines stay on the processor does not', () => {
  expect(choose(GPU_MACHINE)).toMatchInlineSnapshot(
    `"twin: a twin of Llama 3.2 1B (random weights, speed only), because 12 blocks of it with their checks are predicted to take 2.6 minutes of the 6 minutes that are allowed, and memory and disk have room for it."`,
  );
  expect(choose(GPU_MACHINE, { engines: [on('cuda', 'llama-cpp'), onCpu('llama-server')] })).toMatch(
    /^demonstration: /,
  );
  expect(choose(GPU_MACHINE, { cards: ['NVIDIA H100 80GB HBM3', 'NVIDIA GeForce GTX 1650'] })).toMatch(
    /^demonstration: /,
  );
});

test('more time, or a measured bandwidth of a server, is enough for the twin', () => {
  const engines = SMALL_VM.engines.slice(0, 2);
  expect(choose(SMALL_VM, { engines, budgetMs: 3_600_000 })).toMatch(/^twin: /);
  expect(choose(SMALL_VM, { engines, threads: 64, readBytesPerS: 300e9 })).toMatch(/^twin: /);
});

test('memory and disk must have room', () => {
  expect(choose(MAC, { memory: { totalBytes: 8.6e9, availableBytes: 2.1e9 } })).toMatchInlineSnapshot(
    `"demonstration: SmolLM2 135M, because a 1B model needs 3.0 GB of free memory and there are 2.1 GB; a demonstration model, which predicts nothing for larger ones."`,
  );
  expect(choose(MAC, { memory: { totalBytes: 5e9, availableBytes: null } })).toMatch(/^demonstration: /);
  expect(choose(MAC, { memory: { totalBytes: 8.6e9, availableBytes: null } })).toMatch(/^twin: /);
  expect(choose(MAC, { diskFreeBytes: 3e9 })).toMatchInlineSnapshot(
    `"demonstration: SmolLM2 135M, because a 1B model needs 3.7 GB of free disk and there are 3.0 GB; a demonstration model, which predicts nothing for larger ones."`,
  );
  expect(choose(GPU_MACHINE, { diskFreeBytes: 3e9 })).toMatch(/^twin: /);
});

test('what the twin is not for', () => {
  for (const purpose of ['study', 'ladder', 'tuned'] as const)
    expect(choose(MAC, { purpose })).toMatch(/^demonstration: /);
  expect(choose(MAC, { prompts: [{ name: 'contract.txt', tokenCount: null }] })).toContain(
    'a text needs the tokenizer',
  );
  const server = { ...on('unknown', 'openai'), model: 'own' } as const;
  expect(choose(MAC, { engines: [...MAC.engines, server] })).toContain('a running server has a model of its own');
});

test('longer prompts cost more: the same Mac, ten times the tokens', () => {
  expect(choose(MAC, { prompts: [{ name: 'long', tokenCount: 40_000 }] })).toMatch(/^demonstration: /);
});
