/** `runoff --help` from a cold process: bar 200 ms. Peer: an empty node program, the floor that nothing can beat. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { median } from 'simple-statistics';

const RUNS = 21;
const BAR_MS = 200;
const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));

function timeMs(args: string[]): number {
  const startedMs = performance.now();
  execFileSync(process.execPath, args);
  return performance.now() - startedMs;
}

export async function startup(): Promise<void> {
  const help: number[] = [];
  const empty: number[] = [];
  for (let run = 0; run < RUNS; run++) {
    help.push(timeMs([main, '--help']));
    empty.push(timeMs(['-e', '0']));
  }
  const [ours, floor] = [median(help), median(empty)];
  console.log(
    `runoff --help   ${ours.toFixed(0)} ms (median of ${RUNS}; bar ${BAR_MS} ms: ${ours < BAR_MS ? 'met' : 'MISSED'})`,
  );
  console.log(`empty node      ${floor.toFixed(0)} ms, ratio ${(ours / floor).toFixed(2)}`);
}
