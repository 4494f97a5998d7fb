/** Prompts of an exact number of tokens, the same for every engine, never the same twice. */
import { assert } from '../assert.ts';
import { AppError } from '../errors.ts';
import { createRandom, shuffle } from '../random.ts';
import { WARMUP_PROMPT, WARMUP_PROMPT_TOKENS } from '../protocol/requests.ts';
import type { Prompt } from '../record.ts';

/** A prompt shorter than this gets one nonce token: four would be most of its text. */
const SHORT_PROMPT_TOKENS = 64;
const NONCE_TOKENS = 4;
/** As in the plan's schema. */
const BLOCKS_MAX = 100;
/** Room in the counter for warm-ups and measured requests of one prompt in one process (K is at most 9, gates send more). */
const WARMUPS_MAX = 2;
const MEASURED_MAX = 16;

export interface WorkloadInput {
  /** Text to token ids; a BOS that it adds is taken off. */
  readonly tokenizerEncode: (text: string) => readonly number[];
  readonly bodyText: string;
  /** Bodies by prompt name, where they differ from `bodyText` (a file of the user's). */
  readonly bodyTexts?: Readonly<Record<string, string>>;
  readonly prompts: readonly Pick<Prompt, 'name' | 'tokenCount'>[];
  readonly seed: number;
  readonly vocabularySize: number;
  /** Never in a prompt: end-of-generation and other special tokens. */
  readonly bannedTokens: readonly number[];
  /** Ordinary word-like ids that nonces are drawn from. */
  readonly nonceTokens: readonly number[];
  readonly addBos: boolean;
  readonly bosToken: number | null;
  /** Set when an engine of the run takes text only: every prompt is then the tokenizer's own encoding of its text. */
  readonly tokenizerDecode?: (tokens: readonly number[]) => string;
}

export interface PromptKey {
  readonly block: number;
  /** 0 for the first try of a block. */
  readonly attempt?: number;
  /** Name of a prompt, or WARMUP_PROMPT. */
  readonly prompt: string;
  readonly iteration: number;
  readonly kind: 'warmup' | 'measured';
}

export interface Workload {
  /** Token ids of one request: [BOS] nonce body. The same for every engine, and for every run with this seed. */
  promptTokens(key: PromptKey): number[];
  /** The nearest prompt of the same length that is the tokenizer's own encoding of its text; itself where no engine takes text. */
  canonical(tokens: readonly number[]): number[];
  /**
   * Text of a canonical prompt, without its BOS.
   * @param added tokens that a server puts to the text (below 0: leaves out): the text has that many less, so that the
   * prompt has its length there, too
   */
  promptText(tokens: readonly number[], added?: number): string;
}

/**
 * A fresh nonce at the START of every request, warm-ups included (at the end it would still hit prefix caches: 79 ms
 * against 2192 ms). The first nonce token comes from a seeded permutation indexed by a counter over (attempt, block,
 * kind, iteration, prompt), so it repeats only after as many requests as there are nonce tokens; with four tokens the
 * next ones count the rounds. BOS counts in the asked length.
 * @throws AppError `plan-invalid` when a prompt has no room for its nonce, or there is no text to send.
 */
export function buildPrompts(input: WorkloadInput): Workload {
  const banned = new Set([...input.bannedTokens, ...(input.bosToken === null ? [] : [input.bosToken])]);
  const usable = (token: number): boolean => token >= 0 && token < input.vocabularySize && !banned.has(token);
  const nonces = shuffle([...new Set(input.nonceTokens)].filter(usable), createRandom('nonce', input.seed));
  const prompts = [...input.prompts, { name: WARMUP_PROMPT, tokenCount: WARMUP_PROMPT_TOKENS }];
  const bodies = new Map(prompts.map(({ name }) => [name, encodeBody(input, name, usable)]));
  const bos = input.addBos && input.bosToken !== null ? [input.bosToken] : [];
  if (nonces.length < 2)
    throw new AppError(
      'plan-invalid',
      `the tokenizer offers ${nonces.length} tokens for nonces, at least 2 are needed`,
    );
  for (const prompt of prompts) checkRoom(prompt, bos.length);
  const texts = textForms(input, bos, usable);
  return {
    ...texts,
    promptTokens: (key) => {
      const prompt = prompts.find(({ name }) => name === key.prompt);
      assert(prompt !== undefined, `"${key.prompt}" is one of the prompts`);
      const room = prompt.tokenCount - bos.length;
      const length = Math.min(room, nonceLength(prompt));
      // Counted within prompts of the same nonce length: the short ones have the smallest space.
      const peers = prompts.filter((other) => nonceLength(other) === nonceLength(prompt));
      const nonce = drawNonce(nonces, requestIndex(key, peers.indexOf(prompt), peers.length), length);
      return texts.canonical([...bos, ...nonce, ...repeatTo(bodies.get(prompt.name) ?? [], room - length)]);
    },
  };
}

/** Rounds of decoding, encoding and mending the length; two or three are usual. */
const SETTLE_ROUNDS = 24;

/**
 * Text engines tokenise for themselves, and not every row of ids is what a tokenizer makes of its text: words that meet
 * at a seam become one token. So each prompt is encoded again until it is its own encoding with exactly its length;
 * then ids and text are the same work, and the server's own count proves it.
 */
function textForms(
  input: WorkloadInput,
  bos: readonly number[],
  usable: (token: number) => boolean,
): Pick<Workload, 'canonical' | 'promptText'> {
  const { tokenizerDecode: decode, tokenizerEncode: encode } = input;
  if (decode === undefined) return { canonical: (tokens) => [...tokens], promptText: () => '' };
  const filler = encode(` ${input.bodyText}`).filter(usable);
  const settle = (tokens: readonly number[]): number[] => {
    const { length } = tokens;
    let wanted = [...tokens];
    for (let round = 0; round < SETTLE_ROUNDS; round++) {
      const again = encode(decode(wanted));
      if (again.length === length && again.every((token, index) => token === wanted[index])) return [...again];
      // Another continuation in every round: the same one may meet the end in the same way for ever.
      const more = repeatTo(filler.slice(round % filler.length), Math.max(0, length - again.length));
      wanted = [...again, ...more].slice(0, length);
    }
    throw new AppError('plan-invalid', `no text has exactly ${length} tokens in this model's tokenizer`, {
      hint: 'Engines that take text cannot be compared at this length: try one token more or less.',
    });
  };
  return {
    promptText: (tokens, added = 0) => {
      const body = tokens.slice(bos.length);
      if (added === 0) return decode(body);
      return decode(
        settle([...body, ...repeatTo(filler, Math.max(0, -added))].slice(0, Math.max(1, body.length - added))),
      );
    },
    canonical: (tokens) => [...bos, ...settle(tokens.slice(bos.length))],
  };
}

function nonceLength({ tokenCount }: Pick<Prompt, 'tokenCount'>): number {
  return tokenCount < SHORT_PROMPT_TOKENS ? 1 : NONCE_TOKENS;
}

function encodeBody(input: WorkloadInput, name: string, usable: (token: number) => boolean): number[] {
  const text = input.bodyTexts?.[name] ?? input.bodyText;
  const body = input.tokenizerEncode(text).filter(usable);
  if (body.length === 0) {
    throw new AppError('plan-invalid', `the text of the prompt "${name}" has no tokens`, {
      hint: 'Give a file with ordinary text.',
    });
  }
  return body;
}

function checkRoom(prompt: Pick<Prompt, 'name' | 'tokenCount'>, bosCount: number): void {
  if (prompt.tokenCount > bosCount) return;
  throw new AppError(
    'plan-invalid',
    `the prompt "${prompt.name}" of ${prompt.tokenCount} tokens has no room beside the BOS token`,
    {
      hint: `Ask for at least ${bosCount + 1} tokens.`,
    },
  );
}

/** Mixed radix, attempts outermost: first attempts never repeat a nonce before reruns do. */
function requestIndex(key: PromptKey, promptIndex: number, promptCount: number): number {
  assert(
    key.block < BLOCKS_MAX && key.iteration < (key.kind === 'warmup' ? WARMUPS_MAX : MEASURED_MAX),
    'requests stay inside the counter',
  );
  const round = (key.attempt ?? 0) * BLOCKS_MAX + key.block;
  const slot = key.kind === 'warmup' ? key.iteration : WARMUPS_MAX + key.iteration;
  return (round * (WARMUPS_MAX + MEASURED_MAX) + slot) * promptCount + promptIndex;
}

/** First token: the counter modulo the nonce list; the others: its further digits, each offset to look different. */
function drawNonce(nonces: readonly number[], counter: number, length: number): number[] {
  let rest = counter;
  return Array.from({ length }, (_, position) => {
    const digit = (rest + position * 17) % nonces.length;
    rest = Math.floor(rest / nonces.length);
    const token = nonces[digit];
    assert(token !== undefined, 'a digit indexes the nonce list');
    return token;
  });
}

function repeatTo(body: readonly number[], length: number): number[] {
  return Array.from({ length }, (_, index) => {
    const token = body[index % body.length];
    assert(token !== undefined, 'a body has tokens');
    return token;
  });
}
