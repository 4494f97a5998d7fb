/** `twin:QUANT:ID`: how a plan names a twin as its model. `twin::FILE.gguf` keeps the types of the file. */
import { AppError } from '../../core/errors.ts';
import { presetNamed, type Preset } from './presets.ts';

const SCHEME = 'twin:';

export interface TwinSpec {
  readonly preset: Preset | null;
  readonly id: string;
}

export function isTwinSpec(model: string): boolean {
  return model.startsWith(SCHEME);
}

/** @throws AppError `usage` for a quantisation that there is not, or where a part is missing */
export function parseTwinSpec(model: string): TwinSpec {
  const rest = model.slice(SCHEME.length);
  const colon = rest.indexOf(':');
  const [quant, id] = [rest.slice(0, Math.max(0, colon)), rest.slice(colon + 1)];
  if (colon < 0 || id === '') {
    throw new AppError('usage', `"${model}" is not a twin`, { hint: 'Write twin:q4_0:llama-3.2-1b.' });
  }
  return { preset: quant === '' ? null : presetNamed(quant), id };
}

export function twinSpec(quant: string | null, id: string): string {
  return `${SCHEME}${quant ?? ''}:${id}`;
}
