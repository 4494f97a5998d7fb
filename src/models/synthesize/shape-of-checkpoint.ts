/** A configuration held against the weights that it describes: names and sizes from their headers. Pure. */
import { AppError } from '../../core/errors.ts';
import type { CheckpointLook } from '../sources/hub-look.ts';
import type { ModelShape } from './shape.ts';

/** Of the language model: those of a vision tower have another prefix. */
const LAYER = /^(?:model\.)?(?:language_model\.)?(?:model\.)?layers\.(\d+)\./;
const OUTPUT = /(?:^|\.)lm_head\./;

/** @throws AppError `model-invalid` where they describe two models */
export function shapeOfCheckpoint(
  shape: ModelShape,
  { pinned, tensorNames, embedding }: Pick<CheckpointLook, 'pinned' | 'tensorNames' | 'embedding'>,
): ModelShape {
  const layers = new Set([...tensorNames].flatMap((name) => LAYER.exec(name)?.[1] ?? []));
  if (layers.size > 0 && layers.size !== shape.layerCount)
    throw contradicts(pinned, `config.json speaks of ${shape.layerCount} layers, the weights are of ${layers.size}`);
  const sizes = `${shape.vocabularySize} tokens of ${shape.hiddenSize}`;
  if (embedding !== null && (embedding.rows !== shape.vocabularySize || embedding.columns !== shape.hiddenSize))
    throw contradicts(
      pinned,
      `config.json speaks of ${sizes}, the embeddings are ${embedding.rows} of ${embedding.columns}`,
    );
  // Without a matrix of its own for the output, the embeddings are all there is.
  const hasOutput = [...tensorNames].some((name) => OUTPUT.test(name));
  return hasOutput || tensorNames.size === 0 ? shape : { ...shape, tiedEmbeddings: true };
}

function contradicts(pinned: string, reason: string): AppError {
  return new AppError('model-invalid', `${pinned}: ${reason}.`, {
    hint: 'Take another repository or revision, or give --twin a config.json of your own.',
  });
}
