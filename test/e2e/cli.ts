/** The real command line in a folder of its own, with fixture engines. */
import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach } from 'vitest';
import { eventSchema, recordSchema } from '../../src/core/record.ts';
import type { RunEvent, RunRecord } from '../../src/core/record.ts';
import type { FixtureBehaviour } from '../fixtures/engines/fixture-engine.ts';
import { tinyModel } from '../fixtures/model/tiny-model.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const ENGINES = fileURLToPath(new URL('../fixtures/engines/', import.meta.url));
const ON_TERMINAL = fileURLToPath(new URL('./on-terminal.py', import.meta.url));
/** A machine that is busy with other tests starts processes slowly; a hang is longer. */
const COMMAND_MS_MAX = 90_000;
/** The promise for the end of a run that was interrupted or killed. */
export const END_MS_MAX = 5_000;

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly durationMs: number;
}

export interface Running {
  readonly process: ChildProcess;
  readonly finished: Promise<Finished>;
  /** Resolves when the text was printed on stderr. */
  printed(text: string): Promise<void>;
}

export interface PtyResult {
  readonly output: string;
  readonly exitCode: number;
  readonly msAfterKeys: number | null;
  readonly timedOut: boolean;
}

/** Why the tests that need a terminal are skipped; null where they run. */
export const noPty = whyNoPty();

function whyNoPty(): string | null {
  if (process.platform === 'win32') return 'Windows has no pty module';
  try {
    execFileSync('python3', ['-c', 'import pty, sys; sys.exit(sys.version_info < (3, 9))'], { stdio: 'ignore' });
    return null;
  } catch {
    return 'python3 (3.9 or newer) with its pty module is missing';
  }
}

export class Workspace {
  readonly folder: string;
  readonly model: string;
  readonly out: string;
  /** Added to the environment of the commands that are started from now on. */
  moreEnvironment: Readonly<Record<string, string>> = {};

  private constructor(folder: string, model: string) {
    this.folder = folder;
    this.model = model;
    this.out = join(folder, 'out');
  }

  static async create(): Promise<Workspace> {
    const folder = await mkdtemp(join(tmpdir(), 'runoff-e2e-'));
    await mkdir(join(folder, 'fixtures'));
    await mkdir(join(folder, 'tmp'));
    return new Workspace(folder, await tinyModel());
  }

  /** Sets what a fixture engine does. */
  async behave(id: string, behaviour: FixtureBehaviour): Promise<void> {
    await writeFile(join(this.folder, 'fixtures', `${id}.json`), JSON.stringify(behaviour));
  }

  /** Arguments of a short run; `engines` are fixture engines, or ids of others. */
  run(engines: readonly string[], ...more: readonly string[]): string[] {
    const paths = engines.map((id) => (existsSync(join(ENGINES, `${id}.ts`)) ? join(ENGINES, `${id}.ts`) : id));
    const defaults = [
      '--model',
      this.model,
      '--no-install',
      '--yes',
      '--out',
      this.out,
      '--seed',
      '7',
      '--prompt',
      '64',
      '--generate',
      '64',
      '--blocks',
      '3',
      '--budget',
      '40s',
    ];
    return ['run', ...defaults, '--engine', ...paths, ...more];
  }

  get environment(): NodeJS.ProcessEnv {
    const { PATH, HOME, LANG, NODE_COMPILE_CACHE } = process.env;
    return {
      PATH,
      HOME,
      LANG,
      NODE_COMPILE_CACHE,
      NO_COLOR: '1',
      RUNOFF_CACHE: join(this.folder, 'cache'),
      RUNOFF_FIXTURES: join(this.folder, 'fixtures'),
      TMPDIR: join(this.folder, 'tmp'),
      // Never the hub's cache of whoever runs the tests.
      HF_HOME: join(this.folder, 'hf'),
      ...this.moreEnvironment,
    };
  }

  start(args: readonly string[]): Running {
    const startedMs = performance.now();
    const child = spawn(process.execPath, [MAIN, ...args], {
      cwd: this.folder,
      env: this.environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const timer = setTimeout(() => child.kill('SIGKILL'), COMMAND_MS_MAX);
    const finished = new Promise<Finished>((resolve) => {
      child.on('close', (code) => {
        clearTimeout(timer);
        resolve({ code, stdout, stderr, durationMs: performance.now() - startedMs });
      });
    });
    const printed = async (text: string): Promise<void> => {
      await eventually(`the text ${text}`, () => stderr.includes(text) || child.exitCode !== null, COMMAND_MS_MAX);
      if (!stderr.includes(text)) throw new TypeError(`it ended without printing "${text}":\n${stderr}`);
    };
    return { process: child, finished, printed };
  }

  runoff(args: readonly string[]): Promise<Finished> {
    return this.start(args).finished;
  }

  /** On a terminal: waits for each text and types the keys. */
  onTerminal(args: readonly string[], steps: readonly (readonly [string, string])[]): PtyResult {
    const output = execFileSync('python3', [ON_TERMINAL, JSON.stringify(steps), process.execPath, MAIN, ...args], {
      cwd: this.folder,
      env: { ...this.environment, TERM: 'xterm' },
      encoding: 'utf8',
      maxBuffer: 16 << 20,
    });
    return JSON.parse(output) as PtyResult;
  }

  /** The record as it lies there, checked by its schema. */
  async record(folder = this.out): Promise<RunRecord> {
    return recordSchema.parse(JSON.parse(await readFile(join(folder, 'record.json'), 'utf8')));
  }

  /** Every event, checked by its schema; a last line without its end was torn by a crash. */
  async events(folder = this.out): Promise<RunEvent[]> {
    const lines = (await readFile(join(folder, 'samples.jsonl'), 'utf8')).split('\n').slice(0, -1);
    return lines.map((line) => eventSchema.parse(JSON.parse(line)));
  }

  /** Waits until the events contain this text. */
  async recorded(text: string): Promise<void> {
    const path = join(this.out, 'samples.jsonl');
    await eventually(
      `the event ${text}`,
      () => existsSync(path) && readFileSync(path, 'utf8').includes(text),
      COMMAND_MS_MAX,
    );
  }

  files(folder = this.out): string[] {
    return existsSync(folder) ? readdirSync(folder).toSorted() : [];
  }

  /** What runoff left in the folder for temporary files. */
  temporaryFiles(): string[] {
    return readdirSync(join(this.folder, 'tmp'));
  }

  /** Command lines of processes that belong to this test. */
  processes(text = ''): { pid: number; command: string }[] {
    return processTable().filter(({ command }) => command.includes(this.folder) && command.includes(text));
  }

  /** Waits for the promised time; what is left then has outlived the run. */
  async orphans(): Promise<string[]> {
    const deadlineMs = performance.now() + END_MS_MAX;
    while (this.processes().length > 0 && performance.now() < deadlineMs) await sleep(50);
    return this.processes().map(({ command }) => command);
  }

  /** Kills what a failed test left, and nothing else. */
  async remove(): Promise<void> {
    for (const { pid } of this.processes()) process.kill(pid, 'SIGKILL');
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Replaces what differs between machines and runs. */
  normalise(text: string): string {
    return text
      .replaceAll(this.folder, 'WORK')
      .replaceAll(this.model, 'MODEL')
      .replaceAll(ENGINES, 'ENGINES/')
      .replaceAll(cpus()[0]?.model.trim() ?? 'CPU', 'CPU')
      .replaceAll(/\b[0-9a-f]{8}-[0-9a-f-]{27}\b/g, 'UUID')
      .trim();
  }
}

function processTable(): { pid: number; command: string }[] {
  if (process.platform !== 'linux') {
    const lines = execFileSync('ps', ['-axww', '-o', 'pid=,command='], { encoding: 'utf8' }).split('\n');
    return lines.flatMap((line) =>
      (/^\s*(\d+) (.*)$/.exec(line) ?? []).slice(1, 2).map((pid) => ({ pid: Number(pid), command: line })),
    );
  }
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => ({ pid: Number(name), command: commandOf(name) }));
}

/** Empty for a zombie, and for a process that is gone meanwhile. */
function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
  } catch {
    return '';
  }
}

export async function eventually(what: string, isTrue: () => boolean, limitMs: number): Promise<void> {
  const deadlineMs = performance.now() + limitMs;
  while (!isTrue()) {
    if (performance.now() > deadlineMs) throw new TypeError(`${what} did not come within ${limitMs} ms`);
    await sleep(20);
  }
}

/** A fresh workspace for every test of the file; `get()` inside a test. */
export function useWorkspace(): () => Workspace {
  let workspace: Workspace | null = null;
  beforeEach(async () => {
    workspace = await Workspace.create();
  });
  afterEach(() => workspace?.remove());
  return () => {
    if (workspace === null) throw new TypeError('the workspace is there inside tests only');
    return workspace;
  };
}

export function skipped(file: string, reason: string): void {
  console.log(`${basename(file)}: skipped: ${reason}`);
}
