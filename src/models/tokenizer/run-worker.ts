/** Starts a worker of ./workers and reads what it says; texts and answers lie in files. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AppError } from '../../core/errors.ts';
import { minimumEnvironment } from '../../platform/process/environment.ts';
import { runCommand } from '../../platform/process/run-command.ts';

/** Most vocabularies take under a minute; with gpt-4o's regex llama.cpp needed six on two quiet cores. */
const TIMEOUT_MS = 30 * 60_000;
/**
 * V8 lets its young generation grow to three times 16 MB; most of what a tokenizer makes of a text is garbage at once. And it
 * lets garbage pile up to a multiple of what is in use before it collects it; for size, to a third. Neither is a limit:
 * a larger vocabulary gets what it needs.
 */
const MEMORY_FLAGS = ['--optimize-for-size', '--max-semi-space-size=2'];
/** What a worker said before it ended, for the message. */
const TAIL_CHARACTERS = 600;

export interface WorkerRequest extends WorkerLimits {
  readonly worker: 'llama-cpp' | 'hugging-face' | 'rank-rules' | 'draft';
  /** For messages. */
  readonly title: string;
  /** For messages. */
  readonly textCount: number;
  readonly args: readonly string[];
}

export interface WorkerLimits {
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
}

/** A folder for texts and answers, which is then removed. */
export async function withScratch<T>(use: (scratch: string) => Promise<T>): Promise<T> {
  const scratch = await mkdtemp(join(tmpdir(), 'runoff-tokenizer-'));
  try {
    return await use(scratch);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/**
 * @returns its lines of JSON
 * @throws AppError `engine-died` for a worker that fails, `engine-timeout`, `interrupted`
 */
export async function runWorker({
  worker,
  title,
  textCount,
  args,
  signal,
  timeoutMs = TIMEOUT_MS,
}: WorkerRequest): Promise<readonly unknown[]> {
  // Beside this file, as TypeScript in the source tree and as JavaScript in the package.
  const path = fileURLToPath(new URL(`./workers/${worker}${extname(import.meta.url)}`, import.meta.url));
  const { code, stdout, stderr, timedOut } = await runCommand(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', ...MEMORY_FLAGS, path, ...args],
    {
      timeoutMs,
      env: minimumEnvironment(process.platform, process.env),
      ...(signal === undefined ? {} : { signal }),
    },
  );
  if (timedOut) {
    throw new AppError(
      'engine-timeout',
      `${title} did not tokenise ${textCount} texts within ${Math.round(timeoutMs / 1000)} s.`,
      {
        hint: "Try again when the machine is idle; if it stays so, one of the tokenizer's regexes does not end.",
      },
    );
  }
  // The native library prints lines of its own between ours.
  const lines = stdout
    .split('\n')
    .flatMap((text) => (text.startsWith('{"number":') ? [JSON.parse(text) as unknown] : []));
  if (code === 0 && lines.length > 0) return lines;
  throw new AppError(
    'engine-died',
    `${title} ended while it tokenised (exit code ${code ?? 'none'}): ${stderr.trim().slice(-TAIL_CHARACTERS)}`,
    {
      hint: 'The tokenizer may be one that it cannot load.',
    },
  );
}
