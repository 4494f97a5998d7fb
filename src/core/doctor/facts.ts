/** Everything that the checks of `runoff doctor` look at. Null is a fact that could not be told, never a guess. */
import type { Device } from '../engine.ts';
import type { Interference } from '../record.ts';
import type { ModelShape } from './memory-need.ts';

export interface DoctorFacts {
  readonly host: HostFacts;
  readonly gpus: readonly Gpu[] | null;
  readonly places: readonly Place[];
  /** One second of looking at the machine while runoff itself does nothing. */
  readonly activity: Activity;
  readonly engines: readonly EngineLook[];
  /** Null: no model was named, and the demonstration model is not in the cache. */
  readonly model: ModelLook | null;
  readonly plan: PlanNeeds;
  /** What concerns files that run on several systems; null where neither a llamafile nor its engine is looked at. */
  readonly llamafile: LlamafileHost | null;
  /** macOS only; null: not told, or another system. */
  readonly quarantine: Quarantine | null;
}

export interface HostFacts {
  /** As Node names it. */
  readonly platform: string;
  readonly arch: string;
  /** What the processor is, where Node runs translated; null: not told. */
  readonly nativeArch: string | null;
  readonly nodeVersion: string;
  /** Linux only. */
  readonly musl: boolean;
  readonly wsl: boolean;
  /** Logical cores that this process may use. */
  readonly cores: number;
  /** Threads that a run gives to every engine unless it is told otherwise. */
  readonly threads: number;
  /** CPU time per time that a control group allows, in cores; null: no limit, or none that is told. */
  readonly cpuQuotaCores: number | null;
  readonly memory: HostMemory;
  readonly power: 'ac' | 'battery' | 'unknown';
  readonly powerMode: PowerMode | null;
  readonly thermal: Thermal | null;
  readonly python: string | null;
}

export interface HostMemory {
  /** Of the machine, or of the control group where that is less. */
  readonly totalBytes: number;
  /** What programs can still get without swapping; null: not told. */
  readonly availableBytes: number | null;
  /** Set where a control group allows less than the machine has. */
  readonly limitedByGroup: boolean;
  readonly swapUsedBytes: number | null;
}

export interface PowerMode {
  /** As the system names it. */
  readonly name: string;
  readonly saves: boolean;
}

export interface Thermal {
  /** The processor is held back because of its heat now. */
  readonly throttled: boolean;
  /** The figures behind it. */
  readonly detail: string;
}

export interface Gpu {
  readonly vendor: 'nvidia' | 'amd' | 'intel' | 'apple';
  /** Name or PCI id; null: not told. */
  readonly name: string | null;
  /** `no-access`: the driver is there, this user may not use it. */
  readonly driver: 'works' | 'missing' | 'no-access' | 'unknown';
  /** Shares the processor's memory and is rarely quicker than it: staying on the CPU is no fault there. */
  readonly integrated: boolean;
}

/** A folder that runoff or an engine uses. */
export interface Place {
  readonly use: 'cache' | 'runs' | 'loader';
  readonly path: string;
  /** Where its file system is mounted; null: not told. */
  readonly mountPath: string | null;
  readonly freeBytes: number | null;
  /** Programs may not be started from there; null: not told. */
  readonly noExec: boolean | null;
}

export interface Activity {
  readonly interference: Interference;
  readonly loadAverage: number | null;
  /** Pages read back from swap in the second. */
  readonly swapInPages: number | null;
  /** Programs that used most of the processor in the second; null: not told. */
  readonly busiest: readonly BusyProgram[] | null;
}

export interface BusyProgram {
  readonly name: string;
  /** Of one core; above 1 for a program on several. */
  readonly coreShare: number;
}

export interface EngineLook {
  readonly id: string;
  readonly state: 'available' | 'installable' | 'unavailable';
  readonly version: string | null;
  /** Why it is unavailable, and what to do; null where it is not. */
  readonly reason: string | null;
  readonly nextStep: string | null;
  readonly downloadBytes: number;
  /** Where it will compute, as far as it can be told without loading a model. */
  readonly device: Device;
  /** Build number of the llama.cpp inside; null: not told. */
  readonly llamaBuild: number | null;
  /** Reads GGUF with llama.cpp's code. */
  readonly isLlama: boolean;
  /** It needs the model in a form that runoff makes and keeps. */
  readonly convertsModel: boolean;
  /** The managed environment needs a Python to be made or to run. */
  readonly needsPython: boolean;
  /** Program of the user's own, not installed by runoff; null otherwise. */
  readonly ownProgram: string | null;
}

export interface PlanNeeds {
  /** Context of the default prompts and the checks of a run, tokens. */
  readonly contextTokens: number;
  /** Longest prompt and answer of the default run, tokens. */
  readonly requestTokens: number;
  readonly generateTokens: number;
  /** The same of `--study`. */
  readonly studyTokens: number;
}

export type ModelLook =
  | {
      readonly state: 'unreadable';
      readonly path: string;
      readonly fileBytes: number | null;
      /** Bytes that the header promises and the file lacks; null: another fault. */
      readonly missingBytes: number | null;
      readonly message: string;
      readonly hint: string | null;
    }
  | ReadableModel;

export interface ReadableModel {
  readonly state: 'readable';
  readonly path: string;
  readonly fileBytes: number;
  /** What is wrong with a llamafile, told from the file alone; null: it is none. */
  readonly hazards: readonly FileHazard[] | null;
  readonly quantisation: string;
  /** 0: the header does not tell. */
  readonly contextTokens: number;
  readonly shape: ModelShape;
  readonly tokenizer: TokenizerLook;
  /** Type of the file system; null: not told. */
  readonly fileSystem: string | null;
  /** Its header was read there; `path` is what names it, and nothing of it is on this disk. */
  readonly isOnHub: boolean;
}

export interface FileHazard {
  readonly what: string;
  readonly remedy: string;
  /** It does not run at all. */
  readonly fatal: boolean;
}

export interface TokenizerLook {
  /** `tokenizer.ggml.model`: only `gpt2` (BPE) uses a pre-tokenizer. */
  readonly kind: string | null;
  /** `tokenizer.ggml.pre`. */
  readonly preTokenizer: string | null;
  /** runoff cuts text as this pre-tokenizer does. */
  readonly isKnownHere: boolean;
  /** Why nothing can be told of it before a conversion; left out where it can. */
  readonly untoldBecause?: string;
}

export interface LlamafileHost {
  /** Registrations of the kernel for foreign programs; null: not told. */
  readonly binfmt: readonly BinfmtEntry[] | null;
  /** Apple's command line tools are installed; null: not told. */
  readonly commandLineTools: boolean | null;
}

/** What Gatekeeper thinks of the programs that would be started. */
export interface Quarantine {
  readonly checked: number;
  /** Paths of files that carry the mark. */
  readonly marked: readonly string[];
}

export interface BinfmtEntry {
  readonly name: string;
  readonly enabled: boolean;
  readonly interpreter: string;
  /** Bytes at `offset` in hexadecimal; null: matched by extension. */
  readonly magic: string | null;
  readonly offset: number;
}
