/**
 * Faults put into a real engine, between its adapter and its worker: everything on both sides runs as in any other run.
 */
import type { Engine, EngineProcess, WorkerRequest } from '../../core/engine.ts';
import type { Cheat } from '../../core/selftest/selftest.ts';

/** What reaches the worker, and what comes back from it. */
interface Tampering {
  request(message: WorkerRequest): WorkerRequest;
  reply(answer: unknown): unknown;
}

const HONEST: Tampering = { request: (message) => message, reply: (answer) => answer };

/** The same engine under another id: an arm of the comparison of its own. */
export function copyOf(engine: Engine, id: string): Engine {
  return { ...engine, id, title: `${engine.title}, the same again` };
}

/** The engine with a worker that burns `share` of the time of every token on top. */
export function slowerBy(engine: Engine, share: number, id: string): Engine {
  const slow = tampered(engine, () => ({
    ...HONEST,
    request: (message) =>
      message.method === 'load' ? { ...message, params: { ...message.params, burnShare: share } } : message,
  }));
  return { ...slow, id, title: `${engine.title}, slower by ${Math.round(100 * share)}%` };
}

/** The engine with a worker that does less than it says. */
export function cheating(engine: Engine, cheat: Cheat): Engine {
  return tampered(engine, TAMPERINGS[cheat]);
}

const TAMPERINGS: Readonly<Record<Cheat, () => Tampering>> = {
  /** Only the second half of each prompt is computed; the answer claims all of it. */
  truncation: () => shortening((prompt) => prompt.slice(Math.ceil(prompt.length / 2))),
  /** A prompt that was the last one, too, costs one token, as with a kept KV cache; the answer claims no cache. */
  cache: () => {
    let last = '';
    return shortening((prompt) => {
      const key = prompt.join(',');
      const isKept = key === last;
      last = key;
      return isKept ? prompt.slice(-1) : prompt;
    });
  },
  /** Half of the tokens. */
  'early-stop': () => ({
    ...HONEST,
    request: (message) => {
      const { generateTokens } = message.params;
      if (message.method !== 'generate' || typeof generateTokens !== 'number') return message;
      return { ...message, params: { ...message.params, generateTokens: Math.ceil(generateTokens / 2) } };
    },
  }),
};

/** The worker gets a shorter prompt; its answer counts the whole one. One request at a time, as the protocol says. */
function shortening(shorten: (prompt: readonly number[]) => readonly number[]): Tampering {
  let askedCount: number | null = null;
  return {
    request(message) {
      askedCount = null;
      const { promptTokens } = message.params;
      if (message.method !== 'generate' || !isTokens(promptTokens)) return message;
      askedCount = promptTokens.length;
      return { ...message, params: { ...message.params, promptTokens: shorten(promptTokens) } };
    },
    reply: (answer) =>
      askedCount === null || typeof answer !== 'object' || answer === null
        ? answer
        : { ...answer, promptTokenCount: askedCount },
  };
}

function isTokens(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((token) => typeof token === 'number');
}

function tampered(engine: Engine, make: () => Tampering): Engine {
  return {
    ...engine,
    connect: (process, request, timeoutMs) => engine.connect(through(process, make()), request, timeoutMs),
  };
}

function through(process: EngineProcess, tampering: Tampering): EngineProcess {
  return {
    pid: process.pid,
    exited: process.exited,
    stderrTail: () => process.stderrTail(),
    request: async (message, timeoutMs) =>
      tampering.reply(await process.request(tampering.request(message), timeoutMs)),
  };
}
