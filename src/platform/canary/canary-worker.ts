/** One thread of the canary. It sleeps without using the processor until it is asked, and starts together with the others. */
import { parentPort, workerData } from 'node:worker_threads';
import { CANARY_WASM } from './canary-wasm.ts';
import type { CanaryAnswer, CanaryAsk, CanaryWorkerData } from './canary.ts';

/** As long as starting all threads of a large machine may take; then one of them is dead and its time is told alone. */
const START_WAIT_MS = 2_000;
/** The read kernel's step. */
const READ_STEP_BYTES = 256;

interface Kernels {
  fill(from: number, byteCount: number): void;
  read(from: number, to: number): number;
  multiplyAdd(rounds: number): number;
}

const { memory, gate, threads, from, byteCount } = workerData as CanaryWorkerData;
const kernels = await loadKernels();
kernels.fill(from, byteCount);
/** Where the last reading ended, from `from`: short readings touch all of the part in turn, never the same cached bytes. */
let position = 0;

async function loadKernels(): Promise<Kernels> {
  const { instance } = await WebAssembly.instantiate(Buffer.from(CANARY_WASM, 'base64'), { canary: { memory } });
  return instance.exports as unknown as Kernels;
}

function readBytes(count: number): void {
  let left = count;
  while (left > 0) {
    const step = Math.min(left, byteCount - position);
    kernels.read(from + position, from + position + step);
    position = (position + step) % byteCount;
    left -= step;
  }
}

/** Pieces of work so far: all threads are asked for the same ones. */
let pieceCount = 0;

/** All threads pass together: the last to arrive wakes the others. */
function waitForOthers(): void {
  pieceCount += 1;
  if (Atomics.add(gate, 0, 1) + 1 >= pieceCount * threads) {
    Atomics.store(gate, 1, pieceCount);
    Atomics.notify(gate, 1);
    return;
  }
  Atomics.wait(gate, 1, pieceCount - 1, START_WAIT_MS);
}

parentPort?.on('message', ({ kind, amount, pieces }: CanaryAsk) => {
  const answer: CanaryAnswer = Array.from({ length: pieces }, () => {
    waitForOthers();
    const startNs = process.hrtime.bigint();
    if (kind === 'read') readBytes(Math.max(READ_STEP_BYTES, amount - (amount % READ_STEP_BYTES)));
    else kernels.multiplyAdd(Math.max(1, amount));
    return { startNs, endNs: process.hrtime.bigint() };
  });
  parentPort?.postMessage(answer);
});
parentPort?.postMessage('ready');
