/** Everything that must be there before the first measurement: engines, the model in their formats, prompts, facts. */
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { AppError, messageOf } from '../core/errors.ts';
import type { EngineSettings } from '../core/engine.ts';
import { SCHEMA_VERSION } from '../core/record.ts';
import type { EngineFacts, Machine, Manifest, ModelFacts, Plan } from '../core/record.ts';
import { buildPrompts } from '../core/workload/build-prompts.ts';
import type { Workload } from '../core/workload/build-prompts.ts';
import { headersFolder } from '../models/sources/headers-folder.ts';
import { loadTokenizer } from '../models/tokenizer/load-tokenizer.ts';
import type { ModelTokenizer } from '../models/tokenizer/load-tokenizer.ts';
import { createEnvironments } from '../platform/environments/environments.ts';
import { findPython } from '../platform/environments/python.ts';
import { cacheFolder } from '../platform/folders.ts';
import { readMachine } from '../platform/machine/machine.ts';
import { GATE_CONTEXT_TOKENS, GATE_PROMPTS } from './check-engine.ts';
import { requireModel, withAbsolutePaths } from './asked-paths.ts';
import { carriedModelSpec, ggufFor } from './carried-model.ts';
import { findDefaultModel } from './default-model.ts';
import { enginesOf, foundIn, rungPath, withLibraryIds } from './ladder.ts';
import { takesText } from './machinery.ts';
import type { PreparedEngine } from './machinery.ts';
import { DEFAULT_MODEL, isStudyText, makePlan } from './plan.ts';
import type { PlanFile } from './plan.ts';
import { prepareEngines } from './prepare-engines.ts';
import type { FoundEngine } from './prepare-engines.ts';
import { readTuned } from './tune/tuned-store.ts';
import { withSettings } from './with-settings.ts';
import { prepareMlx, prepareModel } from './prepare-model.ts';
import type { ModelAsk, PreparedModel } from './prepare-model.ts';
import type { Ui } from './ui.ts';

export interface PrepareAsk {
  readonly asked: PlanFile;
  readonly enginePaths: ReadonlyMap<string, string>;
  readonly mayInstall: (question: string) => Promise<boolean>;
  /** Why no model may be downloaded, e.g. `--no-install`; null or left out where it may. */
  readonly offlineBecause?: string | null;
  /** Where nobody names a model: always the demonstration model, instead of what this machine has room and time for. */
  readonly fallback?: 'demonstration';
  readonly version: string;
  readonly signal: AbortSignal;
  readonly ui: Ui;
}

export interface PreparedRun {
  readonly manifest: Manifest;
  readonly engines: readonly PreparedEngine[];
  readonly workload: Workload;
  readonly bannedTokens: readonly number[];
  readonly bosToken: number | null;
  readonly vocabularySize: number;
  readonly warnings: readonly string[];
  /** Why this model, where nobody named one; null where somebody did. */
  readonly modelReason: string | null;
}

const BATCH_TOKENS = 512;
const CONTEXT_STEP_TOKENS = 256;
/** A prompt file is text that a person wrote or an application makes; more is a wrong path. */
const PROMPT_FILE_BYTES_MAX = 64 << 20;
const STUDY_TEXT_URL = new URL('../../assets/study-long.txt', import.meta.url);
/** Nonces are drawn from words of this shape, so that a request stays ordinary text. */
const NONCE_WORD = /^ [A-Za-z]{3,}$/;
const NONCE_TOKENS_MAX = 20_000;

/** @throws AppError with what is missing and what to do; nothing is measured before this is complete. */
export async function prepareRun(request: PrepareAsk): Promise<PreparedRun> {
  const ask = { ...request, asked: withAbsolutePaths(request.asked) };
  const { ui, signal, offlineBecause = null } = ask;
  const isLadder = ask.asked.ladder === true;
  const folder = cacheFolder();
  const onProgress = (text: string): void => ui.status(text);
  const headers = headersFolder(join(folder, 'models'));
  await requireModel(ask.asked.model, { offlineBecause, headersFolder: headers, signal, onProgress });
  const environments = createEnvironments({
    cacheFolder: folder,
    gpu: ask.asked.gpu ?? 'auto',
    onProgress,
  });
  const places = {
    enginePaths: ask.enginePaths,
    environments,
    ...(isLadder ? { pathFor: rungPath(environments) } : {}),
  };
  const prepared = await prepareEngines({
    engines: await enginesOf(ask.asked, foundIn(places)),
    ...places,
    mayInstall: ask.mayInstall,
    signal,
    ui,
  });
  const { found } = prepared;
  const facts = isLadder ? await withLibraryIds(prepared.facts, environments) : prepared.facts;
  if (found.length === 0) throw noEngine(facts);
  const chosen = await modelOf(ask, found);
  const asked = { ...ask.asked, model: chosen.spec };
  const modelAsk: ModelAsk = {
    spec: chosen.spec,
    cacheFolder: folder,
    python: (await findPython())?.path ?? null,
    offlineBecause,
    signal,
    ui,
  };
  const model = await prepareModel(modelAsk);
  const given = await prepareFormats(found, facts, model, modelAsk);
  ui.status('Building the prompts');
  const tokenizer = await loadTokenizer(model.path);
  const machine = await readMachine();
  const texts = new PromptTexts(tokenizer);
  const plan = await makePlan(model.pinned === null ? asked : { ...asked, model: model.pinned }, {
    physicalCores: Math.min(machine.physicalCores, availableParallelism()),
    randomSeed: Math.trunc(Math.random() * 2 ** 32),
    countFileTokens: (path) => texts.countFile(path),
    countStudyTokens: async () => tokenizer.encode(await texts.study()).length,
  });
  const formats = plan.tuned ? await tuneFormats(given, folder, machine, model, ui) : given;
  const manifest = makeManifest(ask, plan, machine, model, formats);
  const workload = await makeWorkload(plan, model, tokenizer, texts, formats.engines.some(takesText));
  signal.throwIfAborted();
  ui.done();
  const warnings = [...model.warnings, ...formats.warnings, ...(tokenizer.warning === null ? [] : [tokenizer.warning])];
  return {
    manifest,
    workload,
    warnings,
    modelReason: chosen.reason,
    engines: formats.engines,
    bannedTokens: model.gguf.endTokenIds,
    bosToken: model.gguf.bosTokenId,
    vocabularySize: model.gguf.vocabularySize,
  };
}

/** As asked; else the one that a program brings; else what fits this machine and the time. */
async function modelOf(
  { asked, fallback }: PrepareAsk,
  found: readonly FoundEngine[],
): Promise<{ readonly spec: string; readonly reason: string | null }> {
  const named = asked.model ?? carriedModelSpec(found);
  if (named !== null) return { spec: named, reason: null };
  return fallback === undefined ? findDefaultModel(asked, found) : { spec: DEFAULT_MODEL, reason: null };
}

function noEngine(facts: readonly EngineFacts[]): AppError {
  const list = facts
    .map(({ id, reason, nextStep }) => `  ${id}: ${(reason ?? '').replace(/\.?$/, '.')} ${nextStep ?? ''}`)
    .join('\n');
  return new AppError('nothing-to-compare', `no engine can run here:\n${list}`, {
    hint: 'Follow a next step above and run again.',
  });
}

interface Formats {
  readonly engines: PreparedEngine[];
  readonly facts: EngineFacts[];
  readonly models: ModelFacts[];
  readonly warnings: string[];
}

/** Each engine gets the model in its format; one whose format cannot be made is listed with the reason. */
async function prepareFormats(
  found: readonly FoundEngine[],
  facts: readonly EngineFacts[],
  model: PreparedModel,
  ask: ModelAsk,
): Promise<Formats> {
  const result: Formats = { engines: [], facts: [...facts], models: [model.facts], warnings: [] };
  for (const item of found) {
    if (item.engine.modelFormat === 'served') {
      result.engines.push({ ...item, modelPath: model.path, modelSha256: null });
      result.models.push(servedModel(item, model));
      continue;
    }
    try {
      if (item.engine.modelFormat === 'gguf') {
        const modelPath = await ggufFor(item, model, ask);
        result.engines.push({ ...item, modelPath, modelSha256: model.facts.sha256 });
        continue;
      }
      const mlx = await prepareMlx(model, item.found.device, ask);
      result.engines.push({ ...item, modelPath: mlx.path, modelSha256: null });
      result.models.push(mlx.facts);
      result.warnings.push(...mlx.warnings);
    } catch (error) {
      if (!(error instanceof AppError) || ask.signal.aborted) throw error;
      ask.ui.line(`${item.engine.id}: the model cannot be given to it: ${error.message}`);
      const index = result.facts.findIndex(({ id }) => id === item.engine.id);
      const before = result.facts[index];
      if (before !== undefined) {
        result.facts[index] = {
          ...before,
          state: 'unavailable',
          reason: error.message.slice(0, 1_900),
          nextStep: error.hint ?? null,
        };
      }
    }
  }
  if (result.engines.length === 0) throw noEngine(result.facts);
  return result;
}

/** Each engine gets what `runoff tune` found for it here; one that was not tuned keeps the common settings, and is named. */
async function tuneFormats(
  formats: Formats,
  folder: string,
  machine: Machine,
  model: PreparedModel,
  ui: Ui,
): Promise<Formats> {
  const { sha256 } = model.facts;
  const result: Formats = { ...formats, engines: [], facts: [...formats.facts] };
  for (const prepared of formats.engines) {
    const { id } = prepared.engine;
    const { version } = prepared.found.build;
    const tuned =
      sha256 === null ? null : await readTuned(folder, { engine: id, version, modelSha256: sha256, machine });
    if (tuned === null)
      ui.line(
        `${id} was not tuned for this model here: it keeps the common settings. Next: runoff tune --engine ${id}`,
      );
    const settings = tuned?.settings ?? {};
    result.engines.push({ ...prepared, engine: withSettings(prepared.engine, settings) });
    const index = result.facts.findIndex((facts) => facts.id === id);
    const before = result.facts[index];
    if (before !== undefined) result.facts[index] = { ...before, tuned: settings };
  }
  return result;
}

/** What a server says that it serves: its files cannot be read, so nothing about its weights is proven. */
function servedModel({ found }: FoundEngine, { facts }: PreparedModel): ModelFacts {
  return {
    ...facts,
    name: found.servedModel ?? found.location,
    path: found.location,
    format: 'served',
    sha256: null,
    fingerprint: null,
    bitsPerWeight: null,
    quantisation: 'unknown',
    derivedBy: null,
  };
}

function makeManifest(ask: PrepareAsk, plan: Plan, machine: Machine, model: PreparedModel, formats: Formats): Manifest {
  return {
    schemaVersion: SCHEMA_VERSION,
    runoffVersion: ask.version,
    runId: randomUUID(),
    startedAt: new Date().toISOString(),
    plan,
    settings: matchedSettings(plan, model),
    machine,
    models: formats.models,
    engines: formats.facts,
  };
}

/** One set of settings for every engine. @throws AppError `plan-invalid` when the model's context is too short. */
function matchedSettings(plan: Plan, model: PreparedModel): EngineSettings {
  const longest = Math.max(...plan.prompts.map(({ tokenCount }) => tokenCount));
  const needed = longest + plan.generateTokens;
  if (needed > model.gguf.contextTokens) {
    throw new AppError(
      'plan-invalid',
      `a prompt of ${longest} tokens and ${plan.generateTokens} generated do not fit into this model's context of ${model.gguf.contextTokens} tokens`,
      {
        hint: 'Choose a shorter --prompt or a smaller --generate: an engine would cut the prompt silently.',
      },
    );
  }
  // One token to spare: servers refuse a prompt that fills the context.
  const contextTokens =
    Math.ceil((Math.max(needed, GATE_CONTEXT_TOKENS) + 1) / CONTEXT_STEP_TOKENS) * CONTEXT_STEP_TOKENS;
  return {
    threads: plan.threads,
    contextTokens,
    batchTokens: BATCH_TOKENS,
    microBatchTokens: BATCH_TOKENS,
    kvType: 'f16',
    flashAttention: true,
    mmap: true,
    gpu: plan.gpu,
  };
}

async function makeWorkload(
  plan: Plan,
  model: PreparedModel,
  tokenizer: ModelTokenizer,
  texts: PromptTexts,
  needsText: boolean,
): Promise<Workload> {
  const bodyTexts: Record<string, string> = {};
  for (const prompt of plan.prompts) if (!isStudyText(prompt)) bodyTexts[prompt.name] = await texts.file(prompt.source);
  return buildPrompts({
    tokenizerEncode: (text) => tokenizer.encode(text),
    bodyText: await texts.study(),
    bodyTexts,
    prompts: [...plan.prompts, ...GATE_PROMPTS],
    seed: plan.seed,
    vocabularySize: model.gguf.vocabularySize,
    bannedTokens: model.gguf.endTokenIds,
    nonceTokens: nonceTokens(tokenizer, model.gguf.endTokenIds),
    addBos: model.gguf.addBos,
    bosToken: model.gguf.bosTokenId,
    ...(needsText ? { tokenizerDecode: (tokens: readonly number[]) => tokenizer.decode([...tokens]) } : {}),
  });
}

function nonceTokens(tokenizer: ModelTokenizer, banned: readonly number[]): number[] {
  const tokens: number[] = [];
  for (let id = 0; id < tokenizer.vocabularySize && tokens.length < NONCE_TOKENS_MAX; id++) {
    if (!banned.includes(id) && NONCE_WORD.test(tokenizer.decode([id]))) tokens.push(id);
  }
  return tokens;
}

/** The shipped text and the user's files, each read once. */
class PromptTexts {
  private readonly tokenizer: ModelTokenizer;
  private readonly texts = new Map<string, string>();

  constructor(tokenizer: ModelTokenizer) {
    this.tokenizer = tokenizer;
  }

  async study(): Promise<string> {
    return this.read('study', () => readFile(STUDY_TEXT_URL, 'utf8'));
  }

  async file(path: string): Promise<string> {
    return this.read(path, () => readFile(path, 'utf8'));
  }

  async countFile(path: string): Promise<number | null> {
    if (!existsSync(path)) return null;
    const { size } = await stat(path);
    if (size > PROMPT_FILE_BYTES_MAX)
      throw new AppError(
        'plan-invalid',
        `the prompt file ${path} has ${size} bytes; the limit is ${PROMPT_FILE_BYTES_MAX}`,
      );
    try {
      const count = this.tokenizer.encode(await this.file(path)).length;
      if (count > 0) return count;
    } catch (error) {
      throw new AppError('plan-invalid', `the prompt file ${path} cannot be read: ${messageOf(error)}`, {
        cause: error,
      });
    }
    throw new AppError('plan-invalid', `the prompt file ${path} is empty`);
  }

  private async read(key: string, load: () => Promise<string>): Promise<string> {
    const kept = this.texts.get(key);
    if (kept !== undefined) return kept;
    const text = await load();
    this.texts.set(key, text);
    return text;
  }
}
