/** Rows of a matrix that MLX has packed, as float32 values or as ggml blocks that hold the same numbers. */
import { assert } from '../../core/assert.ts';
import { alignedBuffer } from '../file-io.ts';
import { dequantize } from '../gguf/dequantize.ts';
import { tensorTypeNamed } from '../gguf/tensor-types.ts';
import { dequantizeAffine, dequantizeMxfp4Rows } from './dequantize-affine.ts';
import { exactFormNamed, settle, type Groups } from './exact-forms.ts';

/** Where a packed matrix lies, and how. Plain data. */
export interface PackedSource {
  readonly mode: 'affine' | 'mxfp4';
  readonly bits: number;
  readonly groupSize: number;
  readonly rows: number;
  /** Values in a row. */
  readonly columns: number;
  readonly codes: PackedPart;
  readonly scales: FloatPart;
  /** Null for mxfp4. */
  readonly biases: FloatPart | null;
}

interface PackedPart {
  readonly path: string;
  readonly offset: number;
}

interface FloatPart extends PackedPart {
  /** U8: exponents of mxfp4. */
  readonly dtype: 'F32' | 'F16' | 'BF16' | 'U8';
}

/** Fills `into` from a place in a file. */
export type ReadAt = (path: string, into: Uint8Array, position: number) => Promise<void>;

export interface RowRange {
  readonly firstRow: number;
  readonly rowCount: number;
}

/** ggml's and MLX's smallest group: scales are handed out for every 32 weights. */
export const UNIT_VALUES = 32;
const MXFP4_BLOCK_BYTES = 17;
const DTYPE_BYTES = { F32: 4, F16: 2, BF16: 2, U8: 1 } as const;

/** One reader for one loop: its buffers are used again. */
export class PackedReader {
  readonly #readAt: ReadAt;
  #raw = alignedBuffer(0);
  #codes = new Uint8Array(0);
  #scales = new Float32Array(0);
  #biases = new Float32Array(0);

  constructor(readAt: ReadAt) {
    this.#readAt = readAt;
  }

  /** Fills `out` with float32 values as MLX's formats define them (see fingerprint.ts). */
  async values(source: PackedSource, range: RowRange, out: Float32Array): Promise<void> {
    const { biases, columns, bits, groupSize } = source;
    if (biases === null) {
      const exponents = (await this.exponents(source, range)).slice();
      dequantizeMxfp4Rows({ codes: await this.#rawCodes(source, range), exponents }, out);
      return;
    }
    const groups = (range.rowCount * columns) / groupSize;
    const [scaleValues, biasValues] = [new Float32Array(groups), new Float32Array(groups)];
    await this.#floats(source, source.scales, range, scaleValues);
    await this.#floats(source, biases, range, biasValues);
    const codes = await this.#rawCodes(source, range);
    const rows = range.rowCount;
    dequantizeAffine({ codes, scales: scaleValues, biases: biasValues, rows, columns, bits, groupSize }, out);
  }

  /** Fills `out` with blocks of `type`, which was found to hold these weights exactly. */
  async blocks(
    source: PackedSource,
    type: string,
    { range, out }: { range: RowRange; out: Uint8Array },
  ): Promise<void> {
    if (source.mode === 'mxfp4') return this.#mxfp4Blocks(source, range, out);
    const form = exactFormNamed(type, source.bits);
    assert(form !== null, `${source.bits} bits were found to fit ${type}`);
    const groups = await this.groups(source, range);
    const codes = await this.codes(source, range);
    const count = (range.rowCount * source.columns) / UNIT_VALUES;
    for (let first = 0, at = 0; first < count; first += form.groupsPerBlock, at += form.blockBytes) {
      const fault = settle(form, { codes, groups, first });
      assert(fault === null, `${type} was found to hold these weights: ${fault ?? ''}`);
      form.write({ codes, groups, first, out, at });
    }
  }

  /** Valid until the next call; may be changed. */
  async groups(source: PackedSource, range: RowRange): Promise<Groups> {
    assert(source.biases !== null, 'affine groups have biases');
    const count = (range.rowCount * source.columns) / UNIT_VALUES;
    if (this.#scales.length < count) {
      this.#scales = new Float32Array(count);
      this.#biases = new Float32Array(count);
    }
    const [scales, biases] = [this.#scales.subarray(0, count), this.#biases.subarray(0, count)];
    await this.#floats(source, source.scales, range, scales);
    await this.#floats(source, source.biases, range, biases);
    const repeats = source.groupSize / UNIT_VALUES;
    if (repeats > 1) for (const values of [scales, biases]) spread(values, repeats);
    return { scales, biases };
  }

  /** One code a byte; valid until the next call. */
  async codes(source: PackedSource, range: RowRange): Promise<Uint8Array> {
    const count = range.rowCount * source.columns;
    const raw = await this.#rawCodes(source, range);
    if (this.#codes.length < count) this.#codes = new Uint8Array(count);
    const codes = this.#codes.subarray(0, count);
    unpack(raw, codes, source.bits);
    return codes;
  }

  /** Of mxfp4: a power of two for every 32 weights; valid until the next call. */
  exponents(source: PackedSource, { firstRow, rowCount }: RowRange): Promise<Uint8Array> {
    const perRow = source.columns / source.groupSize;
    return this.#bytes(source.scales, firstRow * perRow, rowCount * perRow);
  }

  async #mxfp4Blocks(source: PackedSource, range: RowRange, out: Uint8Array): Promise<void> {
    const exponents = (await this.exponents(source, range)).slice();
    const codes = await this.codes(source, range);
    for (const [group, exponent] of exponents.entries()) {
      const [at, from] = [MXFP4_BLOCK_BYTES * group, UNIT_VALUES * group];
      out[at] = exponent;
      for (let j = 0; j < 16; j++) out[at + 1 + j] = codes[from + j]! | (codes[from + j + 16]! << 4);
    }
  }

  #rawCodes({ codes, columns, bits }: PackedSource, { firstRow, rowCount }: RowRange): Promise<Uint8Array> {
    const rowBytes = (columns * bits) / 8;
    return this.#bytes(codes, firstRow * rowBytes, rowCount * rowBytes);
  }

  /** Fills the start of `out` with the scales or biases as they lie in the file. */
  async #floats(
    { columns, groupSize }: PackedSource,
    part: FloatPart,
    { firstRow, rowCount }: RowRange,
    out: Float32Array,
  ): Promise<void> {
    const perRow = columns / groupSize;
    const each = DTYPE_BYTES[part.dtype];
    const bytes = await this.#bytes(part, firstRow * perRow * each, rowCount * perRow * each);
    dequantize(tensorTypeNamed(part.dtype), bytes, { out, values: rowCount * perRow });
  }

  async #bytes({ path, offset }: PackedPart, start: number, length: number): Promise<Uint8Array> {
    if (this.#raw.byteLength < length) this.#raw = alignedBuffer(length);
    const bytes = this.#raw.subarray(0, length);
    await this.#readAt(path, bytes, offset + start);
    return bytes;
  }
}

/** Every value `repeats` times, from the back, so that it works in place. */
function spread(values: Float32Array, repeats: number): void {
  for (let from = values.length / repeats - 1; from >= 0; from--) {
    values.fill(values[from]!, from * repeats, (from + 1) * repeats);
  }
}

/** MLX's little-endian bit stream; rows fill whole words. */
function unpack(raw: Uint8Array, codes: Uint8Array, bits: number): void {
  if (bits === 8) codes.set(raw);
  else if (bits === 4) {
    for (let i = 0, to = 0; to < codes.length; i++, to += 2) {
      codes[to] = raw[i]! & 15;
      codes[to + 1] = raw[i]! >>> 4;
    }
  } else {
    const mask = (1 << bits) - 1;
    for (let i = 0, bit = 0; i < codes.length; i++, bit += bits) {
      const window = raw[bit >>> 3]! | ((raw[(bit >>> 3) + 1] ?? 0) << 8);
      codes[i] = (window >>> (bit & 7)) & mask;
    }
  }
}
