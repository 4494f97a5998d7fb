/** The names that mlx_lm gives the tensors of a shape: those of Hugging Face. */
import { assert } from '../../core/assert.ts';
import { FAMILIES } from '../hugging-face/families.ts';
import { huggingFaceName } from '../hugging-face/tensor-map.ts';
import type { TwinArchitecture } from './shape.ts';

export function mlxName(architecture: TwinArchitecture, ggufName: string): string {
  const name = huggingFaceName(ggufName, FAMILIES[architecture]);
  assert(name !== null, `${ggufName} has a name in Hugging Face's scheme`);
  return name;
}
