/** The whole protocol on simulated engines and a simulated clock: `measure()` with everything that it touches replaced. */
import { measure } from '../../src/app/measure.ts';
import type { MeasureAsk } from '../../src/app/measure.ts';
import type { Machinery, PreparedEngine, RunningEngine } from '../../src/app/machinery.ts';
import { GATE_PROMPTS } from '../../src/app/check-engine.ts';
import type { AvailableEngine, Engine, EngineSettings, GenerateRequest, Generation } from '../../src/core/engine.ts';
import { deriveRecord } from '../../src/core/derive/derive-record.ts';
import { AppError } from '../../src/core/errors.ts';
import { createRandom, hashSeed, normal } from '../../src/core/random.ts';
import type { Random } from '../../src/core/random.ts';
import { eventSchema, recordSchema } from '../../src/core/record.ts';
import type { CanaryReading, Conditions, Pressure } from '../../src/core/machine-check-schema.ts';
import type { EngineFacts, Interference, Manifest, Plan, RunEvent, RunRecord } from '../../src/core/record.ts';
import type { ModelTraffic } from '../../src/core/roofline-schema.ts';
import { buildPrompts } from '../../src/core/workload/build-prompts.ts';
import type { MachineWatch, WatchAsk } from '../../src/platform/canary/machine-watch.ts';
import type { RunLog } from '../../src/store/run-folder.ts';
import { manifestOf, engineFacts, SETTINGS } from '../core/fixtures.ts';

export const BOS = 1;
const EOS = 2;
const VOCABULARY = 2_000;
const QUIET: Interference = { foreignCpuShare: 0.01, stealShare: 0, ownCpuShare: 0.02 };

/** What goes wrong inside an engine; the functions tell where. */
export type Fault =
  | 'truncate'
  | 'shift'
  | 'slow-to-differ'
  | 'counted-cache'
  | 'hidden-cache'
  | 'early-end'
  | 'double-bos'
  | 'miscount'
  | 'small-context'
  | 'other-vocabulary'
  | 'fewer-threads'
  | 'die-loading'
  | 'die'
  | 'hang'
  | 'hang-loading';

export interface SimulatedEngine {
  readonly id: string;
  readonly startMs?: number;
  readonly prefillMsPerToken?: number;
  readonly decodeMsPerToken?: number;
  /** 1.2: everything but the start takes 20% longer. */
  readonly slowdown?: number;
  readonly fault?: Fault;
  /** The process (counted from 1 per engine; 1 is the check) from which on the fault is there, and how many have it. */
  readonly faultFrom?: number;
  readonly faultCount?: number;
  readonly referenceBackend?: string;
}

export interface SimulationOptions {
  readonly engines: readonly SimulatedEngine[];
  readonly plan?: Partial<Plan>;
  /** Relative spread: between processes, and between requests of one process. */
  readonly noise?: { readonly process: number; readonly request: number };
  /** Everything takes this many times longer from this moment on. */
  readonly slowFrom?: { readonly atMs: number; readonly factor: number };
  /** Interference of a cell; quiet without it. */
  readonly interferenceAt?: (cell: number, engine: string) => Partial<Interference>;
  /** Of the model: 5 GB a token make 4 tokens/s the most that 20 GB/s allow. */
  readonly traffic?: ModelTraffic;
  /** What the looks at the machine see, counted from 0; without it there is no canary and nothing is told. */
  readonly lookAt?: (look: number) => SimulatedLook;
  /** The user presses Ctrl-C at the nth request (counted from 1). */
  readonly interruptAtRequest?: number;
  /** The disk is full from this event on. */
  readonly diskFullAtEvent?: number;
  readonly copies?: MeasureAsk['copies'];
  /** Events of earlier sessions. */
  readonly before?: readonly RunEvent[];
  /** Overrides plan.budgetMs, as --budget does when a run is resumed. */
  readonly budgetMs?: number;
}

export interface SimulatedLook {
  /** Of the machine's full speed, which is 20 GB/s and 100 GFLOP/s; 1 without it. */
  readonly speed?: number;
  readonly conditions?: Partial<Conditions>;
  readonly pressure?: Partial<Pressure>;
  /** A program at work since the last look. */
  readonly program?: string;
}

export interface Simulated {
  readonly events: readonly RunEvent[];
  readonly manifest: Manifest;
  readonly record: RunRecord;
  readonly state: 'complete' | 'interrupted' | 'failed';
  readonly error: unknown;
  /** On the simulated clock, from 0. */
  readonly endMs: number;
  readonly lines: readonly string[];
  /** Processes that were started and never stopped. */
  readonly orphans: number;
}

export async function simulate(options: SimulationOptions): Promise<Simulated> {
  const machine = new SimulatedMachine(options);
  const manifest = makeManifest(options);
  const events: RunEvent[] = [...(options.before ?? [])];
  const lines: string[] = [];
  const log: RunLog = {
    path: '/runs/simulated',
    manifest,
    events,
    async append(event) {
      if (options.diskFullAtEvent !== undefined && events.length >= options.diskFullAtEvent) {
        throw new AppError('record-write-failed', 'could not write samples.jsonl: no space left on device');
      }
      events.push(eventSchema.parse(event));
    },
    async close() {},
  };
  let state: Simulated['state'];
  let error: unknown = null;
  try {
    state = await measure({
      log,
      engines: options.engines.map(prepare),
      workload: makeWorkload(manifest.plan),
      bannedTokens: [EOS],
      bosToken: BOS,
      vocabularySize: VOCABULARY,
      budgetMs: options.budgetMs ?? manifest.plan.budgetMs,
      ...(options.copies === undefined ? {} : { copies: options.copies }),
      machinery: machine,
      signal: machine.interrupted.signal,
      ui: { line: (text) => void lines.push(text), status() {}, done() {} },
    });
  } catch (thrown) {
    state = 'failed';
    error = thrown;
  }
  const record = recordSchema.parse(deriveRecord(manifest, events));
  return { events, manifest, record, state, error, endMs: machine.nowMs(), lines, orphans: machine.running };
}

function makeManifest({ engines, plan, traffic }: SimulationOptions): Manifest {
  const facts = engines.map(({ id, referenceBackend = null }): EngineFacts => engineFacts(id, { referenceBackend }));
  const manifest = manifestOf(facts);
  return {
    ...manifest,
    settings: { ...SETTINGS },
    machine: { ...manifest.machine, cacheBytes: 32 * 2 ** 20 },
    models: manifest.models.map((model) => (traffic === undefined ? model : { ...model, traffic })),
    plan: { ...manifest.plan, prompts: [{ name: 'standard', tokenCount: 512, source: 'study text' }], ...plan },
  };
}

function makeWorkload(plan: Plan): ReturnType<typeof buildPrompts> {
  return buildPrompts({
    tokenizerEncode: () => Array.from({ length: 700 }, (_, index) => 100 + ((index * 37) % 1_500)),
    bodyText: 'text',
    prompts: [...plan.prompts, ...GATE_PROMPTS],
    seed: plan.seed,
    vocabularySize: VOCABULARY,
    bannedTokens: [EOS],
    nonceTokens: Array.from({ length: 400 }, (_, index) => 1_600 + index),
    addBos: true,
    bosToken: BOS,
  });
}

const BUILD = { version: '1.0.0', library: 'b6700', openMp: null, instructionSets: null } as const;

function prepare(engine: SimulatedEngine): PreparedEngine {
  const found: AvailableEngine = {
    state: 'available',
    build: BUILD,
    device: 'cpu',
    location: '/bin/x',
    variant: null,
    referenceBackend: engine.referenceBackend ?? null,
  };
  return { engine: stubEngine(engine.id), found, modelPath: '/models/model.gguf', modelSha256: null };
}

/** Core never calls an adapter: the machinery starts it. */
function stubEngine(id: string): Engine {
  const unused = (): never => {
    throw new TypeError('the protocol does not call adapters');
  };
  return {
    id,
    title: id,
    modelFormat: 'gguf',
    environment: null,
    detect: unused,
    launchPlan: unused,
    connect: unused,
    capabilities: { tokenIds: true, engineTimings: false, cachedTokenCount: true, logprobs: true, settings: [] },
  };
}

class SimulatedMachine implements Machinery {
  readonly interrupted = new AbortController();
  running = 0;
  private clockMs = 0;
  private cells = 0;
  private engine = '';
  private requests = 0;
  private readonly launches = new Map<string, number>();
  private readonly options: SimulationOptions;
  private readonly random: Random;

  constructor(options: SimulationOptions) {
    this.options = options;
    this.random = createRandom('simulation', options.plan?.seed ?? 1, options.before?.length ?? 0);
  }

  nowMs = (): number => this.clockMs;

  async warmPageCache(): Promise<void> {
    this.pass(5);
  }

  async memory(): ReturnType<Machinery['memory']> {
    return { peakBytes: 200e6, anonymousBytes: 100e6, fileBackedBytes: 100e6 };
  }

  async cpu(): ReturnType<Machinery['cpu']> {
    // What a start suffers is in no request.
    if (this.running === 0) throw new TypeError('interference is counted from the engine that is ready');
    return {
      atMs: this.clockMs,
      machine: { busyMs: 0, idleMs: 0, stealMs: null, coreCount: 2 },
      engineMs: 0,
      ownMs: 0,
    };
  }

  async openWatch({ withCanary, threads }: WatchAsk): Promise<MachineWatch> {
    const { lookAt } = this.options;
    let looks = 0;
    return {
      canary: withCanary && lookAt !== undefined ? { threads, bufferBytes: 128 * 2 ** 20 } : null,
      trouble: null,
      best: null,
      look: async (canaryMs) => {
        const { speed = 1, conditions, pressure, program } = lookAt?.(looks++) ?? {};
        const withReading = canaryMs !== null && lookAt !== undefined;
        if (withReading) this.pass(2 * canaryMs);
        return {
          canary: withReading ? readingAt(speed, canaryMs) : null,
          conditions: { throttleCount: null, limited: null, power: 'unknown', swapInPages: null, ...conditions },
          pressure: withReading ? { cpu: 0, io: 0, memory: 0, ...pressure } : null,
          busiest: program === undefined ? [] : [{ name: program, coreShare: 0.98 }],
          costMs: withReading ? 2 * canaryMs : 0,
        };
      },
      close: async () => {},
    };
  }

  interference = (): Interference => ({ ...QUIET, ...this.options.interferenceAt?.(this.cells++, this.engine) });

  async start({ engine: { id } }: PreparedEngine, settings: EngineSettings, timeoutMs: number): Promise<RunningEngine> {
    const engine = this.options.engines.find((candidate) => candidate.id === id);
    if (engine === undefined) throw new TypeError(`no engine ${id}`);
    this.engine = id;
    const launch = (this.launches.get(id) ?? 0) + 1;
    this.launches.set(id, launch);
    const fault = faultOf(engine, launch);
    if (fault === 'die-loading') {
      this.pass(50);
      throw new AppError('engine-launch-failed', `${id} ended while loading (exit code 1)`);
    }
    const startedMs = this.clockMs;
    this.passOrTimeOut(
      fault === 'hang-loading' ? Number.POSITIVE_INFINITY : (engine.startMs ?? 300),
      timeoutMs,
      `${id} did not load`,
    );
    this.running += 1;
    const process = new SimulatedProcess(this, engine, fault, this.spread(this.options.noise?.process ?? 0));
    const contextTokens = fault === 'small-context' ? 256 : settings.contextTokens;
    return {
      pid: 4_711,
      loadMs: this.clockMs - startedMs,
      command: [`/bin/${id}`],
      session: {
        info: {
          settings: { ...settings, contextTokens, threads: fault === 'fewer-threads' ? 1 : settings.threads },
          build: BUILD,
          device: 'cpu',
          vocabularySize: fault === 'other-vocabulary' ? 32_000 : VOCABULARY,
          modelName: 'model.gguf',
          engineLoadMs: null,
          numericMode: 'int8 activations',
        },
        generate: (ask) => process.generate(ask),
      },
      stop: async () => {
        this.running -= 1;
        this.pass(20);
      },
    };
  }

  countRequest(): void {
    this.requests += 1;
    if (this.requests !== this.options.interruptAtRequest) return;
    this.interrupted.abort();
    // As in the real program: the engine is stopped at once, and its request fails.
    throw new AppError('engine-died', 'the engine was stopped');
  }

  requestSpread(): number {
    return this.spread(this.options.noise?.request ?? 0);
  }

  /** Time passes, slower or not; past the limit only until it. */
  passOrTimeOut(workMs: number, timeoutMs: number, what: string): void {
    const ms = this.stretched(workMs);
    this.clockMs += Math.min(ms, timeoutMs);
    if (ms > timeoutMs) throw new AppError('engine-timeout', `${what} within ${Math.round(timeoutMs)} ms`);
  }

  pass(workMs: number): void {
    this.clockMs += this.stretched(workMs);
  }

  private spread(deviation: number): number {
    return Math.exp(deviation * normal(this.random));
  }

  private stretched(workMs: number): number {
    const { slowFrom } = this.options;
    if (slowFrom === undefined) return workMs;
    const before = Math.max(0, Math.min(workMs, slowFrom.atMs - this.clockMs));
    return before + (workMs - before) * slowFrom.factor;
  }
}

function readingAt(speed: number, canaryMs: number): CanaryReading {
  return { readBytesPerS: 20e9 * speed, flopsPerS: 100e9 * speed, readMs: canaryMs, multiplyAddMs: canaryMs };
}

function faultOf(
  { fault, faultFrom = 1, faultCount = Number.POSITIVE_INFINITY }: SimulatedEngine,
  launch: number,
): Fault | null {
  return fault !== undefined && launch >= faultFrom && launch < faultFrom + faultCount ? fault : null;
}

/** One process: answers by a hash of all prompt tokens that it reads. */
class SimulatedProcess {
  private kept: readonly number[] = [];
  private readonly machine: SimulatedMachine;
  private readonly engine: SimulatedEngine;
  private readonly fault: Fault | null;
  private readonly processFactor: number;

  constructor(machine: SimulatedMachine, engine: SimulatedEngine, fault: Fault | null, processFactor: number) {
    this.machine = machine;
    this.engine = engine;
    this.fault = fault;
    this.processFactor = processFactor;
  }

  async generate(ask: GenerateRequest): Promise<Generation> {
    this.machine.countRequest();
    const { fault } = this;
    if (fault === 'die') throw new AppError('engine-died', `${this.engine.id} died by SIGSEGV during generate`);
    const prompt = fault === 'truncate' ? ask.promptTokens.slice(-64) : ask.promptTokens;
    const cached = fault === 'counted-cache' || fault === 'hidden-cache' ? this.cachedOf(prompt) : 0;
    this.kept = prompt;
    const factor = (this.engine.slowdown ?? 1) * this.processFactor * this.machine.requestSpread();
    const prefillMs = (prompt.length - cached) * (this.engine.prefillMsPerToken ?? 1) * factor;
    const stepMs = (this.engine.decodeMsPerToken ?? 8) * factor;
    const count = fault === 'early-end' ? Math.min(3, ask.generateTokens) : ask.generateTokens;
    const startedMs = this.machine.nowMs();
    this.machine.passOrTimeOut(
      fault === 'hang' ? Number.POSITIVE_INFINITY : prefillMs + count * stepMs,
      ask.timeoutMs,
      `${this.engine.id} did not answer`,
    );
    const scale = (this.machine.nowMs() - startedMs) / (prefillMs + count * stepMs);
    const seed = hashSeed(...prompt);
    return {
      tokens: Array.from({ length: count }, (_, index) =>
        fault === 'slow-to-differ' && index < 4 ? 3 : 3 + (hashSeed(seed, index) % (VOCABULARY - 3)),
      ),
      eventMs: Array.from({ length: count }, (_, index) => (prefillMs + (index + 1) * stepMs) * scale),
      eventTokenCounts: Array.from({ length: count }, () => 1),
      promptTokenCount: ask.promptTokens.length + (fault === 'double-bos' ? 1 : fault === 'miscount' ? -5 : 0),
      cachedTokenCount: fault === 'hidden-cache' ? null : cached,
      truncated: fault === 'shift' ? true : null,
      engineTimings: null,
      firstTokenLogprobs: Array.from({ length: fault === 'slow-to-differ' ? 0 : ask.topLogprobs }, (_, token) => ({
        token,
        logprob: -1 - (hashSeed(seed, 'p', token) % 1_000) / 500,
      })),
    };
  }

  private cachedOf(prompt: readonly number[]): number {
    let length = 0;
    while (length < prompt.length - 1 && this.kept[length] === prompt[length]) length += 1;
    return length;
  }
}

/** The order of a run as a readable list: one line per process, block and decision. */
export function protocolOf(events: readonly RunEvent[]): string[] {
  const lines: string[] = [];
  let requests = '';
  for (const event of events) {
    switch (event.type) {
      case 'session':
        lines.push(event.resumed ? 'session resumed' : 'session');
        break;
      case 'engine-facts':
        lines.push(`check ${event.facts.id}`);
        break;
      case 'gate':
        if (event.outcome !== 'passed') lines.push(`  gate ${event.gate} ${event.outcome}: ${event.engine}`);
        break;
      case 'pilot':
        lines.push(
          `  pilot ${event.engine}: ${event.prefillMsPerToken.toFixed(2)} + ${event.decodeMsPerToken.toFixed(2)} ms per token`,
        );
        break;
      case 'plan':
        lines.push(`plan ${event.blocks} blocks, looks at ${event.looks.join(' ')}`);
        break;
      case 'canary-plan':
        if (event.mode !== 'off') lines.push(`canary around ${event.mode}, ${event.calibrations} calibrations`);
        break;
      case 'machine-check':
        break;
      case 'cell-start':
        requests = '';
        break;
      case 'load':
        requests += 'load';
        break;
      case 'sample':
        requests += ` ${event.kind === 'warmup' ? 'w' : 'm'}:${event.prompt}`;
        break;
      case 'cell-end':
        lines.push(
          `  ${event.block}.${event.attempt} ${event.engine}: ${event.state === 'complete' ? shorten(requests) : 'FAILED'}`,
        );
        break;
      case 'block-end':
        lines.push(`block ${event.block}.${event.attempt} ${event.state}`);
        break;
      case 'look':
        // A look that decides nothing is no step of its own.
        if (event.retired.length > 0)
          lines.push(
            `look ${event.blocks}: ${event.resolved ? 'resolved' : 'open'}, ${event.retired.map(({ engine }) => engine).join(', ')} retired`,
          );
        break;
      case 'not-measured':
        lines.push(`not measured: ${event.engine} ${event.prompt}`);
        break;
      case 'warning':
        lines.push(`warning ${event.code}: ${event.engine}`);
        break;
      case 'end':
        lines.push(`end ${event.state}: ${event.reason}`);
        break;
    }
  }
  return lines;
}

/** `m:standard m:standard m:standard` is `m:standard x3`. */
function shorten(requests: string): string {
  const parts: { what: string; count: number }[] = [];
  for (const what of requests.split(' ')) {
    const last = parts.at(-1);
    if (last?.what === what) last.count += 1;
    else parts.push({ what, count: 1 });
  }
  return parts.map(({ what, count }) => (count === 1 ? what : `${what} x${count}`)).join(' ');
}
