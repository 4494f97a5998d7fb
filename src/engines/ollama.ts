import { hostname, networkInterfaces } from 'node:os';
import { basename } from 'node:path';
import { messageOf } from '../core/errors.ts';
import type { AvailableEngine, Detection, Engine, LaunchPlan, LaunchRequest } from '../core/engine.ts';
import { runCommand } from '../platform/process/run-command.ts';
import { shipping } from './facts/ollama.ts';
import { readVersion } from './shared/ollama-api.ts';
import { connectOllama, RUNNING, storeOf } from './shared/ollama-session.ts';
import { isTooOld, NEEDED_VERSION, parseVersion } from './shared/ollama-version.ts';

/** A binary that does not print its version in this time is not one that we want to measure. */
const VERSION_TIMEOUT_MS = 20_000;
/** A local server answers in milliseconds. */
const ANSWER_TIMEOUT_MS = 3_000;
/** Where Ollama listens when nobody says otherwise. */
const DEFAULT_BASE = 'http://127.0.0.1:11434';
/** Nobody listens on port 1: `ollama --version` must not ask a server that runs, it would name that one's version. */
const NO_SERVER = '127.0.0.1:1';
const INSTALL = 'Install it from https://ollama.com/download, or name a binary with --engine-path ollama=PATH.';

/** Ollama: a binary that we start with a models folder of its own, or a server that runs, by its address. */
export const engine: Engine = {
  id: 'ollama',
  title: 'Ollama (HTTP server)',
  modelFormat: 'gguf',
  environment: null,
  capabilities: {
    tokenIds: false,
    engineTimings: true,
    cachedTokenCount: true,
    logprobs: true,
    // num_batch sets the logical and the physical batch at once.
    settings: ['threads', 'contextTokens', 'batchTokens', 'kvType', 'flashAttention', 'mmap', 'gpu'],
  },
  shipping,

  async detect(host): Promise<Detection> {
    if (host.enginePath !== null && /^https?:\/\//i.test(host.enginePath)) return detectRunning(host.enginePath);
    const binary = host.enginePath ?? host.findOnPath('ollama');
    return binary === null ? describeMissing(await versionAt(DEFAULT_BASE)) : detectBinary(binary);
  },

  launchPlan(request) {
    return request.engine.variant === RUNNING ? null : servePlan(request);
  },

  connect: connectOllama,
};

async function detectRunning(address: string): Promise<Detection> {
  const base = baseOf(address);
  if (base === null) {
    return {
      state: 'unavailable',
      reason: `${address} is no address of a server that speaks plain HTTP`,
      nextStep: `Give it as ollama=http://HOST:PORT, for instance ollama=${DEFAULT_BASE}.`,
    };
  }
  if (!isThisMachine(new URL(base).hostname, localNames())) {
    return {
      state: 'unavailable',
      reason: `${base} is not this machine`,
      nextStep: 'Run runoff on the machine that serves: speed, memory and load are read there.',
    };
  }
  try {
    return describeVersion(base, await readVersion({ base, timeoutMs: ANSWER_TIMEOUT_MS }), RUNNING);
  } catch (error) {
    return {
      state: 'unavailable',
      reason: `no Ollama answers there: ${messageOf(error)}`,
      nextStep: 'Start it with ollama serve, or leave the address out: runoff then starts one of its own.',
    };
  }
}

/** The part of an address that requests are added to; null for what is no HTTP address. */
function baseOf(address: string): string | null {
  const url = URL.canParse(address) ? new URL(address) : null;
  if (url === null || url.protocol !== 'http:' || url.username !== '' || url.search !== '') return null;
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '');
}

/** Pure: a server elsewhere would be measured with this machine's facts beside it. */
export function isThisMachine(host: string, local: readonly string[]): boolean {
  const name = host.replace(/^\[|\]$/g, '').toLowerCase();
  return name === 'localhost' || name === '::1' || /^127(\.\d{1,3}){3}$/.test(name) || local.includes(name);
}

function localNames(): string[] {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return [hostname(), ...addresses.map(({ address }) => address)].map((name) => name.toLowerCase());
}

async function detectBinary(path: string): Promise<Detection> {
  const nextStep = `Try ${path} --version yourself; --engine-path ollama=PATH names another one.`;
  try {
    const env = { ...process.env, OLLAMA_HOST: NO_SERVER };
    const { code, stdout, stderr } = await runCommand(path, ['--version'], { timeoutMs: VERSION_TIMEOUT_MS, env });
    const version = parseVersion(`${stdout}\n${stderr}`);
    if (version !== null) return describeVersion(path, version, 'binary');
    const reason = `${basename(path)} --version names no version (${code === null ? 'it did not end' : `exit code ${code}`})`;
    return { state: 'unavailable', reason, nextStep };
  } catch (error) {
    return { state: 'unavailable', reason: `${basename(path)} does not run: ${messageOf(error)}`, nextStep };
  }
}

/** Pure half of the detection: one that is too old is refused, the others can be measured. */
export function describeVersion(location: string, version: string, variant: 'binary' | typeof RUNNING): Detection {
  if (isTooOld(version)) {
    return {
      state: 'unavailable',
      reason: `${location} is Ollama ${version}: before ${NEEDED_VERSION} it cuts a long prompt without a word and gives no log-probabilities, so nothing shows what it read`,
      nextStep: `Use Ollama ${NEEDED_VERSION} or newer: https://ollama.com/download`,
    };
  }
  const available: AvailableEngine = {
    state: 'available',
    build: { version: `ollama ${version}`, library: null, openMp: null, instructionSets: null },
    device: 'unknown',
    location,
    variant,
    referenceBackend: null,
    ...(variant === RUNNING ? { runningInstance: true } : {}),
  };
  return available;
}

/** Pure: there is no binary. A server that runs is somebody's: it is measured when asked for, never found by itself. */
export function describeMissing(runningVersion: string | null): Detection {
  return {
    state: 'unavailable',
    reason: 'ollama is not on PATH',
    nextStep:
      runningVersion === null
        ? INSTALL
        : `Ollama ${runningVersion} answers at ${DEFAULT_BASE}: --engine ollama=${DEFAULT_BASE} measures it as it runs.`,
  };
}

async function versionAt(base: string): Promise<string | null> {
  return readVersion({ base, timeoutMs: ANSWER_TIMEOUT_MS }).catch(() => null);
}

/**
 * All settings of a server are environment variables (https://github.com/ollama/ollama/blob/main/envconfig/config.go,
 * docs/faq.mdx, docs/gpu.mdx); those of the model go into each request.
 */
function servePlan({ engine: found, workFolder, runId, settings, port }: LaunchRequest): LaunchPlan {
  return {
    command: found.location,
    args: ['serve'],
    env: {
      OLLAMA_HOST: `127.0.0.1:${port}`,
      OLLAMA_MODELS: storeOf({ workFolder, runId }),
      OLLAMA_NUM_PARALLEL: '1',
      OLLAMA_MAX_LOADED_MODELS: '1',
      OLLAMA_KEEP_ALIVE: '-1',
      OLLAMA_FLASH_ATTENTION: settings.flashAttention ? '1' : '0',
      OLLAMA_KV_CACHE_TYPE: settings.kvType,
      OLLAMA_NO_CLOUD: '1',
      OLLAMA_NOHISTORY: '1',
      OLLAMA_NOPRUNE: '1',
      // Ollama passes it on to llama.cpp's server, which otherwise keeps 8 GiB of prompts in RAM.
      LLAMA_ARG_CACHE_RAM: '0',
      ...(settings.gpu === 'off' ? { ...NO_GPU, HOME: workFolder, USERPROFILE: workFolder } : {}),
    },
    channel: 'http',
  };
}

/**
 * `num_gpu: 0` keeps layers off the GPU; large batches would still be computed there. On the CPU the home folder is the
 * working folder, too: Ollama writes a key pair there. With a GPU it is left alone, because drivers keep compiled kernels
 * there that every start would otherwise compile anew.
 */
const NO_GPU: Readonly<Record<string, string>> = {
  CUDA_VISIBLE_DEVICES: '-1',
  HIP_VISIBLE_DEVICES: '-1',
  ROCR_VISIBLE_DEVICES: '-1',
  GGML_VK_VISIBLE_DEVICES: '-1',
  LLAMA_ARG_DEVICE: 'none',
};
