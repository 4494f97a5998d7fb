/**
 * What a started Ollama tells on stderr about the settings that it really used. From 0.30 on it starts llama.cpp's
 * server and logs the command (`msg="starting llama-server" cmd="…"`, llm/llama_server.go); older ones do not, and then
 * nothing is reported rather than what was asked.
 */
import type { Device, EngineSettings } from '../../core/engine.ts';

const KV_TYPES: Readonly<Record<string, EngineSettings['kvType']>> = { f16: 'f16', f32: 'f32', q8_0: 'q8_0' };
const DEVICES: Readonly<Record<string, Device>> = { metal: 'metal', cuda: 'cuda', vulkan: 'vulkan', rocm: 'rocm' };

/** Pure: settings of the last start in the log; those that are not on the command line are left out. */
export function settingsFromLog(log: string): Partial<EngineSettings> {
  const command = [...log.matchAll(/msg="starting llama-server" cmd="?([^\n]*)/g)].at(-1)?.[1];
  if (command === undefined) return {};
  const valueOf = (name: string): string | undefined =>
    new RegExp(`\\s${name}\\s+(\\S+?)"?(?=\\s|$)`).exec(command)?.[1];
  const numberOf = (name: string): number | null => {
    const value = Number(valueOf(name));
    return Number.isInteger(value) && value > 0 ? value : null;
  };
  const [threads, batchTokens, microBatchTokens] = [numberOf('-t'), numberOf('-b'), numberOf('-ub')];
  const kvType = KV_TYPES[valueOf('--cache-type-k') ?? ''];
  const attention = valueOf('--flash-attn');
  const loadMode = valueOf('--load-mode');
  return {
    ...(threads === null ? {} : { threads }),
    ...(batchTokens === null ? {} : { batchTokens }),
    ...(microBatchTokens === null ? {} : { microBatchTokens }),
    ...(kvType === undefined ? {} : { kvType }),
    ...(attention === 'on' || attention === 'off' ? { flashAttention: attention === 'on' } : {}),
    mmap: loadMode === undefined || loadMode.includes('mmap'),
  };
}

/** Pure: the kind of GPU that Ollama found (`msg="inference compute" … library=CUDA`); unknown when it names none. */
export function deviceFromLog(log: string): Device {
  for (const [, library = ''] of log.matchAll(/msg="inference compute"[^\n]*\blibrary="?(\w+)/g)) {
    const device = DEVICES[library.toLowerCase()];
    if (device !== undefined) return device;
  }
  return 'unknown';
}
