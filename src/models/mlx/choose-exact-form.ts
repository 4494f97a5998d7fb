/** Which ggml type holds a packed matrix of MLX to the last bit: scales and biases are looked through before anything is written. */
import { AppError } from '../../core/errors.ts';
import { breathe } from '../file-io.ts';
import { tensorTypeNamed, type TensorType } from '../gguf/tensor-types.ts';
import { exactForms, settle, type ExactForm, type FormFault, type Groups } from './exact-forms.ts';
import { PackedReader, UNIT_VALUES, type PackedSource, type ReadAt, type RowRange } from './packed-source.ts';

export interface PackedMatrix {
  /** Of the file or folder, for messages. */
  readonly model: string;
  readonly name: string;
  readonly source: PackedSource;
}

interface Search {
  readonly readAt: ReadAt;
  readonly signal?: AbortSignal | undefined;
}

/** Values looked at in one piece: about a megabyte of codes. */
const CHUNK_VALUES = 1 << 20;
/** The exponent that is NaN in MLX and 2^127 in ggml. */
const E8M0_NAN = 255;

/** @throws AppError `model-unsupported` that says why there is none and what is nearest, `model-invalid` for infinite scales */
export async function chooseExactForm(matrix: PackedMatrix, { readAt, signal }: Search): Promise<TensorType> {
  const reader = new PackedReader(readAt);
  const { source } = matrix;
  if (source.mode === 'mxfp4') {
    await checkExponents(matrix, reader, signal);
    return tensorTypeNamed('MXFP4');
  }
  let misfit: Misfit | null = null;
  for (const form of exactForms(source.bits, source.columns)) {
    const found = await firstMisfit(form, matrix, { reader, signal });
    if (found === null) return tensorTypeNamed(form.type);
    misfit = worthTelling(misfit, found);
  }
  throw noForm(matrix, misfit);
}

interface Misfit {
  readonly type: string;
  readonly fault: FormFault;
  readonly scale: number;
  readonly bias: number;
  readonly row: number;
}

/** What a reader knows: the plain types of the width, not the super-blocks. */
const TOLD_TYPES: readonly string[] = ['Q4_1', 'Q5_1', 'Q8_0'];

function worthTelling(known: Misfit | null, found: Misfit): Misfit {
  return known !== null && TOLD_TYPES.includes(known.type) ? known : found;
}

async function firstMisfit(
  form: ExactForm,
  matrix: PackedMatrix,
  { reader, signal }: { reader: PackedReader; signal: AbortSignal | undefined },
): Promise<Misfit | null> {
  const { source } = matrix;
  for (const range of ranges(source)) {
    await breathe();
    signal?.throwIfAborted();
    const groups = await reader.groups(source, range);
    checkFinite(matrix, groups);
    const count = (range.rowCount * source.columns) / UNIT_VALUES;
    let codes: Uint8Array | null = form.hasCode === undefined ? null : await reader.codes(source, range);
    for (let first = 0; first < count; first += form.groupsPerBlock) {
      let fault = form.fault(groups, first);
      if (fault !== null) {
        codes ??= await reader.codes(source, range);
        fault = settle(form, { codes, groups, first });
      }
      if (fault === null && codes !== null && !hasCodes(form, codes, first)) fault = 'codes';
      if (fault === null) continue;
      const row = range.firstRow + Math.floor((first * UNIT_VALUES) / source.columns);
      return { type: form.type, fault, scale: groups.scales[first]!, bias: groups.biases[first]!, row };
    }
  }
  return null;
}

function hasCodes({ hasCode, groupsPerBlock }: ExactForm, codes: Uint8Array, first: number): boolean {
  if (hasCode === undefined) return true;
  return codes.subarray(UNIT_VALUES * first, UNIT_VALUES * (first + groupsPerBlock)).every(hasCode);
}

function* ranges({ rows, columns }: PackedSource): Generator<RowRange, void, void> {
  const step = Math.max(1, Math.floor(CHUNK_VALUES / columns));
  for (let firstRow = 0; firstRow < rows; firstRow += step) {
    yield { firstRow, rowCount: Math.min(step, rows - firstRow) };
  }
}

function checkFinite(matrix: PackedMatrix, { scales, biases }: Groups): void {
  if (scales.every(Number.isFinite) && biases.every(Number.isFinite)) return;
  throw damaged(matrix);
}

async function checkExponents(
  matrix: PackedMatrix,
  reader: PackedReader,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (const range of ranges(matrix.source)) {
    await breathe();
    signal?.throwIfAborted();
    if ((await reader.exponents(matrix.source, range)).includes(E8M0_NAN)) throw damaged(matrix);
  }
}

function damaged({ model, name }: PackedMatrix): AppError {
  return new AppError(
    'model-invalid',
    `${model}: ${name} has a scale or a bias that is infinite or NaN: the model is damaged, and no engine computes with it.`,
    { hint: 'Download or convert the model again.', context: { tensor: name } },
  );
}

function noForm({ model, name, source }: PackedMatrix, misfit: Misfit | null): AppError {
  const { bits, groupSize } = source;
  return new AppError(
    'model-unsupported',
    `${model}: ${name} (${bits} bits, groups of ${groupSize}) has no lossless form in GGUF: ${reason(bits, misfit)}.`,
    {
      hint: 'Nearest: --quant q8_0, made from the dequantised values, with a small loss; --quant f32 keeps every value.',
      context: { tensor: name, bits, groupSize },
    },
  );
}

function reason(bits: number, misfit: Misfit | null): string {
  if (misfit === null) return `ggml has no blocks of ${bits}-bit integers with a scale for 32 weights`;
  const { type, fault, scale, bias, row } = misfit;
  const where = `in row ${row}`;
  switch (fault) {
    case 'scale':
      return `the scale ${scale} ${where} is not exact in half precision, in which ${type} stores it`;
    case 'bias':
      return `the bias ${bias} ${where} is not exact in half precision, in which ${type} stores it`;
    case 'zero-point':
      return `the bias ${bias} ${where} is not the one that ${type} implies for the scale ${scale}`;
    case 'sub-scales':
    case 'codes':
      return `the numbers ${where} are not those of a ${type} block`;
  }
}
