import type { ChildProcess } from 'node:child_process';
import type { Duplex, Readable } from 'node:stream';
import { assert } from '../../core/assert.ts';
import type { LaunchPlan, WorkerRequest } from '../../core/engine.ts';
import { AppError } from '../../core/errors.ts';
import { exitHint, exitText } from '../../core/process-exit.ts';
import type { ProcessExit } from '../../core/process-exit.ts';
import { sleep } from '../clock.ts';
import { ByteTail, lastLines } from './byte-tail.ts';
import { openCappedLog } from './capped-log.ts';
import { LineReader } from './line-reader.ts';
import { RequestChannel } from './request-channel.ts';
import type { StartedProcess, StopReport } from './started-process.ts';

/** Enough for a loader's report and a stack trace; a flood may not fill our memory. */
const TAIL_BYTES_MAX = 64 * 1024;
const STDERR_SHOWN_LINES = 8;
/** The keeper's messages are tens of bytes. */
const KEEPER_LINE_BYTES_MAX = 64 * 1024;
/** What the keeper may take beyond the grace: looking, taskkill, its own exit. */
const KEEPER_SLACK_MS = 3_000;
/** After the engine's death: a grandchild in a session of its own may hold the pipes open for ever. */
const CLOSE_MS_MAX = 1_000;

/** One keeper with its engine: what is known about the two, from the start to the end. */
export class RunningProcess implements StartedProcess {
  readonly exited: Promise<ProcessExit>;
  readonly #keeper: ChildProcess;
  readonly #lifeline: Duplex;
  readonly #channel: LaunchPlan['channel'];
  readonly #requests: RequestChannel;
  readonly #stderr = new ByteTail(TAIL_BYTES_MAX);
  readonly #stdout = new ByteTail(TAIL_BYTES_MAX);
  readonly #launched = Promise.withResolvers<void>();
  readonly #gone = Promise.withResolvers<ProcessExit>();
  #pid: number | null = null;
  #exit: ProcessExit | null = null;
  #stopping = false;

  constructor(keeper: ChildProcess, channel: LaunchPlan['channel'], stderrLogPath: string | null) {
    this.#keeper = keeper;
    this.#channel = channel;
    this.#lifeline = keeper.stdio[3] as Duplex;
    this.exited = this.#gone.promise;
    this.#launched.promise.catch(() => {});
    this.#requests = new RequestChannel({
      write: (line) => keeper.stdin?.write(line),
      onBroken: () => void this.stop(0),
    });
    this.#collect(stderrLogPath);
    this.#watchKeeper();
  }

  get pid(): number {
    assert(this.#pid !== null, 'the pid is asked for after the launch');
    return this.#pid;
  }

  get keeperPid(): number {
    return this.#keeper.pid ?? 0;
  }

  /** Rejects with the system's reason when the command cannot be started. */
  async launched(timeoutMs: number): Promise<void> {
    const timer = setTimeout(
      () => this.#launched.reject(new AppError('engine-launch-failed', 'the keeper does not answer')),
      timeoutMs,
    );
    await this.#launched.promise.finally(() => clearTimeout(timer));
  }

  request(message: WorkerRequest, timeoutMs: number): Promise<unknown> {
    assert(this.#channel !== 'http', 'an engine that serves HTTP takes no protocol requests');
    return this.#requests.request(message, timeoutMs);
  }

  stderrTail(): string {
    return this.#stderr.text();
  }

  stdoutTail(): string {
    return this.#stdout.text();
  }

  async stop(graceMs: number): Promise<StopReport> {
    const diedBefore = this.#exit !== null && !this.#stopping;
    this.#stopping = true;
    this.#keeper.stdin?.end();
    if (this.#lifeline.writable) this.#lifeline.write(`${JSON.stringify({ stop: { graceMs } })}\n`);
    const late = new AbortController();
    const timedOut = sleep(graceMs + KEEPER_SLACK_MS, late.signal).then(
      () => this.#forceKill(),
      () => {},
    );
    await Promise.race([this.exited, timedOut]);
    late.abort();
    const exit = await this.exited;
    return { ...exit, forced: !diedBefore && (exit.signal === 'SIGKILL' || process.platform === 'win32') };
  }

  /** Data handlers only collect: an engine is being measured. */
  #collect(stderrLogPath: string | null): void {
    const { stdin, stdout, stderr, stdio } = this.#keeper;
    const log = stderrLogPath === null ? null : openCappedLog(stderrLogPath);
    const replies = stdio[4] as Duplex;
    // EPIPE and ECONNRESET: the engine is dead, and its death is reported through the lifeline.
    for (const stream of [stdin, stdout, stderr, this.#lifeline, replies]) stream?.on('error', () => {});
    stderr?.on('data', (chunk: Buffer) => {
      this.#stderr.push(chunk);
      log?.write(chunk);
    });
    stderr?.on('close', () => log?.end());
    const speaks: Readable | null = this.#channel === 'fd3' ? replies : this.#channel === 'stdout' ? stdout : null;
    speaks?.on('data', (chunk: Buffer) => this.#requests.receive(chunk));
    if (speaks !== stdout) stdout?.on('data', (chunk: Buffer) => this.#stdout.push(chunk));
    if (speaks !== replies) replies.resume();
  }

  #watchKeeper(): void {
    const reader = new LineReader(KEEPER_LINE_BYTES_MAX);
    this.#lifeline.on('data', (chunk: Buffer) => {
      for (const line of reader.push(chunk)) this.#hear(JSON.parse(line) as KeeperMessage);
    });
    this.#keeper.on('error', (error) => {
      this.#launched.reject(error);
      this.#settle();
    });
    this.#keeper.on('exit', () => {
      // A keeper that was killed itself: nobody else looks after the engine any more.
      if (this.#exit === null) this.#killGroup();
      setTimeout(() => this.#settle(), CLOSE_MS_MAX).unref();
    });
    this.#keeper.on('close', () => this.#settle());
  }

  #hear(message: KeeperMessage): void {
    if (message.pid !== undefined) {
      this.#pid = message.pid;
      this.#launched.resolve();
    } else if (message.error !== undefined) {
      this.#launched.reject(new AppError('engine-launch-failed', message.error.message));
    } else if (message.exit !== undefined) {
      this.#exit = message.exit;
    }
  }

  /** The last thing that happens: everything that the engine said has been read. */
  #settle(): void {
    const exit = this.#exit ?? { code: null, signal: null };
    this.#launched.reject(new AppError('engine-launch-failed', `the keeper ended${this.#lastWords()}`));
    this.#requests.close(this.#death(exit));
    for (const stream of this.#keeper.stdio) stream?.destroy();
    this.#gone.resolve(exit);
  }

  #death(exit: ProcessExit): AppError {
    const during = this.#requests.waitingFor;
    const how = `${exit.signal === null ? 'with' : 'by'} ${exitText(exit)}`;
    const hint = exitHint(exit);
    const what = this.#stopping ? 'was stopped' : 'died';
    return new AppError(
      'engine-died',
      `the engine ${what} ${how}${during === null ? '' : ` during ${during}`}${this.#lastWords()}`,
      {
        ...(hint === null ? {} : { hint }),
        context: { ...exit, noise: this.#requests.noiseTail() },
      },
    );
  }

  #lastWords(): string {
    const words = lastLines(this.#stderr.text(), STDERR_SHOWN_LINES);
    return words === '' ? '' : `; its last lines:\n${words}`;
  }

  /** The keeper does not do its work: do it ourselves. */
  #forceKill(): void {
    this.#killGroup();
    this.#keeper.kill('SIGKILL');
  }

  #killGroup(): void {
    if (this.#pid === null) return;
    try {
      process.kill(process.platform === 'win32' ? this.#pid : -this.#pid, 'SIGKILL');
    } catch {
      // Gone already.
    }
  }
}

interface KeeperMessage {
  readonly pid?: number;
  readonly error?: { readonly code: string | null; readonly message: string };
  readonly exit?: ProcessExit;
}
