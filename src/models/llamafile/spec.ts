/** How a model inside a llamafile is named: `X.llamafile` or `X.llamafile:NAME.gguf`. */
import { existsSync } from 'node:fs';

export interface LlamafileSpec {
  readonly path: string;
  /** Null: the one that is inside. */
  readonly modelName: string | null;
}

/** The part before the colon has to exist, so that `C:\model.gguf` stays a path. */
export function splitLlamafileSpec(spec: string): LlamafileSpec {
  const match = /^(.+):([^:\\]+\.gguf)$/i.exec(spec);
  const [, path = '', modelName = ''] = match ?? [];
  if (match === null || existsSync(spec) || !existsSync(path)) return { path: spec, modelName: null };
  return { path, modelName };
}
