/**
 * The Engine port: what an adapter in src/engines declares and does. Types only.
 *
 * An adapter owns: finding its engine, the command line, the request and the reading of the answer.
 * It never owns: warm-up, order, repetition, timing rules, spawning, stopping, memory. No engine gets private rules.
 */
import type { ProcessExit } from './process-exit.ts';
import type { ShippingFacts } from './shipping-facts.ts';

/** `served`: a running server has its own copy of the model, which nobody can read from outside. */
export type ModelFormat = 'gguf' | 'mlx' | 'served';

/** Effective or asked settings. Every engine reports what it really used; a difference is shown in every report. */
export interface EngineSettings {
  readonly threads: number;
  /** Context per request slot, tokens. */
  readonly contextTokens: number;
  readonly batchTokens: number;
  readonly microBatchTokens: number;
  readonly kvType: 'f16' | 'f32' | 'q8_0';
  readonly flashAttention: boolean;
  readonly mmap: boolean;
  /** `off` keeps every layer on the CPU. */
  readonly gpu: 'off' | 'auto';
}

export type Device = 'cpu' | 'metal' | 'cuda' | 'vulkan' | 'rocm' | 'unknown';

/** What a build says about itself; unknown facts are null, never guessed. */
export interface BuildFacts {
  /** Version of the package or binary, as it reports it. */
  readonly version: string;
  /** Version or build number of the inference library inside, where it differs. */
  readonly library: string | null;
  readonly openMp: boolean | null;
  /** Without OpenMP and without a threadpool: the library creates its compute threads for every step and ends them after it. */
  readonly disposableThreads?: boolean;
  /** Instruction sets or kernels that the build selected, as it reports them. */
  readonly instructionSets: string | null;
}

export interface AvailableEngine {
  readonly state: 'available';
  readonly build: BuildFacts;
  readonly device: Device;
  /** Where it was found: a path, or the id of the managed environment. */
  readonly location: string;
  /** Which of the adapter's ways to start it, where there is more than one; null otherwise. */
  readonly variant: string | null;
  /** Set when this backend exists for correctness, not speed (MLX on a Linux CPU): measured briefly, never ranked. */
  readonly referenceBackend: string | null;
  /** Set when we measure a server that runs already and cannot be restarted: every verdict is of this instance only. */
  readonly runningInstance?: boolean;
  /** What a running server calls the model that it serves. A name proves nothing about weights. */
  readonly servedModel?: string;
  /** Set when this way of starting it takes prompts as text, where the engine otherwise takes token ids. */
  readonly takesText?: boolean;
  /** Set when something else answers in this engine's place: the name that everything measured is recorded under. */
  readonly recordedAs?: string;
  /** The program brings its own model: it is measured with that one, in place, or not at all. */
  readonly carries?: CarriedModel;
}

/** A model inside a program file, as its bytes lie there. */
export interface CarriedModel {
  readonly name: string;
  readonly offset: number;
  readonly byteLength: number;
}

export type Detection =
  | AvailableEngine
  /** `compileMinutes`: it is compiled on this machine, and takes about that long. */
  | {
      readonly state: 'installable';
      readonly what: string;
      readonly downloadBytes: number;
      readonly compileMinutes?: number;
    }
  | { readonly state: 'unavailable'; readonly reason: string; readonly nextStep: string };

export interface Capabilities {
  /** Prompts go in as token ids; false: as text that the model's tokenizer turns into exactly these ids. */
  readonly tokenIds: boolean;
  /** The engine reports its own prefill and decode times. */
  readonly engineTimings: boolean;
  /** The engine reports how many prompt tokens came from a cache. */
  readonly cachedTokenCount: boolean;
  /** First-token log-probabilities for the needle gate. */
  readonly logprobs: boolean;
  /** Which of the settings it takes; the others are its own choice and are labelled so. */
  readonly settings: readonly (keyof EngineSettings)[];
}

/** Everything that a launch depends on; `launchPlan` is a pure function of it. */
export interface LaunchRequest {
  readonly engine: AvailableEngine;
  /** Absolute path of the model file or folder, in the format the engine declares; of the program that carries it. */
  readonly modelPath: string;
  /** SHA-256 of a model that is one file; null for folders and served models. */
  readonly modelSha256: string | null;
  /** Empty folder, the engine's working folder, removed after its stop. */
  readonly workFolder: string;
  readonly settings: EngineSettings;
  /** Unused TCP port on 127.0.0.1, for engines that serve HTTP. */
  readonly port: number;
  /** Random per process; servers must echo it, so that we never measure somebody else's. */
  readonly runId: string;
}

export interface LaunchPlan {
  readonly command: string;
  readonly args: readonly string[];
  /** Complete environment of the child: only what is listed here, plus the platform's minimum. */
  readonly env: Readonly<Record<string, string>>;
  /** Where replies come from: `fd3` and `stdout` speak the worker protocol, `http` serves on the port. */
  readonly channel: 'fd3' | 'stdout' | 'http';
}

/** A started engine as platform hands it to the adapter's `connect`. */
export interface EngineProcess {
  readonly pid: number;
  /** Send one protocol request and wait for its reply; rejects when the process dies, hangs or answers nonsense. */
  request(message: WorkerRequest, timeoutMs: number): Promise<unknown>;
  /** Last lines of stderr, for error messages. */
  stderrTail(): string;
  /** Last lines of stdout, where it is not the reply channel. */
  stdoutTail?(): string;
  /** Resolves when the process is gone. */
  readonly exited: Promise<ProcessExit>;
}

export interface WorkerRequest {
  readonly method: 'load' | 'generate';
  readonly params: Readonly<Record<string, unknown>>;
}

/** What the engine says after loading; compared with what was asked. */
export interface LoadedInfo {
  readonly settings: Partial<EngineSettings>;
  readonly build: BuildFacts;
  readonly device: Device;
  /** Number of tokens in the model's vocabulary, as the engine sees it; null when it does not tell. */
  readonly vocabularySize: number | null;
  /** Path or name of the model, as the engine reports it; null when it does not tell. */
  readonly modelName: string | null;
  /** Load time that the engine itself reports; null when it does not tell. */
  readonly engineLoadMs: number | null;
  /** e.g. `f32 scales`, `int8 activations`: named in every report. */
  readonly numericMode: string;
  /** Process of a server that was running already, for its memory and CPU; null when it cannot be told. */
  readonly serverPid?: number | null;
}

export interface GenerateRequest {
  readonly promptTokens: readonly number[];
  /** For engines without `tokenIds`: the text whose encoding is `promptTokens` (a BOS is not in it). */
  readonly promptText?: string;
  readonly generateTokens: number;
  /** Every end-of-generation token: masked, so that no engine stops early. */
  readonly bannedTokens: readonly number[];
  /** Ask for this many log-probabilities of the first generated token (0: none; gates only). */
  readonly topLogprobs: number;
  readonly timeoutMs: number;
}

export interface TokenLogprob {
  readonly token: number;
  readonly logprob: number;
}

/** One answered request. Times are milliseconds since the request was handed to the engine, on a monotonic clock. */
export interface Generation {
  /** Empty where the engine does not tell ids; `generatedTokenCount` and `text` then say what came. */
  readonly tokens: readonly number[];
  readonly generatedTokenCount?: number;
  readonly text?: string;
  /** Arrival of each event; equal in length to `eventTokenCounts`. */
  readonly eventMs: readonly number[];
  /** Tokens that each event carried (1 where chunk is token). */
  readonly eventTokenCounts: readonly number[];
  /** Prompt tokens that the engine says it processed or knew, cached ones included. */
  readonly promptTokenCount: number;
  /** Prompt tokens answered from a cache; null when the engine does not tell. */
  readonly cachedTokenCount: number | null;
  readonly truncated: boolean | null;
  readonly engineTimings: EngineTimings | null;
  readonly firstTokenLogprobs: readonly TokenLogprob[];
}

/** The engine's own view. */
export interface EngineTimings {
  readonly prefillMs: number | null;
  readonly prefillTokenCount: number | null;
  /** Time of the decode intervals; the first token belongs to prefill. */
  readonly decodeMs: number | null;
  readonly decodeIntervalCount: number | null;
}

export interface EngineSession {
  readonly info: LoadedInfo;
  generate(request: GenerateRequest): Promise<Generation>;
  /** Removes what the adapter left on a server that goes on running. Called once, before the stop; must not reject. */
  close?(): Promise<void>;
}

/** What an adapter may ask of the machine while it looks for its engine. */
export interface EngineHost {
  /** From --engine-path ID=PATH. */
  readonly enginePath: string | null;
  readonly findOnPath: (program: string) => string | null;
  readonly environments: EnvironmentLocator;
  /** Reads a program that may carry models; runs nothing. Rejects with an AppError for what is no such program. */
  readonly inspectProgram: (path: string) => Promise<ProgramFacts>;
}

/** What the bytes of a program tell that is one file for many systems, with a zip inside. */
export interface ProgramFacts {
  /** Which program it calls itself, e.g. `llamafile`; null when it does not tell. */
  readonly name: string | null;
  readonly version: string | null;
  /** What stands in brackets behind the version, e.g. of a build of somebody's own. */
  readonly versionNote: string | null;
  readonly fileBytes: number;
  /** `ape` is started through a shell; the others are built for one system. */
  readonly format: 'ape' | 'elf' | 'pe' | 'mach-o';
  /** Empty when the header does not tell. */
  readonly architectures: readonly ('x86_64' | 'aarch64')[];
  /** Arguments that it adds to the user's, which `...` stands for; null when there are none. */
  readonly defaultArguments: readonly string[] | null;
  readonly models: readonly (CarriedModel & { readonly isCompressed: boolean })[];
}

/** Managed environments, as far as adapters see them. */
export interface EnvironmentLocator {
  /** State on disk; never installs. `root` is the folder, `runtime` its node or python executable. */
  inspect(id: string): Promise<
    | {
        readonly state: 'ready';
        readonly root: string;
        readonly runtime: string;
        readonly packages: Readonly<Record<string, string>>;
      }
    | {
        readonly state: 'absent' | 'broken';
        readonly what: string;
        readonly downloadBytes: number;
        readonly compileMinutes?: number;
      }
    | { readonly state: 'impossible'; readonly reason: string; readonly nextStep: string }
  >;
}

export interface Engine {
  /** File name, command-line value and key in every record. */
  readonly id: string;
  readonly title: string;
  readonly modelFormat: ModelFormat;
  readonly capabilities: Capabilities;
  /** Managed environment that provides it, when the user has none. */
  readonly environment: string | null;
  /** Its worker takes `burnShare` with `load`, so that `runoff selftest` can make a copy of it that is slower. */
  readonly burnsOnRequest?: boolean;
  /** What it takes to ship it. An adapter of a user's own need not say. */
  readonly shipping?: ShippingFacts;
  /** Looks, never installs; answers within seconds. */
  detect(host: EngineHost): Promise<Detection>;
  /** Pure: the same request gives the same command. Null: nothing is started, `connect` talks to a running server. */
  launchPlan(request: LaunchRequest): LaunchPlan | null;
  /** Waits until the model is loaded and the identity is proven. Rejects with `engine-launch-failed`. */
  connect(process: EngineProcess, request: LaunchRequest, timeoutMs: number): Promise<EngineSession>;
}
