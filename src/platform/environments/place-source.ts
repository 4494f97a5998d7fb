/** Programs of a package's source archive that are used as they are; nothing is compiled. */
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../core/errors.ts';
import { fetchSource, installTools, removeTools, WORK_FOLDER } from './build-compiled.ts';
import type { BuildContext } from './build-step.ts';
import type { Definition, SourceData } from './definition.ts';

/** Below the environment's root. */
const SOURCE_FOLDER = 'source';

export function sourceFolderOf(root: string): string {
  return join(root, SOURCE_FOLDER);
}

/**
 * Fetches the archive and keeps the files that the definition names.
 * @param runtime Python of the environment
 * @returns what was placed, as a package with its version
 * @throws AppError `environment-failed` with the cause in words, `interrupted`
 */
export async function placeSource(
  context: BuildContext,
  definition: Definition & { readonly source?: SourceData | undefined },
  runtime: string,
): Promise<Record<string, string>> {
  const { source } = definition;
  if (source === undefined) return {};
  const work = join(context.root, WORK_FOLDER);
  await mkdir(work, { recursive: true });
  await installTools(context, definition, runtime);
  const unpacked = await fetchSource(context, definition, { runtime, work });
  const target = sourceFolderOf(context.root);
  await mkdir(target, { recursive: true });
  for (const name of source.keep) {
    await rename(join(unpacked, ...source.folder.split('/'), name), join(target, name)).catch((cause: unknown) => {
      throw new AppError('environment-failed', `cannot install ${context.title}: its source has no ${name}`, {
        hint: 'Run again; if it stays, report this.',
        cause,
      });
    });
  }
  await removeTools(context, definition, runtime);
  await rm(work, { recursive: true, force: true });
  return { [source.library.name]: source.library.version };
}
