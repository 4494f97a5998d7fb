/**
 * Are these the same weights? Every tensor of two models, value by value as float32, whatever formats hold them. Two parts of
 * about a megabyte are in memory at a time.
 */
import { breathe } from '../file-io.ts';
import { chunkRowsOf, openWeights, type Weights, type WeightsFormat, type WeightTensor } from '../weights/weights.ts';
import { Difference, type DifferenceFacts } from './difference.ts';

export interface TensorComparison extends DifferenceFacts {
  readonly name: string;
  readonly shape: readonly number[];
  readonly storedAs: { readonly a: string; readonly b: string };
}

export interface ComparedModel {
  readonly path: string;
  readonly format: WeightsFormat;
}

export interface WeightsComparison {
  readonly a: ComparedModel;
  readonly b: ComparedModel;
  /**
   * `identical`: every value of every tensor. `within`: the same tensors, and none further off than the limit.
   * `different`: a tensor is missing or has another shape, or one is further off.
   */
  readonly verdict: 'identical' | 'within' | 'different';
  /** The limit for `relativeRmse` of the worst tensor that separates `within` from `different`. */
  readonly relativeRmseMax: number;
  readonly valueCount: number;
  readonly identicalTensorCount: number;
  /** Over all values that could be compared. */
  readonly overall: DifferenceFacts;
  /** By `relativeRmse`, worst first; identical ones left out. */
  readonly differing: readonly TensorComparison[];
  readonly missingIn: { readonly a: readonly string[]; readonly b: readonly string[] };
  readonly otherShapes: readonly { readonly name: string; readonly a: string; readonly b: string }[];
  /** Where one file stores the output matrix and the other ties it to the embeddings: compared with these. */
  readonly tiedOutput: 'a' | 'b' | null;
}

export interface CompareOptions {
  readonly relativeRmseMax: number;
  readonly onProgress?: (progress: { readonly doneBytes: number; readonly totalBytes: number }) => void;
  readonly signal?: AbortSignal;
}

/** Rejects as `openWeights` does. */
export async function compareWeights(
  pathA: string,
  pathB: string,
  options: CompareOptions,
): Promise<WeightsComparison> {
  const a = await openWeights(pathA);
  try {
    const b = await openWeights(pathB);
    try {
      return await compareOpened(a, b, options);
    } finally {
      await b.close();
    }
  } finally {
    await a.close();
  }
}

async function compareOpened(a: Weights, b: Weights, options: CompareOptions): Promise<WeightsComparison> {
  const { pairs, missingIn, otherShapes, tiedOutput } = pairTensors(a, b);
  const totalBytes = pairs.reduce((sum, { a: one, b: other }) => sum + one.storedBytes + other.storedBytes, 0);
  const overall = new Difference();
  const compared: TensorComparison[] = [];
  let doneBytes = 0;
  for (const pair of pairs) {
    const difference = await compareTensor(pair, options.signal);
    overall.include(difference);
    compared.push({
      name: pair.a.name,
      shape: pair.a.shape,
      storedAs: { a: pair.a.storedAs, b: pair.b.storedAs },
      ...difference.facts(),
    });
    doneBytes += pair.a.storedBytes + pair.b.storedBytes;
    options.onProgress?.({ doneBytes, totalBytes });
  }
  const differing = compared
    .filter(({ differingCount }) => differingCount > 0)
    .toSorted((left, right) => right.relativeRmse - left.relativeRmse || right.maxAbsolute - left.maxAbsolute);
  const isWhole = missingIn.a.length + missingIn.b.length + otherShapes.length === 0 && pairs.length > 0;
  const isWithin = differing.every(({ relativeRmse }) => relativeRmse <= options.relativeRmseMax);
  return {
    a: { path: a.path, format: a.format },
    b: { path: b.path, format: b.format },
    verdict: !isWhole || !isWithin ? 'different' : differing.length === 0 ? 'identical' : 'within',
    relativeRmseMax: options.relativeRmseMax,
    valueCount: overall.valueCount,
    identicalTensorCount: compared.length - differing.length,
    overall: overall.facts(),
    differing,
    missingIn,
    otherShapes,
    tiedOutput,
  };
}

interface TensorPair {
  readonly a: WeightTensor;
  readonly b: WeightTensor;
}

const OUTPUT = 'lm_head.weight';
const EMBEDDINGS = 'model.embed_tokens.weight';

function pairTensors(
  a: Weights,
  b: Weights,
): Pick<WeightsComparison, 'missingIn' | 'otherShapes' | 'tiedOutput'> & { pairs: TensorPair[] } {
  const inA = byName(a);
  const inB = byName(b);
  const tiedOutput = tieOutput(inA, inB) ? 'a' : tieOutput(inB, inA) ? 'b' : null;
  const pairs: TensorPair[] = [];
  const otherShapes: { name: string; a: string; b: string }[] = [];
  for (const [name, one] of inA) {
    const other = inB.get(name);
    if (other === undefined) continue;
    const [shapeA, shapeB] = [one.shape.join(' x '), other.shape.join(' x ')];
    // A tied matrix keeps the name of what it is compared as.
    if (shapeA === shapeB) pairs.push({ a: { ...one, name }, b: other });
    else otherShapes.push({ name, a: shapeA, b: shapeB });
  }
  const missing = (from: ReadonlyMap<string, unknown>, present: ReadonlyMap<string, unknown>): string[] =>
    [...present.keys()].filter((name) => !from.has(name)).sort();
  return { pairs, otherShapes, tiedOutput, missingIn: { a: missing(inA, inB), b: missing(inB, inA) } };
}

function byName({ tensors }: Weights): Map<string, WeightTensor> {
  return new Map(tensors.map((tensor) => [tensor.name, tensor]));
}

/** A quantiser may store a tied output matrix a second time: it computes what the embeddings of the other file compute. */
function tieOutput(lacking: Map<string, WeightTensor>, having: ReadonlyMap<string, WeightTensor>): boolean {
  const embeddings = lacking.get(EMBEDDINGS);
  if (embeddings === undefined || lacking.has(OUTPUT) || !having.has(OUTPUT)) return false;
  lacking.set(OUTPUT, embeddings);
  return true;
}

async function compareTensor({ a, b }: TensorPair, signal: AbortSignal | undefined): Promise<Difference> {
  const difference = new Difference();
  if (a.rows !== b.rows) {
    // A vector whose elements one file reorders like rows.
    difference.add(readWhole(a), readWhole(b));
    return difference;
  }
  const { columns } = a;
  const chunkRows = chunkRowsOf([a, b]);
  const [valuesA, valuesB] = [new Float32Array(chunkRows * columns), new Float32Array(chunkRows * columns)];
  for (let firstRow = 0; firstRow < a.rows; firstRow += chunkRows) {
    await breathe();
    signal?.throwIfAborted();
    const rowCount = Math.min(chunkRows, a.rows - firstRow);
    a.read(firstRow, rowCount, valuesA);
    b.read(firstRow, rowCount, valuesB);
    difference.add(valuesA.subarray(0, rowCount * columns), valuesB.subarray(0, rowCount * columns));
  }
  return difference;
}

function readWhole(tensor: WeightTensor): Float32Array {
  chunkRowsOf([{ ...tensor, unitRows: tensor.rows }]);
  const values = new Float32Array(tensor.rows * tensor.columns);
  tensor.read(0, tensor.rows, values);
  return values;
}
