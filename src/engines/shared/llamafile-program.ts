/**
 * Which llamafile a program is, and whether it can be measured here: decided from its bytes, nothing is run.
 *
 * Sources: github.com/mozilla-ai/llamafile at the tags 0.6 to 0.9.3 and its main branch for 0.10 (2026-11-25), answers of
 * real servers 0.8.13 and 0.9.3, and docs/LLAMAFILE.md.
 */
import { basename } from 'node:path';
import type { AvailableEngine, CarriedModel, Detection, ProgramFacts } from '../../core/engine.ts';
import { isBefore } from '../../core/version-order.ts';
import { argumentsProblem, modelInArguments } from './llamafile-arguments.ts';

/** `v1` is the server of llamafile up to 0.9.3, `v2` the one that 0.9 ships as llamafiler, `llama-server` that of 0.10. */
export type LlamafileApi = 'v1' | 'v2' | 'llama-server';

/** How a program is started and spoken to; what `AvailableEngine` keeps as `variant`. */
export interface LlamafileVariant {
  readonly api: LlamafileApi;
  /** Built for this system alone, so that no shell is needed. */
  readonly isNative: boolean;
}

export interface LlamafileMachine {
  readonly platform: NodeJS.Platform;
  readonly arch: string;
}

const RELEASES = 'https://github.com/mozilla-ai/llamafile/releases';
/** The first with /health: before it nothing tells when the model is loaded. */
const SERVER_SINCE = '0.6.2';
/** First llamafiler whose address can carry the run's id (--url-prefix); it has no names for models. */
const V2_SINCE = '0.9.0';
const LLAMA_SERVER_SINCE = '0.10.0';
/** Windows starts no program of this size or more (llamafile issues 66, 257, 793). */
const WINDOWS_PROGRAM_BYTES_LIMIT = 2 ** 32;
/** What builds say of themselves that speak llamafile's dialects with another engine inside: runoff's own tests make them. */
const STAND_IN_NOTE = 'conformance stand-in';
const STAND_IN: Partial<AvailableEngine> = {
  recordedAs: 'llamafile-stand-in',
  referenceBackend: "a conformance stand-in: another engine answers in llamafile's dialect, at its own speed",
};
const PLATFORM_OF = { elf: 'linux', 'mach-o': 'darwin', pe: 'win32' } as const;
const SYSTEM_NAMES = { elf: 'Linux', 'mach-o': 'macOS', pe: 'Windows' } as const;
const MACHINE_NAMES: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'aarch64' };

interface Trouble {
  readonly reason: string;
  readonly nextStep: string;
}

/** Pure: what is missing without one. */
export const NOT_FOUND: Detection = {
  state: 'unavailable',
  reason: 'llamafile is not on PATH',
  nextStep: `Take it, or a .llamafile with a model inside, from ${RELEASES} and name it: --engine-path llamafile=PATH.`,
};

/** Pure: whether and how this program can be measured on this machine. */
export function describeProgram(path: string, facts: ProgramFacts, machine: LlamafileMachine): Detection {
  const { version, versionNote } = facts;
  const api = apiOf(facts);
  const trouble =
    versionTrouble(path, facts, api) ??
    systemTrouble(path, facts, machine) ??
    windowsTrouble(path, facts, machine) ??
    argumentTrouble(path, facts, api) ??
    modelTrouble(path, facts);
  if (trouble !== null || api === null) return { state: 'unavailable', ...(trouble ?? unknownProgram(path)) };
  const carries = carriedModel(facts);
  const available: AvailableEngine = {
    state: 'available',
    build: {
      version: `${facts.name} ${version}${versionNote === null ? '' : ` (${versionNote})`}`,
      library: null,
      openMp: null,
      instructionSets: null,
    },
    device: 'unknown',
    location: path,
    variant: formatVariant({ api, isNative: facts.format !== 'ape' }),
    referenceBackend: null,
    ...(versionNote === STAND_IN_NOTE ? STAND_IN : {}),
    ...(api === 'v2' ? { takesText: true } : {}),
    ...(carries === null ? {} : { carries }),
  };
  return available;
}

/** Pure: null for programs that cannot be measured. */
function apiOf({ name, version }: ProgramFacts): LlamafileApi | null {
  if (version === null) return null;
  if (name === 'llamafiler') return isBefore(version, V2_SINCE) ? null : 'v2';
  if (name !== 'llamafile' || isBefore(version, SERVER_SINCE)) return null;
  return isBefore(version, LLAMA_SERVER_SINCE) ? 'v1' : 'llama-server';
}

/** Pure. */
export function formatVariant({ api, isNative }: LlamafileVariant): string {
  return isNative ? `${api}, native` : api;
}

/** Pure. */
export function parseVariant(text: string | null): LlamafileVariant {
  const api = text?.replace(/, native$/, '');
  return { api: api === 'v2' || api === 'llama-server' ? api : 'v1', isNative: text?.endsWith(', native') === true };
}

/** Pure: of an engine that `describeProgram` made. */
export function versionOf({ build }: Pick<AvailableEngine, 'build'>): string {
  return /\d+\.\d+\.\d+/.exec(build.version)?.[0] ?? '0.0.0';
}

function unknownProgram(path: string): Trouble {
  return {
    reason: `${path} does not say which llamafile it is, so nothing is known of its switches`,
    nextStep: `Use a release: ${RELEASES}`,
  };
}

function versionTrouble(path: string, { name, version }: ProgramFacts, api: LlamafileApi | null): Trouble | null {
  if (api !== null) return null;
  if (version === null || name === null) return unknownProgram(path);
  const since = name === 'llamafiler' ? V2_SINCE : SERVER_SINCE;
  return {
    reason: `${path} is ${name} ${version}; before ${since} it does not tell when the model is loaded or whose server answers`,
    nextStep: `Use a newer one: ${RELEASES}`,
  };
}

function systemTrouble(
  path: string,
  { format, architectures }: ProgramFacts,
  { platform, arch }: LlamafileMachine,
): Trouble | null {
  if (format !== 'ape' && PLATFORM_OF[format] !== platform) {
    const reason = `${path} is built for ${SYSTEM_NAMES[format]} alone`;
    return { reason, nextStep: `Use the portable file of a release: ${RELEASES}` };
  }
  const own = MACHINE_NAMES[arch];
  // macOS runs x86-64 code on Apple silicon, through Rosetta.
  const runs = architectures.length === 0 || platform === 'darwin' || architectures.some((name) => name === own);
  if (runs) return null;
  const reason = `${path} holds code for ${architectures.join(' and ')} only, and this machine is ${own ?? arch}`;
  return { reason, nextStep: `Use a release, which holds both: ${RELEASES}` };
}

function windowsTrouble(path: string, { fileBytes }: ProgramFacts, { platform }: LlamafileMachine): Trouble | null {
  if (platform !== 'win32') return null;
  if (fileBytes >= WINDOWS_PROGRAM_BYTES_LIMIT) {
    return {
      reason: `${path} has ${(fileBytes / 2 ** 30).toFixed(2)} GiB, and Windows starts no program of 4 GiB or more`,
      nextStep: `Use it as the model of a small llamafile: --engine-path llamafile=llamafile.exe --model ${path}`,
    };
  }
  if (/\.exe$/i.test(path)) return null;
  return {
    reason: `Windows takes ${basename(path)} for no program`,
    nextStep: `Rename it to ${basename(path)}.exe and name that.`,
  };
}

function argumentTrouble(path: string, facts: ProgramFacts, api: LlamafileApi | null): Trouble | null {
  if (facts.defaultArguments === null || api === null) return null;
  const problem = argumentsProblem(facts.defaultArguments, api);
  if (problem === null) return null;
  return {
    reason: `${path} adds arguments of its own (.args): ${problem}`,
    nextStep: `Make a copy without them: runoff models pack --llamafile ${path} --replace MODEL.gguf`,
  };
}

function modelTrouble(path: string, { models, defaultArguments }: ProgramFacts): Trouble | null {
  const again = `Pack it again: runoff models pack --llamafile ${path} --replace MODEL.gguf`;
  const compressed = models.find(({ isCompressed }) => isCompressed);
  if (compressed !== undefined)
    return { reason: `${compressed.name} in ${path} is compressed, which llamafile refuses`, nextStep: again };
  if (models.length < 2 || carriedModel({ models, defaultArguments }) !== null) return null;
  const names = models.map(({ name }) => name).join(', ');
  return { reason: `${path} holds several models (${names}), and its .args name none of them`, nextStep: again };
}

/** The only model inside, or the one that `.args` names; null where there is none. */
function carriedModel({
  models,
  defaultArguments,
}: Pick<ProgramFacts, 'models' | 'defaultArguments'>): CarriedModel | null {
  const named = modelInArguments(defaultArguments ?? []);
  const [only] = models.length === 1 ? models : models.filter(({ name }) => name === named);
  return only === undefined ? null : { name: only.name, offset: only.offset, byteLength: only.byteLength };
}
