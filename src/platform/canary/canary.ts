/**
 * The canary: a known load on every thread that an engine uses. How long it takes tells how much of the machine there
 * is, whatever takes the rest: other programs, other guests, heat, a power limit. Short canaries on one thread follow
 * engine times badly (correlation 0.03-0.25); on all threads, from 80 ms on, well (0.76-0.81).
 */
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { assert } from '../../core/assert.ts';
import { AppError } from '../../core/errors.ts';
import type { CanaryReading } from '../../core/machine-check-schema.ts';
import { median } from '../../core/stats/describe.ts';

/** What a worker gets when it starts: its part of the buffer, and the gate where all wait for each other. */
export interface CanaryWorkerData {
  readonly memory: WebAssembly.SharedMemory;
  readonly gate: Int32Array;
  readonly threads: number;
  readonly from: number;
  readonly byteCount: number;
}

export interface CanaryAsk {
  readonly kind: 'read' | 'multiplyAdd';
  /** Of one piece of work: bytes, or rounds of `FLOPS_PER_ROUND`. */
  readonly amount: number;
  /** Done one after the other; all threads begin each of them together. */
  readonly pieces: number;
}

/** One entry a piece. */
export type CanaryAnswer = readonly { readonly startNs: bigint; readonly endNs: bigint }[];

export interface Canary {
  readonly threads: number;
  readonly bufferBytes: number;
  /** Reads and computes for about `durationMs` each. Nothing else of runoff may run meanwhile. */
  run(durationMs: number): Promise<CanaryReading>;
  close(): Promise<void>;
}

const WORKER = new URL(`./canary-worker${extname(import.meta.url)}`, import.meta.url);
const PAGE_BYTES = 65_536;
/** canary.wat: twelve chains, a multiplication and an addition, four lanes. */
const FLOPS_PER_ROUND = 96;
/**
 * Pieces of a reading; the median counts. A stall of some milliseconds, which an engine's medians do not see either, spoils
 * one piece; what lasts slows all of them. As one piece, readings of an idle virtual machine spread three times as far.
 */
const PIECES = 5;
/** The first rates, before one was measured: low, so that the first reading is short on a slow machine. */
const FIRST_RATE = { read: 1e9, multiplyAdd: 1e9 } as const;
const FIRST_MS = 20;
/** A hundred times the longest reading: a thread that does not answer by then is dead. */
const ANSWER_TIMEOUT_MS = 30_000;
/** Rounds are a signed 32-bit number in the kernel. */
const ROUNDS_MAX = 2 ** 31 - 1;
const NS_PER_MS = 1e6;

/** @throws AppError `canary-failed` where threads or shared memory are not to be had. */
export async function openCanary(ask: { readonly threads: number; readonly bufferBytes: number }): Promise<Canary> {
  const { threads } = ask;
  assert(threads >= 1, 'a canary has a thread');
  const pages = Math.max(threads, Math.ceil(ask.bufferBytes / PAGE_BYTES));
  const pagesEach = Math.ceil(pages / threads);
  const workers: Worker[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(workers.map((worker) => worker.terminate()));
  };
  try {
    const memory = new WebAssembly.Memory({ initial: pagesEach * threads, maximum: pagesEach * threads, shared: true });
    const gate = new Int32Array(new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT));
    const byteCount = pagesEach * PAGE_BYTES;
    for (let index = 0; index < threads; index += 1) {
      const data: CanaryWorkerData = { memory, gate, threads, from: index * byteCount, byteCount };
      const worker = new Worker(WORKER, { workerData: data, execArgv: [] });
      // A forgotten canary must not keep the program alive.
      worker.unref();
      workers.push(worker);
    }
    await Promise.all(workers.map((worker) => answerOf(worker)));
  } catch (error) {
    await close();
    throw new AppError('canary-failed', `The machine's speed cannot be watched: ${String(error).slice(0, 200)}`, {
      cause: error,
      hint: 'The run goes on without the canary: other programs and heat are then seen by the system’s counters only.',
    });
  }
  const meter = new Meter(workers);
  return {
    threads,
    bufferBytes: pagesEach * threads * PAGE_BYTES,
    run: (durationMs) => meter.run(durationMs),
    close,
  };
}

class Meter {
  private readonly workers: readonly Worker[];
  /** Of all threads together, by the last reading: the next one's amount. */
  private rates: Record<CanaryAsk['kind'], number> | null = null;

  constructor(workers: readonly Worker[]) {
    this.workers = workers;
  }

  async run(durationMs: number): Promise<CanaryReading> {
    this.rates ??= {
      read: (await this.measure('read', FIRST_MS, FIRST_RATE.read)).rate,
      multiplyAdd: (await this.measure('multiplyAdd', FIRST_MS, FIRST_RATE.multiplyAdd)).rate,
    };
    const read = await this.measure('read', durationMs, this.rates.read);
    const multiplyAdd = await this.measure('multiplyAdd', durationMs, this.rates.multiplyAdd);
    this.rates = { read: read.rate, multiplyAdd: multiplyAdd.rate };
    return {
      readBytesPerS: read.rate,
      flopsPerS: multiplyAdd.rate,
      readMs: read.elapsedMs,
      multiplyAddMs: multiplyAdd.elapsedMs,
    };
  }

  /** Fixed amounts of work by every thread, each from the first start to the last end: as long as an engine would wait for it. */
  private async measure(
    kind: CanaryAsk['kind'],
    durationMs: number,
    expectedRate: number,
  ): Promise<{ rate: number; elapsedMs: number }> {
    const unit = kind === 'read' ? 1 : FLOPS_PER_ROUND;
    const total = (expectedRate * durationMs) / 1_000;
    const amount = clampAmount(kind, total / unit / this.workers.length / PIECES);
    const answers = this.workers.map((worker) => answerOf(worker));
    for (const worker of this.workers) worker.postMessage({ kind, amount, pieces: PIECES } satisfies CanaryAsk);
    const spans = (await Promise.all(answers)) as CanaryAnswer[];
    const piecesMs = Array.from({ length: PIECES }, (_, piece) =>
      pieceMs(spans.flatMap((answer) => answer[piece] ?? [])),
    );
    const elapsedMs = piecesMs.reduce((sum, ms) => sum + ms, 0);
    return { rate: (amount * unit * this.workers.length * 1_000) / median(piecesMs), elapsedMs };
  }
}

/** From the first thread's start to the last one's end. */
function pieceMs(spans: CanaryAnswer): number {
  const [first] = spans;
  if (first === undefined) throw new AppError('canary-failed', 'a thread of the canary answered without a time');
  const startNs = spans.reduce((least, span) => (span.startNs < least ? span.startNs : least), first.startNs);
  const endNs = spans.reduce((last, span) => (span.endNs > last ? span.endNs : last), startNs);
  return Math.max(0.001, Number(endNs - startNs) / NS_PER_MS);
}

function clampAmount(kind: CanaryAsk['kind'], amount: number): number {
  return Math.max(1, Math.round(kind === 'multiplyAdd' ? Math.min(ROUNDS_MAX, amount) : amount));
}

/** The next message of a worker. */
function answerOf(worker: Worker): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => settle(() => reject(new AppError('canary-failed', 'a thread of the canary does not answer'))),
      ANSWER_TIMEOUT_MS,
    );
    const onMessage = (message: unknown): void => settle(() => resolve(message));
    const onError = (error: unknown): void => settle(() => reject(error));
    const onExit = (): void => settle(() => reject(new AppError('canary-failed', 'a thread of the canary ended')));
    function settle(finish: () => void): void {
      clearTimeout(timer);
      worker.off('message', onMessage).off('error', onError).off('exit', onExit);
      finish();
    }
    worker.on('message', onMessage).on('error', onError).on('exit', onExit);
  });
}
