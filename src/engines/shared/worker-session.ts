import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import type { EngineProcess, Generation, GenerateRequest } from '../../core/engine.ts';

/** No request of ours generates more; a longer list is nonsense from the worker. */
const TOKENS_MAX = 1_000_000;
const tokenList = z.array(z.int().nonnegative()).max(TOKENS_MAX);

const generateReply = z.object({
  tokens: tokenList,
  eventMs: z.array(z.number().nonnegative()).max(TOKENS_MAX),
  promptTokenCount: z.int().nonnegative(),
  cachedTokenCount: z.int().nonnegative().nullable(),
  firstTokenLogprobs: z.array(z.object({ token: z.int().nonnegative(), logprob: z.number() })).max(1_000),
});

/** One request to a worker of ours: it stamps every token on its own monotonic clock and sends one batch. */
export async function generateInWorker(process: EngineProcess, ask: GenerateRequest): Promise<Generation> {
  const { promptTokens, generateTokens, bannedTokens, topLogprobs, timeoutMs } = ask;
  const answer = await process.request(
    { method: 'generate', params: { promptTokens, generateTokens, bannedTokens, topLogprobs } },
    timeoutMs,
  );
  const reply = parseWorkerReply(generateReply, answer, 'generate');
  if (reply.tokens.length !== reply.eventMs.length) {
    throw new AppError(
      'engine-protocol',
      `the worker sent ${reply.tokens.length} tokens with ${reply.eventMs.length} times`,
    );
  }
  if (reply.eventMs.some((ms, index) => ms < (reply.eventMs[index - 1] ?? 0)))
    throw new AppError('engine-protocol', 'the worker sent times of tokens that go backwards');
  return { ...reply, eventTokenCounts: reply.tokens.map(() => 1), truncated: null, engineTimings: null };
}

/** Reads a worker's answer by its schema. @throws AppError `engine-protocol` naming the field. */
export function parseWorkerReply<T>(schema: z.ZodType<T>, answer: unknown, method: string): T {
  const parsed = schema.safeParse(answer);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new AppError(
    'engine-protocol',
    `the worker's answer to ${method} is not readable: ${issue?.path.join('.')}: ${issue?.message}`,
    {
      hint: 'The managed environment may be damaged: runoff cache clean removes it, the next run installs it again.',
    },
  );
}
