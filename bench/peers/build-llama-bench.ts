/**
 * llama-bench for this bench alone: one source file of the archive that the environment llama-cpp-python was compiled
 * from, linked against the libraries that lie there. So llama-bench, llama-server and libllama load the same files.
 */
import { createHash } from 'node:crypto';
import { existsSync, realpathSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { AppError } from '../../src/core/errors.ts';
import { missingCompiler, readCompilerFacts } from '../../src/platform/environments/compiler.ts';
import { runStep } from '../../src/platform/environments/build-step.ts';
import type { BuildContext } from '../../src/platform/environments/build-step.ts';
import { DEFINITIONS_FOLDER } from '../../src/platform/environments/definition.ts';
import type { ReadyEnvironment } from '../../src/platform/environments/environments.ts';
import { cacheFolder } from '../../src/platform/folders.ts';
import { minimumEnvironment } from '../../src/platform/process/environment.ts';
import { runCommand } from '../../src/platform/process/run-command.ts';
import { readLoadedLibraries } from './readings.ts';

const TITLE = 'llama-bench';
const PROGRAM = 'llama-bench';
const PACKAGE = 'llama-cpp-python';
const CLOCK_SOURCE = fileURLToPath(new URL('../bare/decode-clock.c', import.meta.url));
const OUTPUTS_SOURCE = fileURLToPath(new URL('../bare/outputs.c', import.meta.url));
const SOURCE_LIST = join(DEFINITIONS_FOLDER, PACKAGE, 'source.txt');
/** One large file: a minute here, several on a small board. */
const COMPILE_TIMEOUT_MS = 20 * 60_000;
const LOADER_TIMEOUT_MS = 10_000;
/** What the engines compute with: these must be the same files for all programs. */
const SHARED = /^lib(llama|ggml|ggml-base|ggml-cpu)\.(so|dylib|\d)/;

// pip checked the archive's hash; `data` refuses links and paths out of the folder all the same.
const UNPACK_CODE = `
import sys, tarfile
wanted = tuple("/vendor/llama.cpp/" + name for name in ("include/", "ggml/include/", "common/", "vendor/", "tools/llama-bench/"))
with tarfile.open(sys.argv[1]) as archive:
    members = [m for m in archive if any(name in m.name for name in wanted)]
    archive.extractall(sys.argv[2], members, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
`;
const BINDING_CODE = `
import ctypes, json, os, llama_cpp
params = llama_cpp.llama_context_params
print(json.dumps({
    "libraries": os.path.join(os.path.dirname(llama_cpp.__file__), "lib"),
    "paramsBytes": ctypes.sizeof(params),
    "outputsAt": params.n_outputs_max.offset,
}))
`;

/** To be preloaded into llama-server. */
export interface Preloads {
  /** decode-clock.c, made. */
  readonly clock: string;
  /** outputs.c, made for the library's llama_context_params. */
  readonly outputs: string;
}

export interface LlamaBench {
  readonly program: string;
  readonly preloads: Preloads;
  /** Folder of the shared libraries. */
  readonly libraries: string;
  /** First digits of the SHA-256 of libllama and of ggml's CPU code. */
  readonly hashes: string;
}

/** Where the binding has its libraries, the bytes of llama_context_params, and of them where n_outputs_max begins. */
const bindingFacts = z.object({
  libraries: z.string().min(1).max(4_096),
  paramsBytes: z.int().positive().multipleOf(8).max(4_096),
  outputsAt: z.int().nonnegative().max(4_092),
});

export interface BuildAsk {
  readonly environment: ReadyEnvironment;
  readonly signal: AbortSignal;
  readonly onProgress: (text: string) => void;
}

/** Makes it where it is missing. @throws AppError `engine-unavailable`, `environment-failed`, `interrupted` */
export async function ensureLlamaBench(ask: BuildAsk): Promise<LlamaBench> {
  if (process.platform !== 'linux')
    throw new AppError('engine-unavailable', `this bench needs Linux, and this is ${process.platform}`, {
      hint: 'It stops llama-bench between two tests and takes the time of calls inside llama-server.',
    });
  const { environment } = ask;
  const asked = await runCommand(environment.runtime, ['-I', '-c', BINDING_CODE], { timeoutMs: LOADER_TIMEOUT_MS });
  const { libraries, paramsBytes, outputsAt } = bindingFacts.parse(JSON.parse(asked.stdout));
  const hashes = await hashesOf(libraries);
  const key = createHash('sha256').update(JSON.stringify([await readFile(SOURCE_LIST, 'utf8'), libraries, hashes]));
  const root = join(cacheFolder(), 'bench', `${PROGRAM}-${key.digest('hex').slice(0, 16)}`);
  const program = join(root, PROGRAM);
  if (!existsSync(program)) await build(ask, { root, program, libraries });
  const clock = await ensurePreload(ask, root, { name: 'decode-clock', source: CLOCK_SOURCE, defines: [] });
  const outputs = await ensurePreload(ask, root, {
    name: 'outputs',
    source: OUTPUTS_SOURCE,
    defines: [`-DPARAMS_BYTES=${paramsBytes}`, `-DOUTPUTS_AT=${outputsAt}`],
  });
  return { program, preloads: { clock, outputs }, libraries, hashes };
}

interface PreloadSource {
  readonly name: string;
  readonly source: string;
  readonly defines: readonly string[];
}

/** It goes between a program and its libraries, as Linux's loader lets it. */
async function ensurePreload(
  { signal, onProgress }: BuildAsk,
  root: string,
  { name, source, defines }: PreloadSource,
): Promise<string> {
  const key = createHash('sha256')
    .update(await readFile(source))
    .update(defines.join(' '));
  const preload = join(root, `${name}-${key.digest('hex').slice(0, 16)}.so`);
  if (existsSync(preload)) return preload;
  const made = `${preload}.part`;
  const args = preloadArgs(source, defines, made);
  const context: BuildContext = { title: TITLE, root, signal, onProgress };
  await runStep(context, { what: `compiling ${basename(source)}`, command: await compilerOf(), args });
  await rename(made, preload);
  return preload;
}

/** For a C++ compiler: the environment's is one. */
export function preloadArgs(source: string, defines: readonly string[], made: string): string[] {
  return ['-O2', '-shared', '-fPIC', ...defines, '-x', 'c', source, '-o', made];
}

async function compilerOf(): Promise<string> {
  const facts = await readCompilerFacts();
  const missing = missingCompiler(facts, TITLE);
  if (missing !== null || facts.cxx === null)
    throw new AppError('environment-failed', missing?.reason ?? 'no C++ compiler', { hint: missing?.nextStep ?? '' });
  return facts.cxx;
}

async function hashesOf(libraries: string): Promise<string> {
  const names = (await readdir(libraries)).filter((name) => /^lib(llama|ggml-cpu)\.(so|dylib)$/.test(name)).toSorted();
  if (names.length < 2)
    throw new AppError('environment-failed', `libllama and libggml-cpu are not in ${libraries}`, {
      hint: 'runoff engines install llama-cpp-python makes them again.',
    });
  const lines = names.map(async (name) => {
    const bytes = await readFile(join(libraries, name));
    return `${name} ${createHash('sha256').update(bytes).digest('hex').slice(0, 8)}`;
  });
  return (await Promise.all(lines)).join(', ');
}

async function build(
  { environment, signal, onProgress }: BuildAsk,
  { root, program, libraries }: { root: string; program: string; libraries: string },
): Promise<void> {
  const compiler = await compilerOf();
  const work = join(root, 'build');
  await rm(work, { recursive: true, force: true });
  await mkdir(work, { recursive: true });
  const context: BuildContext = { title: TITLE, root, signal, onProgress };
  onProgress(`${TITLE}: fetching the source of ${PACKAGE}`);
  const source = await fetchSource(context, environment.runtime, work);
  onProgress(`${TITLE}: compiling, about a minute`);
  const made = join(work, PROGRAM);
  await runStep(context, {
    what: 'compiling',
    command: compiler,
    args: compileArgs(source, { libraries, made }, process.platform),
    timeoutMs: COMPILE_TIMEOUT_MS,
  });
  await runStep(context, { what: 'starting it', command: made, args: ['--help'] });
  await rename(made, program);
  await rm(work, { recursive: true, force: true });
}

async function fetchSource(context: BuildContext, python: string, work: string): Promise<string> {
  const archives = join(work, 'archive');
  await runStep(context, {
    what: 'fetching the source',
    command: python,
    // pip asks the archive for its metadata, for which it needs the archive's build tools: in a folder of their own.
    args: [
      '-I',
      '-m',
      'pip',
      'download',
      '--no-input',
      '--disable-pip-version-check',
      '--progress-bar',
      'off',
      '--no-deps',
      '--no-binary',
      PACKAGE,
      '--require-hashes',
      '--dest',
      archives,
      '--requirement',
      SOURCE_LIST,
    ],
  });
  const [archive = ''] = await readdir(archives);
  await runStep(context, {
    what: 'unpacking',
    command: python,
    args: ['-I', '-c', UNPACK_CODE, join(archives, archive), work],
  });
  const folder = (await readdir(work)).find((name) => name.startsWith('llama_cpp_python')) ?? '';
  return join(work, folder, 'vendor', 'llama.cpp');
}

/** Pure. The libraries' folder is written into the program: it lies in the cache folder of the same machine. */
export function compileArgs(
  source: string,
  { libraries, made }: { readonly libraries: string; readonly made: string },
  platform: NodeJS.Platform,
): string[] {
  const tool = join(source, 'tools', 'llama-bench');
  const includes = ['include', join('ggml', 'include'), 'common', 'vendor'].map((name) => `-I${join(source, name)}`);
  return [
    '-std=c++17',
    '-O2',
    '-DNDEBUG',
    '-pthread',
    ...includes,
    join(tool, 'main.cpp'),
    join(tool, 'llama-bench.cpp'),
    '-o',
    made,
    `-L${libraries}`,
    '-lllama-common',
    '-lllama',
    '-lggml',
    '-lggml-base',
    `-Wl,-rpath,${libraries}`,
    ...(platform === 'linux' ? [`-Wl,-rpath-link,${libraries}`] : []),
  ];
}

/**
 * Linux: asks the loader which files each program would load, in the environment that it is measured in.
 * @throws AppError `engine-unavailable` for a program that would load another libllama or ggml
 */
export async function requireOneLibrary(programs: readonly string[], libraries: string): Promise<boolean> {
  if (process.platform !== 'linux') return false;
  const folder = realpathSync(libraries);
  for (const program of programs) {
    const env = { ...minimumEnvironment(process.platform, process.env), LD_TRACE_LOADED_OBJECTS: '1' };
    const { stdout } = await runCommand(program, [], { timeoutMs: LOADER_TIMEOUT_MS, env });
    const loaded = [...readLoadedLibraries(stdout)].filter(([name]) => SHARED.test(name));
    const wrong = loaded.filter(([, path]) => !realpathSync(path).startsWith(`${folder}/`));
    if (loaded.length > 0 && wrong.length === 0) continue;
    const found = wrong.map(([name, path]) => `${name} from ${path}`).join(', ');
    throw new AppError('engine-unavailable', `${program} does not load the libraries in ${folder}: ${found}`, {
      hint: 'LD_LIBRARY_PATH comes before what is written into a program: unset it.',
    });
  }
  return true;
}
