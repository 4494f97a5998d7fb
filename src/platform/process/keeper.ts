/**
 * Starts one engine and never lets it outlive runoff: `node keeper.js COMMAND ARGS...`
 *
 * fd 0, 1, 2  the engine's own
 * fd 3        lifeline to runoff, both ways, JSON lines. Out: {"pid"}, {"error"}, {"exit":{code,signal}}. In: {"stop":{graceMs}}.
 *             At its end (runoff crashed, or was killed with -9) the engine's whole process group is killed.
 * fd 4        the engine's fd 3: the reply channel of the worker protocol
 *
 * It imports nothing else of runoff, so that nothing else of runoff can break it.
 */
import { spawn, spawnSync } from 'node:child_process';
import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { killSteps } from './kill-steps.ts';

/** Time between SIGTERM and SIGKILL where runoff cannot say: enough to flush, short enough for a 5 s promise. */
const GRACE_MS = 2_000;
/** How often a dying group is looked at; only while it dies, never while an engine is measured. */
const LOOK_MS = 50;
/** The lifeline carries one short command; more is nonsense. */
const COMMAND_CHARACTERS_MAX = 10_000;
/** Zombies of a container without an init process stay in the group for ever: give up looking after this. */
const LAST_LOOK_MS = 500;

const [command, ...args] = process.argv.slice(2);
const lifeline = new Socket({ fd: 3 });
const engine = spawn(command ?? '', args, {
  stdio: ['inherit', 'inherit', 'inherit', 4],
  detached: true,
  windowsHide: true,
});
let dying = false;
let graceMs = Number.POSITIVE_INFINITY;

// Ctrl-C reaches every process of the terminal: runoff decides what it means.
process.on('SIGINT', () => {});
for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void end(GRACE_MS));

engine.on('spawn', () => {
  tell({ pid: engine.pid });
  // Ours are copies: as long as they are open, runoff does not see the engine's end of file.
  for (const fd of [0, 1, 2, 4]) close(fd);
});
engine.on('error', (error: NodeJS.ErrnoException) => {
  tell({ error: { code: error.code ?? null, message: error.message } });
  lifeline.end(() => process.exit(1));
});
engine.on('exit', (code, signal) => {
  tell({ exit: { code, signal } });
  void end(0);
});

lifeline.on('error', () => void end(GRACE_MS));
lifeline.on('close', () => void end(GRACE_MS));
lifeline.on('end', () => void end(GRACE_MS));
let received = '';
lifeline.setEncoding('utf8').on('data', (text: string) => {
  const lines = (received + text).split('\n');
  received = (lines.pop() ?? '').slice(0, COMMAND_CHARACTERS_MAX);
  for (const line of lines) void end(graceOf(line));
});

/** Anything unreadable from runoff means that something is wrong with it: end with the usual grace. */
function graceOf(line: string): number {
  try {
    const asked = (JSON.parse(line) as { stop?: { graceMs?: unknown } } | null)?.stop?.graceMs;
    return typeof asked === 'number' ? asked : GRACE_MS;
  } catch {
    return GRACE_MS;
  }
}

/** Kills what is left of the group, then exits. Called again, it can only shorten the grace. */
async function end(graceAskedMs: number): Promise<void> {
  graceMs = Math.min(graceMs, graceAskedMs);
  if (dying) return;
  dying = true;
  const { pid } = engine;
  if (pid !== undefined) await kill(pid);
  lifeline.end(() => process.exit(0));
  setTimeout(() => process.exit(0), LAST_LOOK_MS);
}

async function kill(pid: number): Promise<void> {
  const startedMs = performance.now();
  for (const step of killSteps(process.platform, pid)) {
    await untilGone(pid, () => startedMs + (step.when === 'now' ? 0 : graceMs));
    if (!isAlive(pid)) return;
    if ('signal' in step) signalGroup(pid, step.signal);
    else spawnSync(step.command[0], step.command.slice(1), { stdio: 'ignore', windowsHide: true });
  }
  const lastLookMs = performance.now() + LAST_LOOK_MS;
  await untilGone(pid, () => lastLookMs);
}

/** The deadline is asked each time: it may come nearer while we wait. */
async function untilGone(pid: number, deadlineMs: () => number): Promise<void> {
  while (isAlive(pid) && performance.now() < deadlineMs()) await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
}

/** Of the group where there are groups; on Windows of the engine itself. */
function isAlive(pid: number): boolean {
  if (process.platform === 'win32') return engine.exitCode === null && engine.signalCode === null;
  return signalGroup(pid, 0);
}

function signalGroup(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-pid, signal);
  } catch {
    return false;
  }
}

function tell(message: unknown): void {
  if (lifeline.writable) lifeline.write(`${JSON.stringify(message)}\n`);
}

function close(fd: number): void {
  try {
    closeSync(fd);
  } catch {
    // Not open in the first place.
  }
}
