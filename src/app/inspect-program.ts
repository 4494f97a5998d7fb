/** The bytes of a program as adapters see them: what `EngineHost` promises, read by src/models/llamafile. */
import type { ProgramFacts } from '../core/engine.ts';
import { readLlamafile } from '../models/llamafile/read-llamafile.ts';

/** @throws AppError as `readLlamafile` does */
export async function inspectProgram(path: string): Promise<ProgramFacts> {
  const { literal, fileBytes, executable, defaults, models } = await readLlamafile(path);
  return {
    name: literal?.program ?? null,
    version: literal?.version ?? null,
    versionNote: literal?.note ?? null,
    fileBytes,
    format: executable.format,
    architectures: executable.architectures,
    defaultArguments: defaults?.words ?? null,
    models: models.map(({ entry: { name, dataOffset, byteLength, method } }) => ({
      name,
      offset: dataOffset,
      byteLength,
      isCompressed: method !== 'stored',
    })),
  };
}
