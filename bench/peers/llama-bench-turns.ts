/** llama-bench's own process, taking turns: stopped by the system between two of its tests. */
import { setTimeout as wait } from 'node:timers/promises';
import type { EngineSettings } from '../../src/core/engine.ts';
import { AppError } from '../../src/core/errors.ts';
import { lastLines } from '../../src/platform/process/byte-tail.ts';
import { startProcess } from '../../src/platform/process/start-process.ts';
import type { StartedProcess } from '../../src/platform/process/start-process.ts';
import { readLlamaBench } from './readings.ts';
import type { LlamaBenchTest } from './readings.ts';

/** A test takes seconds, with its warm-up and the context it starts behind. */
const TEST_TIMEOUT_MS = 600_000;
/** llama-bench sleeps so long before each test: there it is stopped, and the sleep is over when it goes on. */
const PAUSE_S = 1;
const LOOK_EVERY_MS = 5;
const STDERR_SHOWN_LINES = 8;

/** pp of so many tokens, or tg of so many behind `depth`. */
export type BenchTest = { readonly prompt: number } | { readonly generate: number; readonly depth: number };

export interface BenchAsk {
  readonly program: string;
  readonly modelPath: string;
  readonly settings: EngineSettings;
  /** Turns that will be taken. */
  readonly turns: number;
}

/**
 * The same test again and again, each with the warm-up that llama-bench gives it and one measured repetition. It prints a
 * test when it is done: then its process is stopped until the next turn.
 */
export class LlamaBenchInTurns {
  readonly #process: StartedProcess;
  readonly #wanted: Omit<LlamaBenchTest, 'samplesMs'>;
  #last = '';

  private constructor(started: StartedProcess, wanted: Omit<LlamaBenchTest, 'samplesMs'>) {
    this.#process = started;
    this.#wanted = wanted;
  }

  /** Loads the model and does one test that does not count. */
  static async start(test: BenchTest, ask: BenchAsk): Promise<LlamaBenchInTurns> {
    const { threads, batchTokens, microBatchTokens, kvType } = ask.settings;
    // The first one does not count, and at the last turn the next one has begun.
    const tests = (tokens: number): string => Array.from({ length: ask.turns + 2 }, () => tokens).join(',');
    const options = {
      '-m': ask.modelPath,
      '-t': threads,
      '-b': batchTokens,
      '-ub': microBatchTokens,
      '-ctk': kvType,
      '-ctv': kvType,
      '-fa': 'on',
      '-lm': 'mmap',
      '-ngl': 0,
      '-r': 1,
      '-o': 'jsonl',
      '--delay': PAUSE_S,
      '-d': 'prompt' in test ? 0 : test.depth,
      '-p': 'prompt' in test ? tests(test.prompt) : 0,
      '-n': 'prompt' in test ? 0 : tests(test.generate),
    };
    const args = Object.entries(options).flatMap(([name, value]) => [name, String(value)]);
    const started = await startProcess({ command: ask.program, args, env: {}, channel: 'fd3' });
    const settings = `threads ${threads}, batch ${batchTokens}, micro-batch ${microBatchTokens}, KV ${kvType}/${kvType}`;
    const bench = new LlamaBenchInTurns(started, {
      promptTokens: 'prompt' in test ? test.prompt : 0,
      generateTokens: 'prompt' in test ? 0 : test.generate,
      depthTokens: 'prompt' in test ? 0 : test.depth,
      settings,
    });
    try {
      await bench.#untilPrinted();
    } catch (error) {
      await started.stop(0);
      throw error;
    }
    return bench;
  }

  /** One test. @returns milliseconds of its measured repetition */
  async turn(): Promise<number> {
    this.#signal('SIGCONT');
    return this.#untilPrinted();
  }

  async stop(): Promise<void> {
    await this.#process.stop(0);
  }

  /** A process that has ended meanwhile says so where its next line is waited for. */
  #signal(name: 'SIGCONT' | 'SIGSTOP'): void {
    try {
      process.kill(this.#process.pid, name);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
    }
  }

  async #untilPrinted(): Promise<number> {
    const line = await this.#nextLine();
    const { samplesMs, ...measured } = readLlamaBench(line);
    const [ms] = samplesMs;
    const [told, wanted] = [measured, this.#wanted].map((test) => JSON.stringify(test));
    if (told !== wanted || ms === undefined || samplesMs.length > 1)
      throw new AppError(
        'engine-protocol',
        `llama-bench measured ${told} ${samplesMs.length} times, not ${wanted} once`,
      );
    return ms;
  }

  /** The process is stopped as soon as there is one. */
  async #nextLine(): Promise<string> {
    const gone = this.#process.exited.then(() => true);
    const deadlineMs = performance.now() + TEST_TIMEOUT_MS;
    while (performance.now() < deadlineMs) {
      const line = this.#process.stdoutTail().trimEnd().split('\n').at(-1) ?? '';
      // No two tests take the same nanoseconds. A line that is not whole ends elsewhere.
      if (line !== this.#last && line.endsWith('}')) {
        this.#signal('SIGSTOP');
        this.#last = line;
        return line;
      }
      if ((await Promise.race([gone, wait(LOOK_EVERY_MS, false)])) === true) break;
    }
    const stderr = lastLines(this.#process.stderrTail(), STDERR_SHOWN_LINES);
    throw new AppError('engine-launch-failed', `llama-bench ended, or took too long for a test:\n${stderr}`);
  }
}
