/**
 * An output that grows under a temporary name with a journal beside it, gets its own name when complete, and can be taken up
 * again after an interruption: `NAME.partial` and `NAME.partial.journal`.
 */
import { lstat, rename, rm } from 'node:fs/promises';
import { AppError, messageOf } from '../../core/errors.ts';
import { isAlive } from '../../platform/environments/lock.ts';
import { temporaryPathFor } from '../file-io.ts';
import { checkDone, type OutputPlace } from './check-done.ts';
import {
  beginJournal,
  changeSince,
  continueJournal,
  readJournal,
  type ConversionIdentity,
  type FoundJournal,
  type Journal,
} from './journal.ts';
import type { TensorDone } from './tensors-in-work.ts';

export interface Continuation {
  /** Go on with what an earlier conversion left; else begin anew and replace it. */
  readonly resume: boolean;
  /** What the user asked for and the result depends on, by the name that the user knows. */
  readonly options: Readonly<Record<string, string | null>>;
  /** Something worth a line. */
  readonly onLine: (text: string) => void;
  /** While the tensors that are there are read again. */
  readonly onChecking: (progress: { readonly doneBytes: number; readonly totalBytes: number }) => void;
}

export interface ResumableRequest {
  readonly finalPath: string;
  /** Null: what is interrupted is removed, as `writeThenRename` does it. */
  readonly continuation: Continuation | null;
  /** Asked only with a continuation. */
  readonly identity: (options: Continuation['options']) => Promise<ConversionIdentity>;
  /** Where each tensor's outputs lie. */
  readonly places: ReadonlyMap<string, readonly OutputPlace[]>;
  readonly signal: AbortSignal | undefined;
  /** Turns what the file system says into an error for the user. */
  readonly explain: (error: unknown) => unknown;
}

export interface PartialOutput {
  readonly path: string;
  readonly isDone: (tensor: string) => boolean;
  readonly tensorDone: (done: TensorDone) => void;
}

/** What `write` leaves must not depend on whether tensors that are done were left out; `finish` checks and completes it. */
export interface OutputSteps<T> {
  readonly write: (output: PartialOutput) => Promise<void>;
  readonly finish: (path: string) => Promise<T>;
  /** Gives it its own name; left out: it is renamed. */
  readonly place?: (path: string) => Promise<void>;
}

/** Lies beside the output until it is complete. */
export function partialPathOf(finalPath: string): string {
  return `${finalPath}.partial`;
}

/** @throws AppError `usage` when it cannot be resumed, `interrupted` when something is kept, and what the steps throw */
export async function writeResumably<T>(request: ResumableRequest, steps: OutputSteps<T>): Promise<T> {
  const { finalPath, continuation, explain } = request;
  try {
    if (continuation !== null) return await write(request, continuation, steps);
    return await writeOnce(finalPath, steps);
  } catch (error) {
    throw explain(error);
  }
}

/** Nothing is kept of what is interrupted. */
async function writeOnce<T>(finalPath: string, steps: OutputSteps<T>): Promise<T> {
  const path = temporaryPathFor(finalPath);
  try {
    await steps.write({ path, isDone: () => false, tensorDone: () => {} });
    const result = await steps.finish(path);
    await (steps.place?.(path) ?? rename(path, finalPath));
    return result;
  } catch (error) {
    await rm(path, { recursive: true, force: true });
    throw error;
  }
}

async function write<T>(request: ResumableRequest, continuation: Continuation, steps: OutputSteps<T>): Promise<T> {
  const { finalPath, places, explain } = request;
  const path = partialPathOf(finalPath);
  const journalPath = `${path}.journal`;
  const { journal, done } = await start(request, continuation, { path, journalPath });
  let isWritten = false;
  let result: T;
  try {
    await steps.write({
      path,
      isDone: (tensor) => done.has(tensor),
      tensorDone(tensor) {
        journal.tensorDone(tensor);
        done.add(tensor.name);
      },
    });
    isWritten = true;
    result = await steps.finish(path);
    await (steps.place?.(path) ?? rename(path, finalPath));
  } catch (error) {
    const isKept = done.size > 0 && isWorthKeeping(error, isWritten, request.signal);
    journal.close(isKept);
    if (isKept) throw kept(explain(error), { request, path, done: done.size, total: places.size });
    await rm(path, { recursive: true, force: true });
    await rm(journalPath, { force: true });
    throw error;
  }
  journal.close(false);
  await rm(journalPath, { force: true });
  return result;
}

interface Paths {
  readonly path: string;
  readonly journalPath: string;
}

async function start(
  request: ResumableRequest,
  continuation: Continuation,
  { path, journalPath }: Paths,
): Promise<{ journal: Journal; done: Set<string> }> {
  const { resume, options, onLine } = continuation;
  const found = await readJournal(journalPath);
  const isThere = await lstat(path).then(
    () => true,
    () => false,
  );
  if (isThere && found === null) throw inTheWay(path);
  refuseWhileHeld(found, journalPath);
  const identity = await request.identity(options);
  if (found === null || !isThere || !resume) {
    if (found !== null && isThere)
      onLine(`An interrupted conversion is replaced: ${path} (--resume would have gone on with it).`);
    await rm(path, { recursive: true, force: true });
    await rm(journalPath, { force: true });
    return { journal: begin(journalPath, identity), done: new Set() };
  }
  const change = changeSince(found.identity, identity);
  if (change !== null) {
    throw new AppError('usage', `${path} cannot be resumed: ${change}.`, {
      hint: 'Convert with the same source and options, or leave --resume out to begin anew.',
    });
  }
  const journal = await continueJournal(journalPath, found);
  try {
    const { places, signal } = request;
    const done = await checkDone(path, { done: found.done, places, signal, onProgress: continuation.onChecking });
    const lost = found.done.size - done.size;
    const words = lost === 0 ? '' : `; ${lost} did not reach the disk and are made again`;
    onLine(`Going on with ${path}: ${done.size} of ${places.size} tensors are there${words}.`);
    return { journal, done };
  } catch (error) {
    journal.close(true);
    throw error;
  }
}

function begin(journalPath: string, identity: ConversionIdentity): Journal {
  try {
    return beginJournal(journalPath, identity);
  } catch (error) {
    throw error instanceof Error && 'code' in error && error.code === 'EEXIST' ? held(null, journalPath) : error;
  }
}

function refuseWhileHeld(found: FoundJournal | null, journalPath: string): void {
  const holder = found?.process ?? null;
  // Our own id: that of a process that is gone, in a container that numbers its processes alike.
  if (holder !== null && holder !== process.pid && isAlive(holder)) throw held(holder, journalPath);
}

function held(holder: number | null, journalPath: string): AppError {
  const who = holder === null ? '' : ` (process ${holder})`;
  return new AppError('usage', `Another runoff${who} is writing the same output.`, {
    hint: `Wait for it or stop it; if there is none, delete ${journalPath} and what lies beside it.`,
  });
}

function inTheWay(path: string): AppError {
  return new AppError('usage', `${path} is in the way, and it is no unfinished conversion: its journal is missing.`, {
    hint: 'Move or delete it, or choose another output with --out.',
  });
}

/** A damaged model stays damaged; an interruption, a full disk or a process that died is another matter. */
function isWorthKeeping(error: unknown, isWritten: boolean, signal: AbortSignal | undefined): boolean {
  if (signal?.aborted === true || !(error instanceof AppError)) return true;
  return error.code === 'conversion-failed' && !isWritten;
}

function kept(
  error: unknown,
  { request, path, done, total }: { request: ResumableRequest; path: string; done: number; total: number },
): AppError {
  const rest = `${done} of ${total} tensors are kept in ${path}.`;
  const next = 'Add --resume to the same command to go on, or delete it.';
  if (request.signal?.aborted === true)
    return new AppError('interrupted', `stopped; ${rest}`, { hint: next, cause: error });
  const { code, hint, context } =
    error instanceof AppError ? error : { code: 'conversion-failed' as const, hint: undefined, context: {} };
  return new AppError(code, `${messageOf(error)} ${rest}`, {
    hint: [hint, next].filter((text) => text !== undefined).join(' '),
    context,
    cause: error,
  });
}
