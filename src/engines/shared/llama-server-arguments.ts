import type { LaunchRequest } from '../../core/engine.ts';

/**
 * What llama.cpp's server is told whoever starts it: nothing is left to a default, one slot has the whole context, and
 * nothing is kept from an earlier request.
 */
export function llamaServerArguments(
  modelPath: string,
  { settings, port, runId }: Pick<LaunchRequest, 'settings' | 'port' | 'runId'>,
): string[] {
  const threads = String(settings.threads);
  return [
    '--model',
    modelPath,
    '--alias',
    runId,
    '--host',
    '127.0.0.1',
    '--port',
    String(port),
    '--parallel',
    '1',
    '--ctx-size',
    String(settings.contextTokens),
    '--threads',
    threads,
    '--threads-batch',
    threads,
    '--batch-size',
    String(settings.batchTokens),
    '--ubatch-size',
    String(settings.microBatchTokens),
    '--flash-attn',
    settings.flashAttention ? 'on' : 'off',
    '--cache-type-k',
    settings.kvType,
    '--cache-type-v',
    settings.kvType,
    '--cache-ram',
    '0',
    '--no-context-shift',
  ];
}
