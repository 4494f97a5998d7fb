/**
 * From the start of a process to its first token: what a user of an application waits for when it starts the engine on
 * demand. Measured apart from runs, kept per machine, engine version and model.
 */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { AppError } from '../core/errors.ts';
import type { EngineSettings } from '../core/engine.ts';
import type { Machine } from '../core/record.ts';
import { median } from '../core/stats/describe.ts';
import { atomicWrite } from '../platform/files/atomic-write.ts';
import { takesText } from './machinery.ts';
import type { Machinery, PreparedEngine } from './machinery.ts';
import type { Ui } from './ui.ts';

/** Fresh processes that count; one before them brings the engine's own files into the page cache. */
const STARTS = 3;
export const COLD_START_PROMPT_TOKENS = 8;
/** The second token: some engines hand over the first only when they have prepared the next. */
const GENERATE_TOKENS = 2;
/** Loading a large model from a slow disk; a start that takes longer than this is hung. */
const START_TIMEOUT_MS = 300_000;
const REQUEST_TIMEOUT_MS = 120_000;
/** A file holds some 1 kB, and a folder one file per engine version and model. */
const FILE_BYTES_MAX = 64 << 10;
const FILES_MAX = 1_000;

const TEXT = z.string().min(1).max(2_000);
const coldStartSchema = z.object({
  schemaVersion: z.literal(1),
  engine: TEXT,
  /** As the engine's detection reports it. */
  version: TEXT,
  device: TEXT,
  model: z.object({ name: TEXT, sha256: z.string().regex(/^[0-9a-f]{64}$/) }),
  machine: z.object({ os: TEXT, cpu: TEXT, physicalCores: z.int().positive() }),
  threads: z.int().positive(),
  promptTokens: z.int().positive(),
  /** YYYY-MM-DD. */
  date: z.string().regex(/^\d{4}-\d{2}-\d{2}$/),
  /** Process start to first token, ms, one per fresh process, in the order measured. */
  startsMs: z.array(z.number().positive().finite()).min(1).max(20),
});
export type ColdStart = z.infer<typeof coldStartSchema>;

export interface ColdStartPrompt {
  readonly promptTokens: readonly number[];
  /** For engines that take text only: what encodes to the tokens, without a BOS. */
  readonly promptText: string;
  readonly bannedTokens: readonly number[];
}

export interface ColdStartAsk {
  readonly prepared: PreparedEngine;
  readonly settings: EngineSettings;
  readonly prompt: ColdStartPrompt;
  readonly signal: AbortSignal;
  readonly ui: Ui;
}

/**
 * Starts the engine four times, each time in a fresh process, and takes the last three.
 * @returns ms from process start to first token, and the device that the engine computed on
 * @throws AppError of the engine that does not start or answer; `interrupted`
 */
export async function measureColdStart(
  machinery: Machinery,
  ask: ColdStartAsk,
): Promise<{ readonly startsMs: number[]; readonly device: string }> {
  await machinery.warmPageCache(ask.prepared.modelPath);
  const startsMs: number[] = [];
  let device = 'unknown';
  for (let start = 0; start <= STARTS; start += 1) {
    ask.ui.status(`${ask.prepared.engine.id}: start ${start + 1} of ${STARTS + 1}`);
    const result = await startOnce(machinery, ask);
    device = result.device;
    if (start > 0) startsMs.push(result.ms);
  }
  return { startsMs, device };
}

async function startOnce(
  machinery: Machinery,
  { prepared, settings, prompt, signal }: ColdStartAsk,
): Promise<{ ms: number; device: string }> {
  if (signal.aborted) throw new AppError('interrupted', 'stopped while starting engines');
  const running = await machinery.start(prepared, settings, START_TIMEOUT_MS);
  try {
    const { eventMs } = await running.session.generate({
      promptTokens: prompt.promptTokens,
      ...(takesText(prepared) ? { promptText: prompt.promptText } : {}),
      generateTokens: GENERATE_TOKENS,
      bannedTokens: prompt.bannedTokens,
      topLogprobs: 0,
      timeoutMs: REQUEST_TIMEOUT_MS,
    });
    const [first] = eventMs;
    if (first === undefined) throw new AppError('engine-protocol', `${prepared.engine.id} answered without a token`);
    return { ms: running.loadMs + first, device: running.session.info.device };
  } finally {
    await running.stop();
  }
}

/** Pure: eight tokens that begin a sentence, with the BOS where the model wants one. @throws AppError for a tokenizer without text. */
export function coldStartPrompt(
  tokenizer: { encode(text: string): number[]; decode(ids: readonly number[]): string },
  model: { readonly addBos: boolean; readonly bosTokenId: number | null; readonly endTokenIds: readonly number[] },
): ColdStartPrompt {
  const bos = model.addBos && model.bosTokenId !== null ? [model.bosTokenId] : [];
  const body = tokenizer.encode(SENTENCE).slice(0, COLD_START_PROMPT_TOKENS - bos.length);
  if (body.length + bos.length < COLD_START_PROMPT_TOKENS) {
    throw new AppError(
      'model-unsupported',
      `the model's tokenizer makes ${body.length} tokens of a sentence of 16 words`,
    );
  }
  return { promptTokens: [...bos, ...body], promptText: tokenizer.decode(body), bannedTokens: model.endTokenIds };
}

const SENTENCE = 'The house by the river was old, and nobody had lived in it for many years.';

export type ColdStartKey = Pick<ColdStart, 'engine' | 'version' | 'model' | 'machine'>;

/** One file per machine, engine version and model; measured again, it is replaced. */
export async function keepColdStart(folder: string, entry: ColdStart): Promise<void> {
  await mkdir(folder, { recursive: true });
  const { engine, version, model, machine } = entry;
  const parts = [engine, version, model.sha256, machine.os, machine.cpu, machine.physicalCores];
  const key = createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32);
  await atomicWrite(join(folder, `${key}.json`), `${JSON.stringify(entry, null, 2)}\n`);
}

/** All that were measured on this machine; files that are not ours or cannot be read are passed over. */
export async function readColdStarts(folder: string, machine: Machine): Promise<ColdStart[]> {
  const names = (await readdir(folder).catch((): string[] => [])).filter((name) => name.endsWith('.json'));
  const entries = await Promise.all(names.slice(0, FILES_MAX).map((name) => readEntry(join(folder, name))));
  return entries
    .filter((entry) => entry !== null)
    .filter(
      ({ machine: of }) => of.cpu === machine.cpu && of.os === machine.os && of.physicalCores === machine.physicalCores,
    );
}

async function readEntry(path: string): Promise<ColdStart | null> {
  try {
    if ((await stat(path)).size > FILE_BYTES_MAX) return null;
    return coldStartSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    return null;
  }
}

/** Pure: ms. */
export function coldStartMs({ startsMs }: Pick<ColdStart, 'startsMs'>): number {
  return median(startsMs);
}
