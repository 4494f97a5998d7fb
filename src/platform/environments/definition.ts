import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { AppError } from '../../core/errors.ts';

/** environments/ lies beside src/ in the source tree and beside dist/ in the package. */
export const DEFINITIONS_FOLDER = fileURLToPath(new URL('../../../environments/', import.meta.url));

const text = z.string().min(1).max(2_000);
const version = z.string().regex(/^\d+\.\d+$/);

const base = {
  title: text,
  /** Oldest glibc that its binaries run on; null when any will do. */
  glibcMin: version.nullable(),
  /** The largest of the platforms, without GPU binaries. */
  downloadBytes: z.int().positive(),
  diskBytes: z.int().positive(),
  /** By `platform-arch` or `platform`: both sizes where they are far from the largest. */
  onPlatform: z.record(text, z.object({ downloadBytes: z.int().positive(), diskBytes: z.int().positive() })).optional(),
  /** `platform-arch` as Node names them. */
  platforms: z.array(text).max(50),
  /** By `platform`, `platform-arch` or `linux-musl`: why not, in the user's words. */
  unsupported: z.record(text, z.object({ reason: text, nextStep: text })),
  /** Code that exits 0 when the environment works: Python, or an ES module that gets the gpu setting as JSON. */
  check: text,
};

/** A word for a command line: no option, no path out of the folder. */
const word = z.string().regex(/^[A-Za-z0-9_][\w.-]{0,100}$/);
const inside = z
  .string()
  .max(200)
  .regex(/^[A-Za-z0-9_][\w.-]*(\/[A-Za-z0-9_][\w.-]*)*$/);
const defines = z.record(word, z.string().max(200)).refine((all) => Object.keys(all).length <= 100, 'too many');

/** A package whose library is compiled here: source.txt names its archive, build-requirements.txt the tools. */
const compileSchema = z.object({
  /** On two cores of 2024. */
  minutes: z.int().positive().max(600),
  /** Folder with the library's CMakeLists.txt in the source archive. */
  sourceFolder: inside,
  /** File of this folder that CMake reads after the library's project(): what compilers need that have a known fault. */
  projectInclude: word.optional(),
  /** Listed among the packages: what the archive holds. */
  library: z.object({ name: word, version: word }),
  /** CMake variables of the library's build. */
  define: defines,
  /** Built with the library, and put where the environment's programs are. */
  programs: z.array(word).min(1).max(10),
  /** CMake variables of the package's own build, which gets the library ready-made. */
  packageDefine: defines,
  /** Where in site-packages the package looks for the library. */
  librariesFolder: inside,
});

export type CompileData = z.infer<typeof compileSchema>;

/** A source archive whose programs are used as they are: source.txt names it, build-requirements.txt the tools. */
const sourceSchema = z.object({
  /** Inside the archive's own folder. */
  folder: inside,
  /** Files and folders of it that are kept. */
  keep: z.array(word).min(1).max(20),
  /** Listed among the packages: what the archive holds. */
  library: z.object({ name: word, version: word }),
});

export type SourceData = z.infer<typeof sourceSchema>;

const definitionSchema = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('python'),
    ...base,
    pythonMin: version,
    pythonBelow: version.nullable(),
    compile: compileSchema.optional(),
    source: sourceSchema.optional(),
    /** pip looks for what the list leaves out: packages that differ by platform, pinned exactly by those that need them. */
    resolvesDependencies: z.boolean().optional(),
  }),
  z.object({
    kind: z.literal('node'),
    ...base,
    /** What GPU binaries add to both sizes. */
    gpuBytes: z.object({ cuda: z.int().positive(), vulkan: z.int().positive() }),
  }),
]);

export type DefinitionData = z.infer<typeof definitionSchema>;

/** One folder of environments/, read. */
export type Definition = DefinitionData & {
  readonly id: string;
  readonly folder: string;
  /** Over all its files: another hash is another environment. */
  readonly hash: string;
};

/** @throws AppError `environment-failed` for an unknown id. */
export async function loadDefinition(definitionsFolder: string, id: string): Promise<Definition> {
  const known = await listDefinitions(definitionsFolder);
  if (!known.includes(id)) {
    throw new AppError('environment-failed', `there is no managed environment "${id}"`, { hint: `There are: ${known.join(', ')}.` });
  }
  const folder = join(definitionsFolder, id);
  const hash = createHash('sha256');
  for (const name of (await readdir(folder)).toSorted()) hash.update(`${name}\n`).update(await readFile(join(folder, name)));
  const data = definitionSchema.parse(JSON.parse(await readFile(join(folder, 'environment.json'), 'utf8')));
  return { ...data, id, folder, hash: hash.digest('hex') };
}

export async function listDefinitions(definitionsFolder: string): Promise<string[]> {
  const entries = await readdir(definitionsFolder, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name).toSorted();
}

export interface PlatformFacts {
  readonly platform: NodeJS.Platform;
  readonly arch: string;
  /** Version of glibc; null on Linux means musl, elsewhere it means nothing. */
  readonly glibc: string | null;
}

/** Pure: why this machine can never have it; null when it can. */
export function unsupportedReason(definition: DefinitionData, facts: PlatformFacts): { reason: string; nextStep: string } | null {
  const { platform, arch, glibc } = facts;
  const exact = `${platform}-${arch}`;
  const known = definition.unsupported[exact] ?? definition.unsupported[platform];
  if (known !== undefined) return known;
  if (platform === 'linux' && glibc === null && definition.unsupported['linux-musl'] !== undefined) {
    return definition.unsupported['linux-musl'];
  }
  if (!definition.platforms.includes(exact)) {
    return { reason: `${definition.title} has no build for ${exact}`, nextStep: `It runs on ${definition.platforms.join(', ')}.` };
  }
  const { glibcMin } = definition;
  if (platform === 'linux' && glibcMin !== null && glibc !== null && compareVersions(glibc, glibcMin) < 0) {
    return {
      reason: `${definition.title} needs glibc ${glibcMin} or newer; this system has ${glibc}`,
      nextStep: 'Use a newer distribution, or a container with one (Debian 12, Ubuntu 22.04 or newer).',
    };
  }
  return null;
}

/** Pure: what it costs here. */
export function sizesOf(
  definition: DefinitionData,
  { platform, arch }: Pick<PlatformFacts, 'platform' | 'arch'>,
): { readonly downloadBytes: number; readonly diskBytes: number } {
  const { onPlatform = {} } = definition;
  return onPlatform[`${platform}-${arch}`] ?? onPlatform[platform] ?? definition;
}

/** Pure: negative when a is older. Missing parts count 0. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a.split('.').map(Number), b.split('.').map(Number)];
  for (let index = 0; index < Math.max(left.length, right.length); index += 1) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

export function thisPlatform(): PlatformFacts {
  // Without this the report resolves the host names of open connections, which takes seconds.
  Object.assign(process.report, { excludeNetwork: true });
  const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return { platform: process.platform, arch: process.arch, glibc: report.header?.glibcVersionRuntime ?? null };
}
