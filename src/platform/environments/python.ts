import { existsSync } from 'node:fs';
import { z } from 'zod';
import { findOnPath } from '../process/find-on-path.ts';
import { readCommand } from '../process/run-command.ts';
import { compareVersions } from './definition.ts';

/** An interpreter that takes longer to say its version hangs (or opens a dialog). */
const ASK_TIMEOUT_MS = 15_000;

/** `python3` first: on most systems `python` is older, another one, or none. Versioned names help where the default is too new. */
const CANDIDATES: readonly (readonly [string, ...string[]])[] = [
  ['python3'], ['python'], ['py', '-3'],
  ['python3.13'], ['python3.12'], ['python3.14'], ['python3.11'], ['python3.10'],
];

const FACTS_CODE = `
import importlib.util, json, platform, sys
found = lambda name: importlib.util.find_spec(name) is not None
print(json.dumps({"path": sys.executable, "version": ".".join(map(str, sys.version_info[:3])),
  "machine": platform.machine(), "venv": found("venv") and found("ensurepip")}))
`;

const pythonSchema = z.object({
  /** The interpreter itself, whatever it was called through. */
  path: z.string().min(1),
  version: z.string().regex(/^\d+\.\d+\.\d+$/),
  machine: z.string(),
  /** Debian ships Python without the parts that make a venv. */
  venv: z.boolean(),
});

export type Python = z.infer<typeof pythonSchema>;

export interface PythonNeed {
  readonly title: string;
  readonly pythonMin: string;
  readonly pythonBelow: string | null;
}

export type PythonSearch =
  | { readonly state: 'found'; readonly python: Python }
  | { readonly state: 'missing'; readonly reason: string; readonly nextStep: string };

/** Any Python 3 of 3.10 or newer on PATH; null when there is none. */
export async function findPython(): Promise<Python | null> {
  const search = choosePython(await askCandidates(), { title: 'runoff', pythonMin: '3.10', pythonBelow: null }, process);
  return search.state === 'found' ? search.python : null;
}

/** A Python that fits, or what is missing and how to get it on this system. */
export async function searchPython(need: PythonNeed): Promise<PythonSearch> {
  return choosePython(await askCandidates(), need, process);
}

/** Pure: the first that fits wins; otherwise the reason that is nearest to a solution. */
export function choosePython(
  pythons: readonly Python[],
  need: PythonNeed,
  { platform, arch }: { platform: NodeJS.Platform; arch: string },
): PythonSearch {
  const fits = pythons.filter(({ version }) => isVersionIn(version, need)).filter(({ machine }) => isNative(machine, platform, arch));
  const python = fits.find(({ venv }) => venv);
  if (python !== undefined) return { state: 'found', python };
  const [incomplete] = fits;
  if (incomplete !== undefined) {
    return {
      state: 'missing',
      reason: `Python ${incomplete.version} (${incomplete.path}) cannot make virtual environments: ensurepip is not installed`,
      nextStep: platform === 'linux' ? 'Debian/Ubuntu: sudo apt install python3-venv' : NEXT_STEPS[platform] ?? NEXT_STEP_ELSEWHERE,
    };
  }
  const range = `Python ${need.pythonMin} or newer${need.pythonBelow === null ? '' : ` (below ${need.pythonBelow})`}`;
  const seen = pythons.map(({ version, path, machine }) => `${version} for ${machine} (${path})`);
  return {
    state: 'missing',
    reason: `${need.title} needs ${range}${seen.length === 0 ? ', and there is no Python on PATH' : `; found only ${seen.join(', ')}`}`,
    nextStep: NEXT_STEPS[platform] ?? NEXT_STEP_ELSEWHERE,
  };
}

const NEXT_STEP_ELSEWHERE = 'Install Python from your system’s packages.';
const NEXT_STEPS: Readonly<Partial<Record<NodeJS.Platform, string>>> = {
  linux: 'Debian/Ubuntu: sudo apt install python3 python3-venv; Fedora: sudo dnf install python3.13',
  darwin: 'brew install python@3.13, or the installer from python.org (for Apple silicon)',
  win32: 'winget install Python.Python.3.13, then open a new terminal',
};

/** Pure: what an interpreter printed; null for anything else (Windows' store stub, Python 2). */
export function parsePython(text: string): Python | null {
  try {
    return pythonSchema.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
}

function isVersionIn(version: string, { pythonMin, pythonBelow }: PythonNeed): boolean {
  return compareVersions(version, pythonMin) >= 0 && (pythonBelow === null || compareVersions(version, pythonBelow) < 0);
}

/** A translated interpreter (Rosetta) gets translated packages: on a Mac those are slow, and MLX has none. */
function isNative(machine: string, platform: NodeJS.Platform, arch: string): boolean {
  return platform !== 'darwin' || arch !== 'arm64' || machine === 'arm64';
}

async function askCandidates(): Promise<Python[]> {
  const answers = await Promise.all(CANDIDATES.map(([program, ...args]) => ask(program, args)));
  const byPath = new Map(answers.filter((answer) => answer !== null).map((python) => [python.path, python]));
  return [...byPath.values()];
}

async function ask(program: string, args: readonly string[]): Promise<Python | null> {
  const path = findOnPath(program);
  if (path === null || isMacStub(path)) return null;
  const answer = await readCommand(path, [...args, '-I', '-c', FACTS_CODE], ASK_TIMEOUT_MS);
  return answer === null ? null : parsePython(answer);
}

/** Without Apple's tools /usr/bin/python3 is a stub that opens an installation dialog. */
function isMacStub(path: string): boolean {
  const tools = ['/Library/Developer/CommandLineTools', '/Applications/Xcode.app'];
  return process.platform === 'darwin' && path.startsWith('/usr/bin/') && !tools.some(existsSync);
}
