/**
 * What servers and workers may send instead of an answer, and what must come of it: an error with a code, or an answer
 * that adds up, within the time limit. `describeMalformed()` in test/engines/malformed.test.ts, one line for an engine.
 */
import { createServer } from 'node:http';
import type { Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import type { EngineSession, GenerateRequest, Generation } from '../../src/core/engine.ts';
import { AppError } from '../../src/core/errors.ts';
import { createRandom } from '../../src/core/random.ts';
import type { Random } from '../../src/core/random.ts';
import { sampleSchema } from '../../src/core/record.ts';
import { toSample } from '../../src/core/sample.ts';
import type { StampedChunk } from '../../src/platform/network/http.ts';

/** In place of some bytes. */
const HOSTILE = [
  '-1',
  '1e999',
  '-1e9',
  'null',
  '[]',
  '{}',
  '"',
  '\n',
  '\n\n',
  '\u0000',
  '9'.repeat(30),
  'true',
  'data: ',
  '\\ud800',
];
/** In place of any value. */
const WRONG_VALUES: readonly unknown[] = [
  null,
  -1,
  1.5,
  1e300,
  2 ** 53,
  '',
  'x',
  true,
  [],
  {},
  [null],
  [[]],
  { message: 7 },
];
/** One answer in so many holds a line of this size: more would only make the test slow. */
const HUGE_EVERY = 250;
const HUGE_BYTES = 1 << 20;
const CHUNKS_MAX = 6;

export interface MalformedCase {
  readonly name: string;
  /** The events or lines of a whole valid answer, in which a character has several bytes. */
  readonly stream: readonly unknown[];
  /** How one of them is written. */
  readonly write: (item: unknown) => string;
  /** An error in the middle of an answer that began with status 200. */
  readonly failure: unknown;
  readonly read: (chunks: readonly StampedChunk[]) => Generation | Promise<Generation>;
  readonly count: number;
  /** Over a real connection. Absent: no HTTP. */
  readonly http?: {
    readonly path: string;
    readonly ask: GenerateRequest;
    /** What else is asked while connecting, by path, and its valid answers. */
    readonly answers: Readonly<Record<string, string>>;
    /** What a valid server answers on `path` while connecting; default: the stream. */
    readonly onConnect?: string;
    readonly connect: (base: string, timeoutMs: number) => Promise<EngineSession>;
  };
}

/** Valid answers that were cut, repeated, flipped, retyped, filled with nonsense, ended by an error, or broken up. */
export function* malformed(
  seed: number,
  count: number,
  source: Pick<MalformedCase, 'stream' | 'write' | 'failure'>,
): Iterable<Buffer[]> {
  for (let index = 0; index < count; index++) {
    const random = createRandom('malformed', seed, index);
    let items = [...source.stream];
    const places = placesIn(items);
    if (random.integer(2) === 0)
      items = retyped(items, places[random.integer(places.length)] ?? [], random) as unknown[];
    if (random.integer(8) === 0) items.splice(random.integer(items.length + 1), random.integer(2), source.failure);
    if (random.integer(8) === 0) items.splice(random.integer(items.length), 1);
    let bytes: Buffer = Buffer.from(items.map((item) => source.write(item)).join(''));
    // Half of them are well-formed: what is in them is judged, not only their form.
    for (let change = random.integer(2) * random.integer(4); change > 0; change--) bytes = damaged(bytes, random);
    if (index % HUGE_EVERY === 0) bytes = inserted(bytes, random, Buffer.alloc(HUGE_BYTES, 'y'));
    if (random.integer(5) === 0) bytes = bytes.subarray(0, random.integer(bytes.length + 1));
    yield brokenUp(bytes, random);
  }
}

/** Every value inside, as the keys that lead to it. */
function placesIn(value: unknown): string[][] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [[key], ...placesIn(inner).map((place) => [key, ...place])]);
}

/** The value at a place becomes one of another type, or is gone. */
function retyped(value: unknown, place: readonly string[], random: Random): unknown {
  const [key, ...inner] = place;
  if (key === undefined) return WRONG_VALUES[random.integer(WRONG_VALUES.length)];
  if (Array.isArray(value))
    return value.map((item: unknown, at) => (String(at) === key ? retyped(item, inner, random) : item));
  const entries = Object.entries(value as Record<string, unknown>);
  if (inner.length === 0 && random.integer(6) === 0)
    return Object.fromEntries(entries.filter(([name]) => name !== key));
  return Object.fromEntries(entries.map(([name, item]) => [name, name === key ? retyped(item, inner, random) : item]));
}

function damaged(bytes: Buffer, random: Random): Buffer {
  const at = random.integer(bytes.length + 1);
  const end = Math.min(bytes.length, at + random.integer(40));
  const part = bytes.subarray(at, end);
  const hostile = Buffer.from(HOSTILE[random.integer(HOSTILE.length)] ?? '');
  const instead = [
    Buffer.alloc(0),
    Buffer.concat([part, part]),
    Buffer.from(part.map((byte) => byte ^ (1 << random.integer(8)))),
    hostile,
    Buffer.concat([part, hostile]),
  ][random.integer(5)];
  return Buffer.concat([bytes.subarray(0, at), instead ?? Buffer.alloc(0), bytes.subarray(end)]);
}

function inserted(bytes: Buffer, random: Random, what: Buffer): Buffer {
  const at = random.integer(bytes.length + 1);
  return Buffer.concat([bytes.subarray(0, at), what, bytes.subarray(at)]);
}

/** Anywhere, in the middle of characters, too. */
function brokenUp(bytes: Buffer, random: Random): Buffer[] {
  const cuts = Array.from({ length: random.integer(CHUNKS_MAX) }, () => random.integer(bytes.length + 1));
  const edges = [0, ...cuts.sort((a, b) => a - b), bytes.length];
  return edges.slice(1).map((end, index) => bytes.subarray(edges[index], end));
}

/** An answer is one that the record takes. */
export function addsUp(generation: Generation): boolean {
  const { eventMs, eventTokenCounts, tokens, generatedTokenCount = tokens.length } = generation;
  const place = { engine: 'e', block: 0, attempt: 0, kind: 'measured', prompt: 'p', iteration: 0 } as const;
  return (
    eventMs.length === eventTokenCounts.length &&
    eventMs.every((ms, index) => ms >= (eventMs[index - 1] ?? 0)) &&
    eventTokenCounts.every((value) => Number.isInteger(value) && value > 0) &&
    eventTokenCounts.reduce((total, value) => total + value, 0) === generatedTokenCount &&
    sampleSchema.safeParse(toSample(place, generation)).success
  );
}

/** @returns whether it was an answer; an error that has no code is thrown on. */
async function outcomeOf(work: () => Generation | Promise<Generation>): Promise<'answer' | 'error'> {
  try {
    expect(await work()).toSatisfy(addsUp);
    return 'answer';
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return 'error';
  }
}

const HTTP_ANSWERS = { total: 200, stalled: 20 };
const CONNECT_ANSWERS = 30;
/** At once: the waiting is the server's, not ours. The client has four connections. */
const PARALLEL = { total: 45, stalled: 4 };
const REQUEST_TIMEOUT_MS = { total: 3_000, stalled: 200 };
const CONNECT_TIMEOUT_MS = 300;
/** The limit, and what a busy machine needs beside it. */
const ENDS_WITHIN_MS = 5_000;

export function describeMalformed(options: MalformedCase): void {
  const { name, count, http } = options;
  describe(`malformed answers of ${name}`, () => {
    test(`${count} end in an error with a code or in an answer that adds up`, async () => {
      const outcomes = { answer: 0, error: 0 };
      for (const chunks of malformed(1, count, options)) {
        const stamped = chunks.map((bytes, index) => ({ atMs: 10 * index, bytes }));
        outcomes[await outcomeOf(() => options.read(stamped))] += 1;
      }
      // Both kinds must occur, else the generator tests nothing.
      expect(outcomes.answer).toBeGreaterThan(count / 50);
      expect(outcomes.error).toBeGreaterThan(count / 4);
    });
    if (http !== undefined) describeOverHttp(options, http);
  });
}

/** How a server ends an answer. */
type Ending = 'ends' | 'drips' | 'breaks off' | 'stalls';
const ENDINGS: readonly Ending[] = ['ends', 'drips', 'breaks off'];

function describeOverHttp(options: MalformedCase, http: NonNullable<MalformedCase['http']>): void {
  let servers: Server[] = [];
  afterEach(() => {
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
    servers = [];
  });
  const valid = http.onConnect ?? options.stream.map((item) => options.write(item)).join('');

  async function serve(answers: Readonly<Record<string, (response: ServerResponse) => void>>): Promise<string> {
    const started = createServer((request, response) => {
      request.resume();
      // Without what names one file of many.
      const path = (request.url ?? '').replace(/\/sha256:.*/, '');
      response.setHeader('content-type', 'text/event-stream');
      const special = answers[path];
      if (special !== undefined) return special(response);
      return void response.end(path === http.path ? valid : (http.answers[path] ?? ''));
    });
    servers.push(started);
    await new Promise<void>((resolve) => started.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(started.address() as AddressInfo).port}`;
  }

  test(`${HTTP_ANSWERS.total} over HTTP, dripping, cut off and stalled, end within the limit`, async () => {
    let queue: Buffer[][] = [];
    let endings: readonly Ending[] = ENDINGS;
    let isConnected = false;
    let served = 0;
    const base = await serve({
      [http.path]: (response) => {
        if (!isConnected) return void response.end(valid);
        const chunks = queue[served % queue.length] ?? [];
        return void send(response, chunks, endings[served++ % endings.length] ?? 'ends');
      },
    });
    const session = await http.connect(base, ENDS_WITHIN_MS);
    isConnected = true;
    const outcomes = { answer: 0, error: 0 };
    const askAll = async (kind: 'total' | 'stalled', count: number): Promise<void> => {
      queue = [...malformed(kind === 'total' ? 2 : 3, count, options)];
      for (let done = 0; done < count; done += PARALLEL[kind]) {
        const startedMs = performance.now();
        const ends = Array.from({ length: Math.min(PARALLEL[kind], count - done) }, () =>
          outcomeOf(() => session.generate({ ...http.ask, timeoutMs: REQUEST_TIMEOUT_MS[kind] })),
        );
        for (const outcome of await Promise.all(ends)) outcomes[outcome] += 1;
        expect(performance.now() - startedMs).toBeLessThan(ENDS_WITHIN_MS);
      }
    };
    await askAll('total', HTTP_ANSWERS.total - HTTP_ANSWERS.stalled);
    endings = ['stalls'];
    await askAll('stalled', HTTP_ANSWERS.stalled);
    expect(outcomes.error).toBeGreaterThan(HTTP_ANSWERS.total / 4);
  });

  test.each([...Object.keys(http.answers), http.path])(`${CONNECT_ANSWERS} while connecting, to %s`, async (path) => {
    const text = path === http.path ? valid : (http.answers[path] ?? '');
    const parts = { stream: [text], write: String, failure: '{"error":"x"}' };
    // Side by side: what cannot be read is asked for until the time is over, since the server may still be starting.
    const connects = [...malformed(3, CONNECT_ANSWERS, parts)].map(async (chunks) => {
      const base = await serve({ [path]: (response) => void send(response, chunks, 'ends') });
      const startedMs = performance.now();
      const outcome = await http.connect(base, CONNECT_TIMEOUT_MS).catch((error: unknown) => error);
      expect(performance.now() - startedMs).toBeLessThan(ENDS_WITHIN_MS);
      if (outcome instanceof Error) expect(outcome).toBeInstanceOf(AppError);
    });
    await Promise.all(connects);
  });
}

async function send(response: ServerResponse, chunks: readonly Buffer[], ending: Ending): Promise<void> {
  for (const bytes of chunks) {
    response.write(bytes);
    if (ending === 'drips') await new Promise((resolve) => setTimeout(resolve, 3));
  }
  if (ending === 'breaks off') response.destroy();
  else if (ending !== 'stalls') response.end();
}
