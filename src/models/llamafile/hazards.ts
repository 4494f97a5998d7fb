/**
 * What will go wrong with a llamafile, on which system, and what to do about it: told from the file alone.
 *
 * Sources: README, llamafile/llamafile.c and issues of github.com/mozilla-ai/llamafile (looked up 2026-11-25), and real
 * builds of 0.6.2, 0.8.13 and 0.9.3.
 */
import { basename } from 'node:path';
import { isBefore } from '../../core/version-order.ts';
import { USER_ARGUMENTS } from './arguments.ts';
import type { Architecture } from './executable.ts';
import { MODEL_ALIGNMENT, type EmbeddedModel, type LlamafileFacts } from './read-llamafile.ts';

export interface Hazard {
  /** Stable, for tests and scripts. */
  readonly id: HazardId;
  readonly os: 'all' | 'linux' | 'macos' | 'windows';
  /** What happens, one sentence. */
  readonly what: string;
  /** What to do, one sentence. */
  readonly remedy: string;
}

export type HazardId =
  | 'windows-4-gib'
  | 'windows-exe'
  | 'no-model'
  | 'several-models'
  | 'model-compressed'
  | 'model-unaligned'
  | 'one-system'
  | 'no-arm64'
  | 'no-x86-64'
  | 'tied-embeddings'
  | 'architecture-unknown'
  | 'server-in-args'
  | 'prompt-flag'
  | 'default-mode'
  | 'silent-truncation'
  | 'loader'
  | 'macos-compiler'
  | 'gatekeeper';

/** Windows starts no larger program (llamafile issues 66, 257, 793). */
export const WINDOWS_EXECUTABLE_BYTES_MAX = 4_294_967_295;
const GIB = 2 ** 30;

type Find = (facts: LlamafileFacts) => Hazard[];

/** Pure: by urgency: what cannot run at all comes first. */
export function llamafileHazards(facts: LlamafileFacts): Hazard[] {
  return FINDERS.flatMap((find) => find(facts));
}

const FINDERS: readonly Find[] = [
  windowsSize,
  modelCount,
  modelStorage,
  programFormat,
  engineAge,
  serverInArguments,
  promptFlag,
  defaultMode,
  silentTruncation,
  windowsName,
  loader,
  macos,
];

function windowsSize({ path, fileBytes, models }: LlamafileFacts): Hazard[] {
  if (fileBytes <= WINDOWS_EXECUTABLE_BYTES_MAX) return [];
  const file = basename(path);
  // With several models inside, the file alone does not say which.
  const model = models.length > 1 ? `${file}@${models[0]?.entry.name ?? ''}` : file;
  const what = `Windows starts no program of 4 GiB or more, and this file has ${(fileBytes / GIB).toFixed(2)} GiB.`;
  const remedy = `Ship a llamafile without a model next to it, and start: llamafile.exe -m ${model}`;
  return [{ id: 'windows-4-gib', os: 'windows', what, remedy }];
}

function modelCount({ path, models }: LlamafileFacts): Hazard[] {
  if (models.length === 0) {
    const what = 'No model is inside: it stops unless a model is named.';
    return [
      { id: 'no-model', os: 'all', what, remedy: 'Start it with -m MODEL.gguf, or pack one: runoff models pack.' },
    ];
  }
  if (models.length === 1) return [];
  const names = models.map(({ entry }) => entry.name);
  const what = `${models.length} models are inside (${names.join(', ')}): whoever names only the file gets "multiple .gguf files".`;
  const remedy = `Name one: -m ${names[0]} in its arguments, -m ${basename(path)}@${names[0]} from another llamafile.`;
  return [{ id: 'several-models', os: 'all', what, remedy }];
}

function modelStorage({ models }: LlamafileFacts): Hazard[] {
  const remedy = 'Pack it again: runoff models pack stores and aligns it.';
  return models.flatMap(({ entry, aligned, summary }): Hazard[] => {
    if (summary === null) {
      const what = `${entry.name} is compressed: llamafile refuses it, because it could not be mapped into memory.`;
      return [{ id: 'model-compressed', os: 'all', what, remedy }];
    }
    if (aligned) return [];
    const what = `${entry.name} starts at byte ${entry.dataOffset}, not at a multiple of ${MODEL_ALIGNMENT}: Apple's GPU and Windows cannot map it as it is.`;
    return [{ id: 'model-unaligned', os: 'all', what, remedy }];
  });
}

const SYSTEM_OF = { elf: 'Linux', pe: 'Windows', 'mach-o': 'macOS' } as const;

function programFormat({ executable: { format, architectures } }: LlamafileFacts): Hazard[] {
  if (format !== 'ape') {
    const what = `The program is built for ${SYSTEM_OF[format]} alone; nothing else starts it.`;
    return [{ id: 'one-system', os: 'all', what, remedy: 'Ship the portable build (it starts with MZqFpD).' }];
  }
  if (architectures.length === 0) return [];
  const lacks = (architecture: Architecture): boolean => !architectures.includes(architecture);
  const remedy = 'Pack the model with a release build, which holds both architectures.';
  const arm: Hazard[] = lacks('aarch64')
    ? [
        {
          id: 'no-arm64',
          os: 'all',
          what: 'No arm64 code is inside: ARM machines, Apple Silicon too, cannot run it as it is.',
          remedy,
        },
      ]
    : [];
  return lacks('x86_64')
    ? [...arm, { id: 'no-x86-64', os: 'all', what: 'No x86-64 code is inside: most PCs cannot run it.', remedy }]
    : arm;
}

/** Last version that was seen to refuse an architecture. Nothing is said about what is not listed. */
const REFUSED_THROUGH: Readonly<Record<string, { readonly version: string; readonly issue: number }>> = {
  gemma3: { version: '0.9.0', issue: 711 },
  granite: { version: '0.9.1', issue: 730 },
  gemma3n: { version: '0.9.3', issue: 772 },
  qwen35: { version: '0.9.3', issue: 898 },
};
/** Seen on 0.6.2: tensor 'output.weight' not found. */
const NO_TIED_EMBEDDINGS_THROUGH = '0.6.2';

function engineAge({ version, models }: LlamafileFacts): Hazard[] {
  if (version === null) return [];
  const remedy = 'Pack the model with a newer llamafile: runoff models pack.';
  return models.flatMap((model): Hazard[] => {
    const refused = refusal(version, model);
    return refused === null ? [] : [{ ...refused, os: 'all', remedy }];
  });
}

function refusal(version: string, { entry, summary }: EmbeddedModel): Pick<Hazard, 'id' | 'what'> | null {
  if (summary === null) return null;
  const { architecture, tiedEmbeddings } = summary;
  const refused = Object.hasOwn(REFUSED_THROUGH, architecture) ? REFUSED_THROUGH[architecture] : undefined;
  if (refused !== undefined && !isBefore(refused.version, version)) {
    const what = `llamafile ${version} does not know the architecture ${architecture} of ${entry.name} (issue ${refused.issue}).`;
    return { id: 'architecture-unknown', what };
  }
  if (!tiedEmbeddings || architecture === 'clip' || isBefore(NO_TIED_EMBEDDINGS_THROUGH, version)) return null;
  const what = `${entry.name} has no output matrix of its own, and llamafile ${version} stops with: tensor 'output.weight' not found.`;
  return { id: 'tied-embeddings', what };
}

function serverInArguments({ generation, defaults }: LlamafileFacts): Hazard[] {
  if (defaults?.words.includes('--server') !== true) return [];
  const hazard = (what: string, remedy: string): Hazard[] => [{ id: 'server-in-args', os: 'all', what, remedy }];
  if (generation === '0.9') {
    return hazard(
      'The --server in its .args is ignored: 0.9 takes the mode from the command line only.',
      'Start it with --server.',
    );
  }
  if (generation === '0.6-0.8.13') {
    return hazard(
      'Because of the --server in its .args, -p TEXT ends with "unknown argument: -p" and --cli -p TEXT with "unknown argument: --server".',
      'Leave --server out of .args: this version serves by default.',
    );
  }
  if (generation !== '0.10') return [];
  return hazard(
    'The --server in its .args wins over --cli and --chat of the command line.',
    'Leave --server out of .args and start it with --server.',
  );
}

function promptFlag({ generation }: LlamafileFacts): Hazard[] {
  if (generation !== '0.10') return [];
  const what = '-p TEXT is the SYSTEM prompt: without --cli the program then waits on the terminal and seems to hang.';
  return [
    { id: 'prompt-flag', os: 'all', what, remedy: 'Use --cli -p TEXT for one answer, --server for an application.' },
  ];
}

const DEFAULT_MODES: Readonly<Record<LlamafileFacts['generation'], string | null>> = {
  '0.1-0.5': null,
  '0.6-0.8.13': 'Without a mode it serves and opens a browser tab.',
  '0.8.14-0.8.17': 'Without a mode it chats on the terminal, and ends where there is none.',
  '0.9': 'Without a mode it chats on the terminal, and ends where there is none.',
  '0.10': 'Without a mode it serves and chats on the terminal.',
  unknown: null,
};

function defaultMode({ generation }: LlamafileFacts): Hazard[] {
  const what = DEFAULT_MODES[generation];
  if (what === null) return [];
  const remedy = generation === '0.10' ? '--server' : '--server --nobrowser';
  return [{ id: 'default-mode', os: 'all', what, remedy: `An application starts it with ${remedy}.` }];
}

/** Context without -c, tokens. */
function contextByDefault(version: string): string {
  if (isBefore(version, '0.8.13')) return '512 tokens';
  return version === '0.8.13' ? "the model's maximum" : '8,192 tokens';
}

function silentTruncation({ generation, version, defaults }: LlamafileFacts): Hazard[] {
  if (version === null || !['0.6-0.8.13', '0.8.14-0.8.17', '0.9'].includes(generation)) return [];
  const asked = defaults?.words.some((word) => word === '-c' || word === '--ctx-size') === true;
  const size = asked ? 'the -c of its .args' : `${contextByDefault(version)} unless -c says otherwise`;
  const what = `Its server cuts a prompt that does not fit into the context (${size}) and answers as if nothing happened.`;
  const remedy = 'Set -c, and compare prompt_tokens of every answer with what was sent.';
  return [{ id: 'silent-truncation', os: 'all', what, remedy }];
}

function windowsName({ path, executable: { format } }: LlamafileFacts): Hazard[] {
  if (format !== 'ape' || /\.exe$/i.test(path)) return [];
  const what = 'Windows takes a file for a program by its ending.';
  return [{ id: 'windows-exe', os: 'windows', what, remedy: `Rename it to ${basename(path)}.exe there.` }];
}

function loader({ executable: { format } }: LlamafileFacts): Hazard[] {
  if (format !== 'ape') return [];
  const what =
    'At the first start it unpacks a loader into $TMPDIR or $HOME: that folder must be writable and allow programs (no noexec).';
  const remedy = `Start it through a shell: sh ./FILE ${USER_ARGUMENTS}; WINE or binfmt_misc then cannot take it either.`;
  return [{ id: 'loader', os: 'linux', what, remedy }];
}

function macos({ executable: { format, architectures } }: LlamafileFacts): Hazard[] {
  if (format !== 'ape') return [];
  const compiler: Hazard = {
    id: 'macos-compiler',
    os: 'macos',
    what: 'On Apple Silicon the first start compiles a loader and needs cc.',
    remedy: 'Install it once: xcode-select --install',
  };
  const gatekeeper: Hazard = {
    id: 'gatekeeper',
    os: 'macos',
    what: 'Gatekeeper blocks a downloaded file from an unknown developer.',
    remedy: 'Allow it in System Settings, Privacy & Security.',
  };
  return architectures.includes('aarch64') ? [compiler, gatekeeper] : [gatekeeper];
}
