/** Starts a worker of ./workers on a list of texts and reads its answers. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AppError } from '../../core/errors.ts';
import { minimumEnvironment } from '../../platform/process/environment.ts';
import { runCommand } from '../../platform/process/run-command.ts';
import { unpackIds } from './token-lists.ts';

/** Most vocabularies take under a minute; with gpt-4o's regex llama.cpp needed six on two quiet cores. */
const TIMEOUT_MS = 30 * 60_000;
/** V8 lets its young generation grow to three times 16 MB; most of what a tokenizer makes of a text is garbage at once. */
const SEMI_SPACE_MEGABYTES = 2;
/** What a worker said before it ended, for the message. */
const TAIL_CHARACTERS = 600;

export interface WorkerText {
  readonly text: string;
  /** llama.cpp takes control tokens in it as such; Hugging Face's tokenizer always does. */
  readonly special: boolean;
}

export interface WorkerRequest extends WorkerLimits {
  readonly worker: 'llama-cpp' | 'hugging-face' | 'draft';
  /** For messages. */
  readonly title: string;
  readonly texts: readonly WorkerText[];
  /** After the folder and the texts; called with a folder for temporary files. */
  readonly args: (folder: string) => Promise<readonly string[]> | readonly string[];
}

export interface WorkerLimits {
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
}

export interface WorkerAnswer {
  /** Its lines of JSON. */
  readonly lines: readonly unknown[];
  /** Lists of ids by the number of the answer; null where it wrote none. */
  readonly ids: ReadonlyMap<number, readonly Int32Array[]>;
}

/** @throws AppError `engine-died` for a worker that fails, `engine-timeout`, `interrupted` */
export async function runWorker(request: WorkerRequest): Promise<WorkerAnswer> {
  return runWorkerIn(request, async (lines, answers) => {
    const ids = new Map<number, readonly Int32Array[]>();
    for (const { number } of lines) {
      const bytes = await readFile(join(answers, `${number}.bin`)).catch(() => null);
      if (bytes !== null) ids.set(number, unpackIds(bytes));
    }
    return { lines, ids };
  });
}

/** Runs it and lets `read` have its lines and the folder with its answers, which is then removed. */
export async function runWorkerIn<T>(
  request: WorkerRequest,
  read: (lines: readonly { readonly number: number }[], answers: string) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'runoff-tokenizer-'));
  try {
    const answers = join(folder, 'answers');
    const textsPath = join(folder, 'texts.json');
    await mkdir(answers);
    await writeFile(textsPath, JSON.stringify(request.texts));
    return await read(await run([answers, textsPath, ...(await request.args(folder))], request), answers);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function run(
  args: readonly string[],
  { worker, title, texts, signal, timeoutMs = TIMEOUT_MS }: WorkerRequest,
): Promise<{ number: number }[]> {
  // Beside this file, as TypeScript in the source tree and as JavaScript in the package.
  const path = fileURLToPath(new URL(`./workers/${worker}${extname(import.meta.url)}`, import.meta.url));
  const { code, stdout, stderr, timedOut } = await runCommand(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', `--max-semi-space-size=${SEMI_SPACE_MEGABYTES}`, path, ...args],
    {
      timeoutMs,
      env: minimumEnvironment(process.platform, process.env),
      ...(signal === undefined ? {} : { signal }),
    },
  );
  if (timedOut) {
    throw new AppError(
      'engine-timeout',
      `${title} did not tokenise ${texts.length} texts within ${Math.round(timeoutMs / 1000)} s.`,
      {
        hint: "Try again when the machine is idle; if it stays so, one of the tokenizer's regexes does not end.",
      },
    );
  }
  // The native library prints lines of its own between ours.
  const lines = stdout
    .split('\n')
    .flatMap((text) => (text.startsWith('{"number":') ? [JSON.parse(text) as { number: number }] : []));
  if (code === 0 && lines.length > 0) return lines;
  throw new AppError(
    'engine-died',
    `${title} ended while it tokenised (exit code ${code ?? 'none'}): ${stderr.trim().slice(-TAIL_CHARACTERS)}`,
    {
      hint: 'The tokenizer may be one that it cannot load.',
    },
  );
}
