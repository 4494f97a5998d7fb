/**
 * Before anything is measured: does this engine do the work that it is asked for, and what does it cost? Once per
 * engine, in a process of its own: validity gates (protocol phase P2) and the pilot that the planner needs.
 */
import type { Generation, LoadedInfo } from '../core/engine.ts';
import { AppError } from '../core/errors.ts';
import type { EngineFacts, Manifest, RunEvent } from '../core/record.ts';
import { toSample } from '../core/sample.ts';
import type { GateResult } from '../core/validity/gate-result.ts';
import { mergeSettings } from '../core/tune/merge-settings.ts';
import {
  contextPerSlotGate,
  doubleBosGate,
  earlyEndGate,
  settingsGate,
  tokenCountGate,
  truncationGate,
  wrongModelGate,
} from '../core/validity/gates.ts';
import type { Needle } from '../core/validity/gates.ts';
import { promptCacheGate } from '../core/validity/prompt-cache.ts';
import type { Workload } from '../core/workload/build-prompts.ts';
import { takesText } from './machinery.ts';
import type { Machinery, PreparedEngine, RunningEngine } from './machinery.ts';

/** Long enough that a cached or cut prompt shows, short enough to cost a second. */
const LENGTH_TOKENS = 256;
/** Engines that need more than this for 256 tokens are probed with short prompts: gates must not eat the budget. */
const LENGTH_SLOW_TOKENS = 64;
const SLOW_PREFILL_MS = 4_000;
const PROBE_TOKENS = 32;
const PROBE_GENERATE = 8;
const PILOT_GENERATE = 16;
const TOP_LOGPROBS = 20;
/** Without log-probabilities the texts are compared: one token may be the same by chance, these are not. */
const NEEDLE_GENERATE = 8;
/** A server's BOS and EOS; what differs by more comes from another tokenizer. */
const ADDED_TOKENS_MAX = 2;
/** A neighbour's burst in the pilot would make the plan too small: the quickest of these is what the engine costs. */
const PILOT_TRIES = 3;
/** Timing can be disturbed: a cache is only called a cache when it shows in every try. */
const CACHE_TRIES = 3;
const LOAD_TIMEOUT_MS = 300_000;
const REQUEST_TIMEOUT_MS = 120_000;
const STOP_ESTIMATE_MS = 100;

/** Lengths that gate prompts come in, each with its double; `buildPrompts` is told these names. */
export const GATE_PROMPTS = [
  ...new Set([PROBE_TOKENS, LENGTH_SLOW_TOKENS, LENGTH_TOKENS].flatMap((length) => [length, 2 * length])),
].map((tokenCount) => ({ name: gatePrompt(tokenCount), tokenCount }));
export const GATE_CONTEXT_TOKENS = 2 * LENGTH_TOKENS + PILOT_GENERATE;

export interface CheckAsk {
  readonly prepared: PreparedEngine;
  readonly facts: EngineFacts;
  readonly manifest: Manifest;
  readonly workload: Workload;
  readonly bannedTokens: readonly number[];
  readonly bosToken: number | null;
  readonly vocabularySize: number;
  /** On the machinery's clock: an engine that hangs must leave time to the others. */
  readonly deadlineMs: number;
  readonly append: (event: RunEvent) => Promise<void>;
  readonly onStep: (what: string) => void;
  readonly signal: AbortSignal;
}

export function gatePrompt(tokenCount: number): string {
  return `gate-${tokenCount}`;
}

/** Appends the engine's facts, its gates and its pilot costs to the run. Rejects when the engine does not start or answer. */
export async function checkEngine(machinery: Machinery, ask: CheckAsk): Promise<void> {
  const { prepared, manifest } = ask;
  await machinery.warmPageCache(prepared.modelPath);
  ask.onStep('starting');
  const running = await machinery.start(prepared, manifest.settings, timeoutFor(machinery, ask, LOAD_TIMEOUT_MS));
  try {
    const check = new Check(machinery, ask, running);
    const added = await check.addedTokens();
    const offset = added === 0 ? {} : { addedPromptTokens: added };
    await ask.append({ type: 'engine-facts', facts: { ...ask.facts, ...loadedFacts(running), ...offset } });
    const pilot = await check.run();
    const startMs = running.loadMs + STOP_ESTIMATE_MS;
    await ask.append({ type: 'pilot', engine: prepared.engine.id, startMs, ...pilot });
  } finally {
    await running.stop();
  }
}

function timeoutFor(machinery: Machinery, { deadlineMs, prepared }: CheckAsk, mostMs: number): number {
  const leftMs = deadlineMs - machinery.nowMs();
  if (leftMs > 0) return Math.min(leftMs, mostMs);
  throw new AppError('engine-timeout', `${prepared.engine.id} needs more than its share of the time for the checks`, {
    hint: 'Give more time: --budget.',
  });
}

function loadedFacts({ session, command }: RunningEngine): Partial<EngineFacts> {
  const { build, device, numericMode, settings } = session.info;
  return { build, device, numericMode, settings, command: [...command] };
}

interface Pilot {
  readonly prefillMsPerToken: number;
  readonly decodeMsPerToken: number;
}

class Check {
  private readonly machinery: Machinery;
  private readonly ask: CheckAsk;
  private readonly running: RunningEngine;
  private readonly cachedCounts: (number | null)[] = [];
  /** The worst result of each gate over all requests. */
  private readonly worst = new Map<string, GateResult>();
  private prompts = 0;
  private added = 0;

  constructor(machinery: Machinery, ask: CheckAsk, running: RunningEngine) {
    this.machinery = machinery;
    this.ask = ask;
    this.running = running;
  }

  /**
   * How many tokens the server counts more than we do, for engines that take text: found with two prompts of different
   * length, so that another tokenizer is not taken for a BOS. Prompts make up for it from then on.
   */
  async addedTokens(): Promise<number> {
    if (!takesText(this.ask.prepared)) return 0;
    this.ask.onStep('first request');
    const differences: number[] = [];
    for (const length of [PROBE_TOKENS, LENGTH_SLOW_TOKENS])
      differences.push((await this.generate(this.fresh(length), 1, 0)).promptTokenCount - length);
    const [first = 0, second = 0] = differences;
    if (first === second && Math.abs(first) <= ADDED_TOKENS_MAX) this.added = first;
    return this.added;
  }

  async run(): Promise<Pilot> {
    const length = await this.chooseLength();
    this.ask.onStep('validity gates');
    const generate = length === LENGTH_TOKENS ? PILOT_GENERATE : PROBE_GENERATE;
    const prompt = this.fresh(length);
    const first = await this.request(prompt, generate);
    // At once: a cache may forget a prompt when others come in between.
    this.keep(promptCacheGate(await this.cacheEvidence(prompt, first)));
    const pilot = await this.pilot(length, generate, first);
    this.keep(await this.truncation(length === LENGTH_TOKENS ? prompt : this.fresh(PROBE_TOKENS)));
    this.keepStatic(this.running.session.info, prompt, first);
    for (const gate of this.worst.values())
      await this.ask.append({ type: 'gate', engine: this.ask.prepared.engine.id, ...gate });
    return pilot;
  }

  /** A slow engine is asked once: its costs are known well enough, and the budget is not. */
  private async pilot(length: number, generate: number, first: Generation): Promise<Pilot> {
    const costs = [pilotOf(length, first)];
    while (length === LENGTH_TOKENS && costs.length < PILOT_TRIES)
      costs.push(pilotOf(length, await this.request(this.fresh(length), generate)));
    return {
      prefillMsPerToken: Math.min(...costs.map(({ prefillMsPerToken }) => prefillMsPerToken)),
      decodeMsPerToken: Math.min(...costs.map(({ decodeMsPerToken }) => decodeMsPerToken)),
    };
  }

  /** The first request is cold and only warms; the second tells the cost. */
  private async chooseLength(): Promise<number> {
    this.ask.onStep('first request');
    await this.request(this.fresh(PROBE_TOKENS), PROBE_GENERATE);
    const probe = await this.request(this.fresh(PROBE_TOKENS), PROBE_GENERATE);
    const perTokenMs = (probe.eventMs[0] ?? 0) / PROBE_TOKENS;
    return perTokenMs * LENGTH_TOKENS > SLOW_PREFILL_MS ? LENGTH_SLOW_TOKENS : LENGTH_TOKENS;
  }

  private async cacheEvidence(
    prompt: readonly number[],
    first: Generation,
  ): Promise<Parameters<typeof promptCacheGate>[0]> {
    const length = prompt.length;
    const keepsPrompts = this.ask.prepared.found.runningInstance === true;
    let base = { prompt, answer: first };
    for (let attempt = 1; ; attempt++) {
      const again = await this.request(base.prompt, 1);
      if (keepsPrompts) this.cachedCounts.pop();
      const doubled = await this.request(this.fresh(2 * length), 1);
      const ttftMs = base.answer.eventMs[0] ?? 0;
      const evidence = {
        cachedTokenCounts: [...this.cachedCounts],
        doubling: { lengthTokens: length, ttftMs, ttftDoubledMs: doubled.eventMs[0] ?? 0 },
        repeat: { ttftFirstMs: ttftMs, ttftSecondMs: again.eventMs[0] ?? 0, cachedTokenCount: again.cachedTokenCount },
        keepsPrompts,
      };
      if (attempt >= CACHE_TRIES || promptCacheGate(evidence).outcome !== 'failed') return evidence;
      const next = this.fresh(length);
      base = { prompt: next, answer: await this.request(next, 1) };
    }
  }

  private async truncation(prompt: readonly number[]): Promise<GateResult> {
    let original = await this.request(prompt, 1, TOP_LOGPROBS);
    const generate = original.firstTokenLogprobs.length > 0 ? 1 : NEEDLE_GENERATE;
    if (generate > 1) original = await this.request(prompt, generate);
    const needles: Needle[] = [];
    for (const { place, at } of needlePlaces(prompt.length)) {
      needles.push({
        place,
        original,
        changed: await this.request(this.ask.workload.canonical(withNeedle(prompt, at)), generate, TOP_LOGPROBS),
      });
    }
    return truncationGate({ truncated: original.truncated, needles });
  }

  private keepStatic(info: LoadedInfo, prompt: readonly number[], generation: Generation): void {
    const { manifest, prepared, vocabularySize, bosToken } = this.ask;
    const longest = Math.max(...manifest.plan.prompts.map(({ tokenCount }) => tokenCount));
    this.keep(doubleBosGate({ promptTokens: prompt, bosToken, generation }));
    this.keep(
      wrongModelGate({
        vocabularySizeExpected: vocabularySize,
        vocabularySizeReported: info.vocabularySize,
        modelPathExpected: prepared.modelPath,
        modelNameReported: info.modelName,
      }),
    );
    this.keep(
      contextPerSlotGate({
        contextTokensReported: info.settings.contextTokens ?? null,
        promptTokens: longest,
        generateTokens: manifest.plan.generateTokens,
      }),
    );
    this.keep(settingsGate({ asked: mergeSettings(manifest.settings, this.ask.facts.tuned), reported: info.settings }));
  }

  private fresh(tokenCount: number): number[] {
    return this.ask.workload.promptTokens({
      block: 0,
      prompt: gatePrompt(tokenCount),
      iteration: this.prompts++,
      kind: 'measured',
    });
  }

  private async request(promptTokens: readonly number[], generateTokens: number, topLogprobs = 0): Promise<Generation> {
    const generation = await this.generate(promptTokens, generateTokens, topLogprobs);
    this.cachedCounts.push(generation.cachedTokenCount);
    this.keep(
      tokenCountGate({
        promptTokensAsked: promptTokens.length,
        generation,
        fromText: takesText(this.ask.prepared),
      }),
    );
    this.keep(earlyEndGate({ generateTokensAsked: generateTokens, generation }));
    return generation;
  }

  private generate(promptTokens: readonly number[], generateTokens: number, topLogprobs: number): Promise<Generation> {
    this.ask.signal.throwIfAborted();
    const { bannedTokens, prepared, workload } = this.ask;
    return this.running.session.generate({
      promptTokens,
      ...(takesText(prepared) ? { promptText: workload.promptText(promptTokens, this.added) } : {}),
      generateTokens,
      bannedTokens,
      topLogprobs,
      timeoutMs: timeoutFor(this.machinery, this.ask, REQUEST_TIMEOUT_MS),
    });
  }

  private keep(result: GateResult): void {
    const rank = { passed: 0, unknown: 1, failed: 2 };
    const before = this.worst.get(result.gate);
    if (before === undefined || rank[result.outcome] >= rank[before.outcome]) this.worst.set(result.gate, result);
  }
}

/** The median interval: single stalls are no cost of the engine. */
function pilotOf(length: number, generation: Generation): Pilot {
  const place = { engine: '-', block: 0, attempt: 0, kind: 'measured', prompt: '-', iteration: 0 } as const;
  const { ttftMs, tpotP50Ms, totalMs } = toSample(place, generation);
  return { prefillMsPerToken: ttftMs / length, decodeMsPerToken: tpotP50Ms ?? totalMs };
}

function needlePlaces(length: number): { place: string; at: number }[] {
  return [
    { place: 'the start', at: 0 },
    { place: 'one third', at: Math.floor(length / 3) },
    { place: 'two thirds', at: Math.floor((2 * length) / 3) },
  ];
}

/** Replaces a run of tokens by others of the same prompt, so that length and vocabulary stay ordinary. */
function withNeedle(prompt: readonly number[], at: number): number[] {
  const sentence = Math.max(2, Math.min(12, Math.floor(prompt.length / 6)));
  const changed = [...prompt];
  // A BOS stays first; elsewhere the sentence is written backwards from another place of the text.
  for (let index = at === 0 ? 1 : at; index < Math.min(prompt.length, at + sentence); index++) {
    changed[index] = prompt[prompt.length - 1 - index] ?? changed[index] ?? 0;
  }
  return changed;
}
