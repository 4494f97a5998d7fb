import { messageOf } from '../core/errors.ts';
import type { Detection, Engine, EngineProcess, EngineSession, LaunchRequest } from '../core/engine.ts';
import { shipping } from './facts/llamafile.ts';
import { connectLlamaServer } from './shared/llama-server-api.ts';
import { serverArguments } from './shared/llamafile-arguments.ts';
import { describeProgram, NOT_FOUND, parseVariant, versionOf } from './shared/llamafile-program.ts';
import { connectV1, cpuKernels } from './shared/llamafile-v1.ts';
import { connectV2 } from './shared/llamafile-v2.ts';

/** Files that start with MZ are for a shell: the kernel may hand them to WINE, or not know them (ENOEXEC). */
const SHELL = '/bin/sh';

/** llamafile 0.6 to 0.10: the program with a GGUF, or a .llamafile with the model inside. */
export const engine: Engine = {
  id: 'llamafile',
  title: 'llamafile (HTTP server)',
  modelFormat: 'gguf',
  environment: null,
  capabilities: {
    tokenIds: true,
    engineTimings: true,
    cachedTokenCount: true,
    logprobs: true,
    // The physical batch is fixed in the server up to 0.9.3.
    settings: ['threads', 'contextTokens', 'batchTokens', 'kvType', 'flashAttention', 'mmap', 'gpu'],
  },
  shipping,

  async detect(host): Promise<Detection> {
    const path = host.enginePath ?? host.findOnPath('llamafile');
    if (path === null) return NOT_FOUND;
    try {
      const { platform, arch } = process;
      return describeProgram(path, await host.inspectProgram(path), { platform, arch });
    } catch (error) {
      return {
        state: 'unavailable',
        reason: messageOf(error).replace(/\.$/, ''),
        nextStep: 'Name the program itself, not a script that starts it: --engine-path llamafile=PATH.',
      };
    }
  },

  launchPlan(request) {
    const { location } = request.engine;
    const { api, isNative } = parseVariant(request.engine.variant);
    const args = serverArguments({ api, version: versionOf(request.engine), request });
    const isDirect = isNative || process.platform === 'win32';
    return {
      command: isDirect ? location : SHELL,
      args: isDirect ? args : [location, ...args],
      // TMPDIR, HOME and PATH, which its loader needs, belong to the platform's minimum.
      env: {},
      channel: 'http',
    };
  },

  async connect(process, request, timeoutMs): Promise<EngineSession> {
    const { api } = parseVariant(request.engine.variant);
    if (api === 'v1') return connectV1(process, request, timeoutMs);
    return api === 'v2' ? connectV2(process, request, timeoutMs) : connectNewest(process, request, timeoutMs);
  },
};

/** 0.10 is llama.cpp's server of its time, with llamafile's kernels below it. */
async function connectNewest(
  process: EngineProcess,
  request: LaunchRequest,
  timeoutMs: number,
): Promise<EngineSession> {
  const session = await connectLlamaServer(process, request, timeoutMs, 'llamafile');
  const { device, numericMode, modelName } = session.info;
  const isInside = modelName === `/zip/${request.engine.carries?.name}`;
  return {
    ...session,
    info: {
      ...session.info,
      numericMode: device === 'cpu' ? `${cpuKernels(request.engine)}, ${numericMode}` : numericMode,
      modelName: isInside ? request.modelPath : modelName,
    },
  };
}
