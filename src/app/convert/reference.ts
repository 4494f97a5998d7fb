/**
 * The converters of llama.cpp and of mlx-lm, in managed environments: for architectures that runoff does not convert itself.
 * What they make is checked like anything from outside, and recorded as theirs.
 */
import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { AppError } from '../../core/errors.ts';
import { identifySources } from '../../models/resume/identity.ts';
import { compareWeights, type WeightsComparison } from '../../models/verify/compare-weights.ts';
import type { Environments, ReadyEnvironment } from '../../platform/environments/environments.ts';
import { folderBytes } from '../../platform/folders.ts';
import { lastLines } from '../../platform/process/byte-tail.ts';
import { minimumEnvironment } from '../../platform/process/environment.ts';
import { runCommand } from '../../platform/process/run-command.ts';
import type { Ui } from '../ui.ts';
import { writeMadeBy, type ModelKind } from './made-by.ts';
import { conversionProgress } from './progress.ts';

/** What is asked of the user before anything is installed or run. */
export interface ReferencePermission {
  readonly mayInstall: (question: string) => Promise<boolean>;
  /** The model's folder holds Python code that the converter may run. */
  readonly mayRunCode: (question: string) => Promise<boolean>;
}

export interface ReferenceAsk extends ReferencePermission {
  /** A Hugging Face folder. */
  readonly source: string;
  readonly environments: Environments;
  readonly signal: AbortSignal;
  readonly ui: Ui;
}

export interface Reference {
  /** Managed environment. */
  readonly id: string;
  /** `llama.cpp's converter`. */
  readonly title: string;
  /** Packages whose versions say which converter it was. */
  readonly packages: readonly string[];
}

/** An architecture that runoff does not convert is the reference's business; weights that are damaged or quantised are nobody's. */
export function isForReference(error: unknown): error is AppError {
  return error instanceof AppError && error.code === 'model-unsupported' && 'architecture' in error.context;
}

/** A model of 400 GB on a slow disk; a converter that needs longer hangs. */
const TIMEOUT_MS = 12 * 3_600_000;
/** A Python traceback ends with what is wrong. */
const SHOWN_LINES = 4;
const POLL_MS = 1_000;
const CODE_FILES_SHOWN = 3;

/** Asks, installs. @throws AppError `environment-failed` where it cannot be had or is not wanted, `interrupted` */
export async function readyReference(reference: Reference, ask: ReferenceAsk): Promise<ReadyEnvironment> {
  const { environments, signal, ui } = ask;
  const found = await environments.inspect(reference.id);
  if (found.state === 'impossible')
    throw new AppError('environment-failed', `${reference.title} cannot be used here: ${found.reason}.`, {
      hint: found.nextStep,
    });
  await askAboutCode(reference, ask);
  if (found.state === 'ready') return found;
  const megabytes = Math.round(found.downloadBytes / 1e6);
  const question = `Install ${found.what} to convert this model (about ${megabytes} MB, kept in the cache)?`;
  if (!(await ask.mayInstall(question))) {
    throw new AppError(
      'environment-failed',
      `${reference.title} is not installed (${found.what}, about ${megabytes} MB to download).`,
      { hint: 'Say yes, or leave --no-install out. Without it runoff converts only the architectures that it knows.' },
    );
  }
  ui.line(`Installing ${found.what}, about ${megabytes} MB`);
  return environments.ensure(reference.id, { signal });
}

async function askAboutCode({ title }: Reference, { source, mayRunCode }: ReferenceAsk): Promise<void> {
  const code = (await readdir(source)).filter((name) => name.endsWith('.py')).toSorted();
  if (code.length === 0) return;
  const names = [...code.slice(0, CODE_FILES_SHOWN), ...(code.length > CODE_FILES_SHOWN ? ['...'] : [])].join(', ');
  const words = `The model's folder holds Python code (${names}), which ${title} may run`;
  if (await mayRunCode(`${words}. Go on?`)) return;
  throw new AppError('usage', `${words}: not without your word.`, {
    hint: 'Look at it; then add --yes, or move it out of the folder.',
  });
}

export interface ReferenceRun {
  readonly reference: Reference;
  readonly environment: ReadyEnvironment;
  /** Of its Python. */
  readonly args: readonly string[];
  /** Grows while it works. */
  readonly output: string;
}

/** @throws AppError `conversion-failed` with its last words, `interrupted` */
export async function runReference(
  { reference, environment, args, output }: ReferenceRun,
  { signal, ui }: Pick<ReferenceAsk, 'signal' | 'ui'>,
): Promise<void> {
  const tell = (bytes: number): void =>
    ui.status(`Converting with ${reference.title} (${Math.round(bytes / 1e6)} MB written)`);
  tell(0);
  const timer = setInterval(() => void folderBytes(output).then(tell), POLL_MS);
  try {
    const { code, stderr, stdout, timedOut } = await runCommand(environment.runtime, args, {
      timeoutMs: TIMEOUT_MS,
      signal,
      // Away from the model: Python must not take a file there for a module of its own.
      cwd: environment.root,
      env: {
        ...minimumEnvironment(process.platform, process.env),
        // What is missing in the folder is an error, not a download of something else.
        HF_HUB_OFFLINE: '1',
        TRANSFORMERS_OFFLINE: '1',
        PYTHONUTF8: '1',
      },
    });
    if (code === 0) return;
    const words = timedOut ? `no end after ${TIMEOUT_MS / 3_600_000} hours` : lastLines(stderr || stdout, SHOWN_LINES);
    throw new AppError('conversion-failed', `${reference.title} failed:\n${words}`, {
      hint: 'It may not know this architecture, or its tokenizer, either; a newer one may.',
      context: { command: [environment.runtime, ...args], code },
    });
  } finally {
    clearInterval(timer);
  }
}

/** Which converter made it, in words: `llama.cpp's converter (llama.cpp b11434, torch 2.11.0)`. */
export function nameOf({ title, packages }: Reference, environment: ReadyEnvironment): string {
  const versions = packages.map((name) => `${name} ${environment.packages[name] ?? 'of unknown version'}`);
  return `${title} (${versions.join(', ')})`;
}

/**
 * Compared with the source tensor by tensor, as far as names tell which belong together.
 * @returns a sentence for the user
 */
export async function compareWithSource(
  source: string,
  output: string,
  { signal, ui }: Pick<ReferenceAsk, 'signal' | 'ui'>,
): Promise<string> {
  try {
    const comparison = await compareWeights(source, output, {
      // Nothing is refused for being far off: see `inWords`.
      relativeRmseMax: Number.POSITIVE_INFINITY,
      signal,
      onProgress: conversionProgress(ui, 'Comparing with the source'),
    });
    return inWords(comparison);
  } catch (error) {
    if (!(error instanceof AppError) || signal.aborted) throw error;
    return `The weights were not compared with the source's: ${error.message}`;
  }
}

/** Pure. An architecture that runoff does not know may be stored in another way on purpose. */
export function inWords(comparison: WeightsComparison): string {
  const { verdict, differing, missingIn, otherShapes, identicalTensorCount } = comparison;
  const [worst] = differing;
  if (verdict === 'identical') return "Every weight is the same number as in the source's; that was checked.";
  const unmatched = missingIn.a.length + missingIn.b.length + otherShapes.length;
  if (unmatched === 0 && worst !== undefined) {
    const same = identicalTensorCount === 0 ? '' : `${identicalTensorCount} tensors are the same, `;
    return `Compared with the source: ${same}the worst, ${worst.name}, is off by a relative RMSE of ${worst.relativeRmse.toPrecision(2)}.`;
  }
  return `Compared with the source as far as names tell: ${identicalTensorCount} tensors are the same, ${differing.length} differ, ${unmatched} could not be matched.`;
}

/**
 * Writes the record beside the model.
 * @param args with the output's final name
 */
export async function recordReference(
  model: { readonly path: string; readonly kind: ModelKind },
  {
    source,
    reference,
    environment,
    args,
    comparison,
  }: Omit<ReferenceRun, 'output'> & { source: string; comparison: string },
): Promise<void> {
  const files = (await readdir(source, { withFileTypes: true })).filter((entry) => entry.isFile());
  await writeMadeBy(model, {
    madeBy: nameOf(reference, environment),
    // Without the folders of this machine, which are nobody's business.
    command: args.map((word) => basename(word)),
    packages: environment.packages,
    source: await identifySources(files.map(({ name }) => join(source, name)).toSorted()),
    comparison,
  });
}
