/** What a model reads and computes for one token: the two numbers that a machine's limits are divided by. */
import type { ModelTraffic } from '../../core/roofline-schema.ts';
import { cacheValuesPerToken, countOf } from './cache-values.ts';
import { textOf } from './metadata.ts';
import type { GgufHeader, GgufTensor } from './read-header.ts';

const EMBEDDING = 'token_embd.weight';
const OUTPUT = 'output.weight';
/** A mixture's experts lie stacked in one tensor each; a token goes through some of them. */
const EXPERTS = /\.ffn_\w+_exps\.weight$/;
/** Factors for positions, read as good as never. */
const TABLES = /^rope_freqs|^rope_factors/;

/**
 * Weights that are read for every generated token: all tensors, of the embeddings one row only, unless they are the
 * output matrix as well (tied), and of a mixture's experts the share in use. Parameters that a prompt token is multiplied
 * with: the same without the output matrix, which only the last token of a prompt goes through.
 */
export function trafficOf({ tensors, metadata }: GgufHeader): ModelTraffic {
  const architecture = textOf(metadata, 'general.architecture') ?? 'unknown';
  const experts = countOf(metadata, `${architecture}.expert_count`);
  const used = countOf(metadata, `${architecture}.expert_used_count`);
  const expertShare = experts === null || used === null ? 1 : Math.min(1, used / experts);
  const tied = !tensors.some(({ name }) => name === OUTPUT);
  const shareOf = ({ name, rows }: GgufTensor): number => {
    if (TABLES.test(name)) return 0;
    if (name === EMBEDDING) return tied ? 1 : 1 / rows;
    return EXPERTS.test(name) ? expertShare : 1;
  };
  const bytes = tensors.reduce((sum, tensor) => sum + tensor.byteLength * shareOf(tensor), 0);
  const parameters = tensors
    .filter(({ name, rows }) => rows > 1 && name !== EMBEDDING && name !== OUTPUT)
    .reduce((sum, tensor) => sum + tensor.rows * tensor.columns * shareOf(tensor), 0);
  return {
    weightBytesPerToken: Math.round(bytes),
    multipliedParametersPerToken: Math.round(parameters),
    cacheValuesPerToken: cacheValuesPerToken(metadata, architecture),
  };
}
