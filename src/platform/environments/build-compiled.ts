/**
 * A Python package whose native library is compiled here. The library is built first, by CMake alone and together with
 * its own programs, so that package and programs load one and the same file; the package is then installed around it.
 */
import { cp, mkdir, readdir, rm, stat } from 'node:fs/promises';
import { availableParallelism, totalmem } from 'node:os';
import { join, relative, sep } from 'node:path';
import { AppError } from '../../core/errors.ts';
import { runStep } from './build-step.ts';
import type { BuildContext } from './build-step.ts';
import { compileStep } from './compile-progress.ts';
import type { CompileData, Definition } from './definition.ts';

/** Ten minutes on two cores; a small board with one needs an hour. */
const COMPILE_TIMEOUT_MS = 120 * 60_000;
/** A compiler process on the largest of ggml's files. */
const JOB_BYTES = 1_500_000_000;
/** Removed at the end: sources and objects. */
export const WORK_FOLDER = 'build';
const ARCHIVES_MAX = 1;

// The archive's hash was checked by pip; `data` refuses links and paths out of the folder all the same.
const UNPACK_CODE = `
import sys, tarfile
with tarfile.open(sys.argv[1]) as archive:
    archive.extractall(sys.argv[2], **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
`;
const SITE_PACKAGES_CODE = 'import sysconfig; print(sysconfig.get_path("platlib"))';

interface Places {
  /** Folder of the definition. */
  readonly definition: string;
  readonly runtime: string;
  /** Where programs are put; elsewhere than on Windows Python's own tools are here, too. */
  readonly programs: string;
  /** Folder of the unpacked package. */
  readonly source: string;
  readonly build: string;
  /** Where the package looks for its library. */
  readonly libraries: string;
}

/**
 * Fetches the source archive, compiles, installs, and removes what only the build needed.
 * @param runtime Python of the environment, with the package's dependencies installed
 * @returns what was compiled, as a package with its version
 * @throws AppError `environment-failed` with the cause in words, `interrupted`
 */
export async function buildCompiled(
  context: BuildContext,
  definition: Definition & { readonly compile?: CompileData | undefined },
  runtime: string,
): Promise<Record<string, string>> {
  const { compile } = definition;
  if (compile === undefined) return {};
  const work = join(context.root, WORK_FOLDER);
  await mkdir(work, { recursive: true });
  await installTools(context, definition, runtime);
  const source = await fetchSource(context, definition, { runtime, work });
  const sitePackages = (await ask(context, runtime, SITE_PACKAGES_CODE)).trim();
  const places: Places = {
    definition: definition.folder,
    runtime,
    programs: join(context.root, 'bin'),
    source,
    build: join(work, 'objects'),
    libraries: join(sitePackages, ...compile.librariesFolder.split('/')),
  };
  await compileLibrary(context, compile, places);
  context.onProgress(`${context.title}: installing`);
  await installPackage(context, compile, places);
  await placeFiles(context, compile, places);
  await tryPrograms(context, compile, places);
  await removeTools(context, definition, runtime);
  await rm(work, { recursive: true, force: true });
  return { [compile.library.name]: compile.library.version };
}

/** What pip needs for a source archive. */
export async function installTools(context: BuildContext, { folder }: Definition, runtime: string): Promise<void> {
  const args = ['install', '--no-deps', '--only-binary', ':all:', '--progress-bar', 'off'];
  await pip(context, runtime, 'installing the build tools', [...args, '--requirement', join(folder, 'build-requirements.txt')]);
}

/** They are no part of the engine: an application that ships it does not ship them. */
export async function removeTools(context: BuildContext, { folder }: Definition, runtime: string): Promise<void> {
  const args = ['uninstall', '--yes', '--requirement', join(folder, 'build-requirements.txt')];
  await pip(context, runtime, 'removing the build tools', args);
}

/** @returns folder of the unpacked archive, inside `work` */
export async function fetchSource(
  context: BuildContext,
  { folder }: Definition,
  { runtime, work }: { readonly runtime: string; readonly work: string },
): Promise<string> {
  const archives = join(work, 'archive');
  const sources = join(work, 'source');
  await pip(context, runtime, 'fetching the source', [
    'download', '--no-deps', '--no-build-isolation', '--no-binary', ':all:', '--require-hashes', '--progress-bar', 'off',
    '--dest', archives, '--requirement', join(folder, 'source.txt'),
  ]);
  const archive = onlyOne(await readdir(archives), 'source archive');
  await mkdir(sources, { recursive: true });
  context.onProgress(`${context.title}: unpacking`);
  await ask(context, runtime, UNPACK_CODE, [join(archives, archive), sources]);
  return join(sources, onlyOne(await readdir(sources), 'folder in the source archive'));
}

async function compileLibrary(context: BuildContext, compile: CompileData, places: Places): Promise<void> {
  const { build, programs, runtime } = places;
  await runStep(context, {
    what: 'configuring the build',
    command: runtime,
    args: ['-I', '-m', 'cmake', ...configureArgs(compile, places, process.platform)],
    progress: compileStep,
  });
  const jobs = String(jobsFor({ cores: availableParallelism(), memoryBytes: totalmem() }));
  await runStep(context, {
    what: 'compiling',
    command: runtime,
    args: ['-I', '-m', 'cmake', '--build', build, '--config', 'Release', '--parallel', jobs, '--target', ...compile.programs],
    timeoutMs: COMPILE_TIMEOUT_MS,
    progress: compileStep,
  });
  await mkdir(programs, { recursive: true });
}

/** Pure: CMake's arguments. On Windows CMake chooses Visual Studio, which needs no prepared command line. */
export function configureArgs(
  { sourceFolder, define, projectInclude }: Pick<CompileData, 'sourceFolder' | 'define' | 'projectInclude'>,
  { definition, source, build, programs, libraries }: Omit<Places, 'runtime'>,
  platform: NodeJS.Platform,
): string[] {
  const generator = platform === 'win32' ? [] : ['-G', 'Ninja', `-DCMAKE_MAKE_PROGRAM=${join(programs, 'ninja')}`];
  return [
    '-S', join(source, ...sourceFolder.split('/')), '-B', build, ...generator, '-DCMAKE_BUILD_TYPE=Release',
    ...(projectInclude === undefined ? [] : [`-DCMAKE_PROJECT_INCLUDE:FILEPATH=${join(definition, projectInclude)}`]),
    ...runPathArgs(relative(programs, libraries), platform),
    ...Object.entries(define).map(([name, value]) => `-D${name}=${value}`),
  ];
}

/** Pure: libraries find each other beside them, programs find them in `libraries`, wherever the cache folder lies. */
function runPathArgs(libraries: string, platform: NodeJS.Platform): string[] {
  if (platform === 'win32') return [];
  const origin = platform === 'darwin' ? '@loader_path' : '$ORIGIN';
  // Not join(): it would take `..` and the origin for a pair that cancels out.
  const folders = [origin, `${origin}/${libraries.split(sep).join('/')}`];
  return ['-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON', `-DCMAKE_INSTALL_RPATH=${folders.join(';')}`];
}

/** Pure: one compiler process a core, as far as memory goes. */
export function jobsFor({ cores, memoryBytes }: { readonly cores: number; readonly memoryBytes: number }): number {
  return Math.max(1, Math.min(cores, Math.floor(memoryBytes / JOB_BYTES)));
}

async function installPackage(context: BuildContext, { packageDefine }: CompileData, { runtime, source }: Places): Promise<void> {
  const settings = Object.entries(packageDefine).map(([name, value]) => `--config-settings=cmake.define.${name}=${value}`);
  await pip(context, runtime, 'installing the package', ['install', '--no-deps', '--no-build-isolation', ...settings, source]);
}

async function placeFiles(context: BuildContext, compile: CompileData, { build, programs, libraries }: Places): Promise<void> {
  const { platform } = process;
  const output = await outputFolder(build);
  const names = await readdir(output);
  const found = librariesIn(names, platform);
  if (found.length === 0) throw incomplete(context, 'no library');
  await mkdir(libraries, { recursive: true });
  // On Windows a program finds its libraries beside itself.
  const targets = platform === 'win32' ? [libraries, programs] : [libraries];
  for (const target of targets) {
    // Links stay links: the loader asks for the short names.
    for (const name of found) await cp(join(output, name), join(target, name), { verbatimSymlinks: true });
  }
  for (const program of compile.programs) {
    const name = fileName(program);
    if (!names.includes(name)) throw incomplete(context, `no ${name}`);
    await cp(join(output, name), join(programs, name));
  }
}

/** A program that does not find its libraries ends at once, and only when it is started. */
async function tryPrograms(context: BuildContext, compile: CompileData, { programs, build }: Places): Promise<void> {
  for (const program of compile.programs) {
    const command = join(programs, fileName(program));
    // Away from the root: a path that is relative by mistake must not lead anywhere.
    await runStep(context, { what: `starting ${program}`, command, args: ['--version'], cwd: build });
  }
}

function fileName(program: string): string {
  return process.platform === 'win32' ? `${program}.exe` : program;
}

/** Visual Studio puts the configuration's name behind it. */
async function outputFolder(build: string): Promise<string> {
  const release = join(build, 'bin', 'Release');
  const isThere = await stat(release).then((facts) => facts.isDirectory(), () => false);
  return isThere ? release : join(build, 'bin');
}

/** Pure: the shared libraries among file names, with the links that lead to them. */
export function librariesIn(names: readonly string[], platform: NodeJS.Platform): string[] {
  const pattern = platform === 'win32' ? /\.dll$/i : platform === 'darwin' ? /^lib.*\.dylib$/ : /^lib.*\.so(\.\d+)*$/;
  return names.filter((name) => pattern.test(name));
}

function incomplete({ title, root }: BuildContext, what: string): AppError {
  return new AppError('environment-failed', `cannot install ${title}: the build left ${what}`, {
    hint: `Report this with the version of the compiler; the folder was ${root}.`,
  });
}

function onlyOne(names: readonly string[], what: string): string {
  const [name] = names;
  if (name !== undefined && names.length <= ARCHIVES_MAX) return name;
  throw new AppError('environment-failed', `pip left ${names.length} files instead of one ${what}`, {
    hint: 'Run again; if it stays, report this.',
  });
}

async function pip(context: BuildContext, runtime: string, what: string, args: readonly string[]): Promise<void> {
  const [command = '', ...rest] = args;
  const quiet = command === 'uninstall' ? [] : ['--no-input'];
  await runStep(context, {
    what,
    command: runtime,
    args: ['-I', '-m', 'pip', command, ...quiet, '--disable-pip-version-check', ...rest],
  });
}

async function ask(context: BuildContext, runtime: string, code: string, args: readonly string[] = []): Promise<string> {
  const silent = { ...context, onProgress: () => {} };
  return runStep(silent, { what: 'preparing the source', command: runtime, args: ['-I', '-c', code, ...args] });
}
