/** How much memory a program took, its children included. */
import type { ChildProcess } from 'node:child_process';
import { readTreeMemory } from '../src/platform/memory/tree-memory.ts';

/** Systems keep the peak of each process: a poll only must not miss its end by far. */
const POLL_MS = 150;

/** Waits for the program's end. @returns bytes */
export async function peakUntilExit(child: ChildProcess, pollMs = POLL_MS): Promise<number> {
  let peakBytes = 0;
  const poll = setInterval(() => {
    void readTreeMemory(child.pid ?? 0).then((memory) => (peakBytes = Math.max(peakBytes, memory.peakBytes ?? 0)));
  }, pollMs);
  await new Promise((resolve, reject) => {
    child.once('close', resolve);
    child.once('error', reject);
  });
  clearInterval(poll);
  return peakBytes;
}
