/** The conformance suite that every adapter runs: `describeEngine()` in test/engines/<id>.test.ts. */
import { isAbsolute } from 'node:path';
import { describe, expect, test } from 'vitest';
import type {
  AvailableEngine,
  Engine,
  EngineHost,
  EngineProcess,
  EngineSettings,
  EnvironmentLocator,
  LaunchPlan,
  LaunchRequest,
  WorkerRequest,
} from '../../src/core/engine.ts';
import { inspectProgram } from '../../src/app/inspect-program.ts';
import { AppError } from '../../src/core/errors.ts';
import { engineIds, loadEngine } from '../../src/engines/registry.ts';

export const SETTINGS: EngineSettings = {
  threads: 4,
  contextTokens: 1_024,
  batchTokens: 512,
  microBatchTokens: 512,
  kvType: 'f16',
  flashAttention: true,
  mmap: true,
  gpu: 'off',
};
/** One other value of each setting: a launch must not look the same with it. */
const CHANGED: EngineSettings = {
  threads: 3,
  contextTokens: 4_096,
  batchTokens: 256,
  microBatchTokens: 128,
  kvType: 'q8_0',
  flashAttention: false,
  mmap: false,
  gpu: 'auto',
};
/** What a shell would take apart, or worse. */
const HOSTILE_PATH = `/models/it's "my" $(touch owned) \`model\`; & | > %PATH% é.gguf`;
const SHELLS = /(^|[\\/])(sh|bash|zsh|cmd|cmd\.exe|powershell(\.exe)?|env)$/;

type Inspection = Awaited<ReturnType<EnvironmentLocator['inspect']>>;

/** The plan of an engine that starts something. */
export function planOf(engine: Engine, request: LaunchRequest): LaunchPlan {
  const plan = engine.launchPlan(request);
  if (plan === null) throw new TypeError(`${engine.id} starts nothing`);
  return plan;
}

export interface EngineCase {
  readonly engine: Engine;
  /** The managed environment when it is there; absent for engines that the user installs. */
  readonly ready?: Extract<Inspection, { state: 'ready' }>;
  /** Ways to start it beside the managed one. */
  readonly variants?: readonly AvailableEngine[];
  /** The program is started through `sh`, as an argument of its own: files that only a shell can start. */
  readonly throughSh?: boolean;
  /** Everything that an engine is told under these settings, where that is more than its command line. */
  readonly sent?: (found: AvailableEngine, settings: EngineSettings) => Promise<unknown>;
  /** A recorded answer to `load` and to `generate` (5 prompt tokens, 4 generated); absent for engines that serve HTTP. */
  readonly worker?: { readonly load: Record<string, unknown>; readonly generate: Record<string, unknown> };
  /** Settings that one of its ways refuses with `engine-unavailable`. */
  readonly refused?: readonly (keyof EngineSettings)[];
}

export function hostWith(inspection: Inspection, changes: Partial<EngineHost> = {}): EngineHost {
  return {
    enginePath: null,
    findOnPath: () => null,
    environments: { inspect: async () => inspection },
    inspectProgram,
    ...changes,
  };
}

export function launchRequest(engine: AvailableEngine, changes: Partial<LaunchRequest> = {}): LaunchRequest {
  return {
    engine,
    modelPath: '/models/model.gguf',
    modelSha256: 'a'.repeat(64),
    workFolder: '/tmp/runoff-engine-test',
    settings: SETTINGS,
    port: 43_210,
    runId: 'runoff-0123456789abcdef',
    ...changes,
  };
}

/** An engine process whose answers are set; it keeps what it was asked. */
export function fakeProcess(
  answer: (message: WorkerRequest) => unknown,
): EngineProcess & { readonly asked: WorkerRequest[] } {
  const asked: WorkerRequest[] = [];
  return {
    pid: 4_711,
    asked,
    async request(message) {
      asked.push(message);
      return answer(message);
    },
    stderrTail: () => '',
    exited: new Promise(() => {}),
  };
}

export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    return error instanceof AppError ? error.code : `not an AppError: ${String(error)}`;
  }
  return 'it succeeded';
}

export function describeEngine(options: EngineCase): void {
  const { engine } = options;
  describe(`${engine.id} is an engine`, () => {
    test('it is found under the name of its file', async () => {
      expect(engineIds()).toContain(engine.id);
      expect(await loadEngine(engine.id)).toBe(engine);
    });
    describeDetection(options);
    describeLaunch(options);
    if (options.worker !== undefined) describeWorker(options, options.worker);
  });
}

async function detectReady({ engine, ready }: EngineCase): Promise<AvailableEngine> {
  if (ready === undefined) throw new TypeError(`${engine.id} has no managed environment`);
  const detection = await engine.detect(hostWith(ready));
  if (detection.state !== 'available') throw new TypeError(`detection says ${detection.state}`);
  return detection;
}

async function allVariants(options: EngineCase): Promise<AvailableEngine[]> {
  return [...(options.ready === undefined ? [] : [await detectReady(options)]), ...(options.variants ?? [])];
}

function describeDetection(options: EngineCase): void {
  const { engine, ready } = options;
  if (ready === undefined) return;

  test('a ready environment makes it available, with the version of its package', async () => {
    const { build, location } = await detectReady(options);
    expect(Object.values(ready.packages).some((version) => build.version.includes(version))).toBe(true);
    expect(isAbsolute(location)).toBe(true);
  });

  test.each(['absent', 'broken'] as const)('a %s environment can be installed', async (state) => {
    const detection = await engine.detect(hostWith({ state, what: 'some package 1.0', downloadBytes: 42_000_000 }));
    expect(detection).toEqual({ state: 'installable', what: 'some package 1.0', downloadBytes: 42_000_000 });
  });

  test('where it cannot be installed, the reason and the next step are passed on', async () => {
    const detection = await engine.detect(
      hostWith({ state: 'impossible', reason: 'no wheel for this machine', nextStep: 'Use another.' }),
    );
    expect(detection).toEqual({ state: 'unavailable', reason: 'no wheel for this machine', nextStep: 'Use another.' });
  });
}

function describeLaunch(options: EngineCase): void {
  const { engine } = options;

  test('the same request gives the same plan and is not changed', async () => {
    for (const found of await allVariants(options)) {
      const request = deepFreeze(structuredClone(launchRequest(found)));
      expect(engine.launchPlan(request)).toEqual(engine.launchPlan(request));
    }
  });

  test('no shell is involved: the command is a path, and the model path arrives whole', async () => {
    for (const found of await allVariants(options)) {
      const plan = engine.launchPlan(launchRequest(found, { modelPath: HOSTILE_PATH }));
      if (plan === null) continue;
      const { command, args } = plan;
      expect(isAbsolute(command)).toBe(true);
      if (options.throughSh === true) expect([command, args[0]]).toEqual(['/bin/sh', found.location]);
      else expect(command).not.toMatch(SHELLS);
      expect(args).not.toContain('-c');
      const carrying = args.filter((argument) => argument.includes('é.gguf'));
      const whole = carrying.map((argument) =>
        argument.startsWith('{') ? (JSON.parse(argument) as { modelPath: string }).modelPath : argument,
      );
      // With `sent`, the path may reach the engine by another way than its command line.
      if (options.sent !== undefined && whole.length === 0) continue;
      expect(whole).toEqual(options.worker === undefined ? [HOSTILE_PATH] : []);
    }
  });

  test('it listens on loopback only, under the port and the name that it was given', async () => {
    for (const found of await allVariants(options)) {
      const plan = engine.launchPlan(launchRequest(found));
      if (plan === null) continue;
      const { args, channel, env } = plan;
      const text = [...args, ...Object.values(env)].join(' ');
      expect(text).not.toMatch(/0\.0\.0\.0|::|\blocalhost\b/);
      if (channel === 'http') {
        expect(text).toContain('43210');
        expect(text).toContain('runoff-0123456789abcdef');
      }
    }
  });

  test('no environment variable passes a setting that the plan does not show', async () => {
    for (const found of await allVariants(options)) {
      for (const name of Object.keys(engine.launchPlan(launchRequest(found))?.env ?? {}))
        expect(name).toMatch(/^[A-Z][A-Z0-9_]*$/);
    }
  });

  test.each(engine.capabilities.settings)('the setting %s reaches the engine', async (name) => {
    const changed = { ...SETTINGS, [name]: CHANGED[name] };
    for (const found of await allVariants(options)) {
      if (found.variant !== 'binary' && options.refused?.includes(name) === true) {
        expect(() => engine.launchPlan(launchRequest(found, { settings: changed }))).toThrow(
          expect.objectContaining({ code: 'engine-unavailable' }),
        );
        continue;
      }
      expect(await sentWith(options, found, changed)).not.toEqual(await sentWith(options, found, SETTINGS));
    }
  });
}

/** Everything that an engine is told before it generates. */
async function sentWith(
  { engine, worker, sent }: EngineCase,
  found: AvailableEngine,
  settings: EngineSettings,
): Promise<unknown> {
  if (sent !== undefined) return sent(found, settings);
  const request = launchRequest(found, { settings });
  const plan = engine.launchPlan(request);
  if (worker === undefined) return plan;
  const process = fakeProcess(() => worker.load);
  await engine.connect(process, request, 1_000);
  return [plan, process.asked];
}

function describeWorker(options: EngineCase, worker: NonNullable<EngineCase['worker']>): void {
  const { engine } = options;
  const ask = {
    promptTokens: [504, 3_575, 282, 260, 905],
    generateTokens: 4,
    bannedTokens: [0, 2],
    topLogprobs: 3,
    timeoutMs: 5_000,
  };
  const connect = async (load: unknown, generate: unknown) =>
    engine.connect(
      fakeProcess(({ method }) => (method === 'load' ? load : generate)),
      launchRequest(await detectReady(options)),
      1_000,
    );

  test('the model path goes into the load request, whole', async () => {
    const process = fakeProcess(() => worker.load);
    await engine.connect(process, launchRequest(await detectReady(options), { modelPath: HOSTILE_PATH }), 1_000);
    expect(process.asked).toEqual([{ method: 'load', params: { modelPath: HOSTILE_PATH, settings: SETTINGS } }]);
  });

  test('a recorded answer becomes a generation in which every token has a time', async () => {
    const generation = await (await connect(worker.load, worker.generate)).generate(ask);
    expect(generation.tokens).toHaveLength(4);
    expect(generation.eventMs).toHaveLength(generation.eventTokenCounts.length);
    expect(generation.eventTokenCounts.reduce((sum, count) => sum + count, 0)).toBe(4);
    expect(generation.eventMs.toSorted((left, right) => left - right)).toEqual(generation.eventMs);
    expect(generation.promptTokenCount).toBe(5);
    expect(generation.firstTokenLogprobs).toHaveLength(3);
  });

  test.each([null, 'ok', 7, [], {}, { ...worker.load, engineLoadMs: 'soon' }])(
    'nonsense after load is a protocol error: %j',
    async (answer) => {
      expect(await codeOf(connect(answer, worker.generate))).toBe('engine-protocol');
    },
  );

  test.each([
    null,
    'ok',
    {},
    { ...worker.generate, tokens: 'a b c' },
    { ...worker.generate, tokens: [1, -5, 2, 3] },
    { ...worker.generate, tokens: [1.5, 2, 3, 4] },
    { ...worker.generate, eventMs: [1, 2, 3] },
    { ...worker.generate, promptTokenCount: null },
  ])('nonsense after generate is a protocol error: %j', async (answer) => {
    const session = await connect(worker.load, answer);
    expect(await codeOf(session.generate(ask))).toBe('engine-protocol');
  });

  test('a death is passed on as it is', async () => {
    const dead = (): never => {
      throw new AppError('engine-died', 'the engine died by SIGKILL during load');
    };
    expect(await codeOf(engine.connect(fakeProcess(dead), launchRequest(await detectReady(options)), 1_000))).toBe(
      'engine-died',
    );
  });
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) for (const part of Object.values(value)) deepFreeze(part);
  return Object.freeze(value);
}
