/** Programs that bring their own model: the run's model is theirs, or they are not measured. */
import { basename } from 'node:path';
import type { AvailableEngine } from '../core/engine.ts';
import { AppError } from '../core/errors.ts';
import type { FoundEngine } from './prepare-engines.ts';
import { proveBytes } from './prepare-model.ts';
import type { ModelAsk, PreparedModel } from './prepare-model.ts';

/** Pure: the model inside one of the engines, as `--model` names it; null where none or several bring one. */
export function carriedModelSpec(found: readonly Pick<FoundEngine, 'found'>[]): string | null {
  const carrying = found.filter((item) => item.found.carries !== undefined);
  const [only] = carrying.length === 1 ? carrying : [];
  return only?.found.carries === undefined ? null : `${only.found.location}:${only.found.carries.name}`;
}

/**
 * What an engine of format gguf is started with: the file, or the program that holds the same bytes.
 * @throws AppError `model-unsupported` when the program holds another model than the run's
 */
export async function ggufFor({ found }: FoundEngine, model: PreparedModel, ask: ModelAsk): Promise<string> {
  if (found.carries === undefined) return model.path;
  const { name, offset, byteLength } = found.carries;
  if (byteLength === model.facts.fileBytes) {
    ask.ui.status(`Comparing ${name} in ${basename(found.location)} with the model of this run`);
    const sha256 = await proveBytes(found.location, { offset, byteLength }, ask);
    if (sha256 === model.facts.sha256) return found.location;
  }
  throw otherModel(found, name, model);
}

function otherModel({ location }: AvailableEngine, name: string, { facts }: PreparedModel): AppError {
  const file = basename(location);
  return new AppError('model-unsupported', `${file} holds ${name}, which is not ${facts.name}, the model of this run`, {
    hint: `Leave --model out, or give --model ${location}: every engine then gets the model that is inside. A llamafile without a model takes any.`,
  });
}
