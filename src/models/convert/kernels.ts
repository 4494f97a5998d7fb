/** Chunks of rows from one plain type to another in JavaScript, bit for bit as the reference does it in numpy. */
import { AppError } from '../../core/errors.ts';
import { dequantize, canDequantize } from '../gguf/dequantize.ts';
import type { TensorType } from '../gguf/tensor-types.ts';
import { floatToHalf, halfToFloat } from '../half.ts';
import { quantizeQ8_0 } from '../quantize/q8-0.ts';

/** `source` and `target` start 8-byte aligned; `count` is a multiple of the blocks of both types. */
export type Kernel = (source: Uint8Array, target: Uint8Array, count: number) => void;

/** Null: ggml is needed. */
export function kernelFor(source: TensorType, target: TensorType): Kernel | null {
  if (source.name === target.name) return copy;
  if (source.name === 'BF16' && target.name === 'F16') return bfloatToHalf;
  const write = WRITERS[target.name];
  if (write === undefined || !canDequantize(source)) return null;
  if (target.name === 'F32')
    return (from, to, count) => dequantize(source, from, { out: floats(to, count), values: count });
  let scratch = new Float32Array(0);
  return (from, to, count) => {
    if (scratch.length < count) scratch = new Float32Array(count);
    const values = scratch.subarray(0, count);
    dequantize(source, from, { out: values, values: count });
    write(values, to);
  };
}

function copy(source: Uint8Array, target: Uint8Array): void {
  target.set(source);
}

type Writer = (values: Float32Array, target: Uint8Array) => void;

const WRITERS: Readonly<Record<string, Writer>> = {
  F32: (values, target) => floats(target, values.length).set(values),
  F16: writeHalves,
  BF16: writeBfloats,
  Q8_0: quantizeQ8_0,
};

let halfOfBfloat: Uint16Array | null = null;

/** Every bfloat16 pattern's half: a lookup is ten times faster than rounding. */
function bfloatToHalf(source: Uint8Array, target: Uint8Array, count: number): void {
  halfOfBfloat ??= Uint16Array.from({ length: 65_536 }, (_, bits) => floatToHalf(bfloatToFloat(bits)));
  const table = halfOfBfloat;
  const from = halves(source, count);
  const to = halves(target, count);
  for (let i = 0; i < count; i++) to[i] = table[from[i]!]!;
}

const scratchWords = new Uint32Array(1);
const scratchFloats = new Float32Array(scratchWords.buffer);

function bfloatToFloat(bits: number): number {
  scratchWords[0] = bits << 16;
  return scratchFloats[0]!;
}

/** Node 24 has a typed array that rounds in hardware; Node 22 has not. */
type HalfArray = { set(values: Float32Array): void };
type HalfArrayConstructor = new (buffer: ArrayBufferLike, offset: number, length: number) => HalfArray;
const NativeHalfArray = (globalThis as { Float16Array?: HalfArrayConstructor }).Float16Array;

function writeHalves(values: Float32Array, target: Uint8Array): void {
  if (NativeHalfArray !== undefined) {
    new NativeHalfArray(target.buffer, target.byteOffset, values.length).set(values);
    return;
  }
  const to = halves(target, values.length);
  for (let i = 0; i < values.length; i++) to[i] = floatToHalf(values[i]!);
}

/** Round to nearest, ties to even; values are finite (checked before). */
function writeBfloats(values: Float32Array, target: Uint8Array): void {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const to = halves(target, values.length);
  for (let i = 0; i < values.length; i++) {
    const word = words[i]!;
    to[i] = (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
}

/** Gemma's norms, already F32: w + 1, added in half precision where the source has it, as torch adds. */
export function addOne(source: TensorType, bytes: Uint8Array, count: number): void {
  const values = floats(bytes, count);
  const isHalf = source.name === 'F16';
  for (let i = 0; i < count; i++) values[i] = isHalf ? halfToFloat(floatToHalf(values[i]! + 1)) : values[i]! + 1;
}

/** F16 ends at 65,504: what becomes infinite there was a number before. */
export function overflowError(name: string): AppError {
  return new AppError(
    'model-unsupported',
    `Tensor ${name} has values beyond the range of F16 (65,504): they would become infinite.`,
    {
      hint: 'Convert with --quant bf16.',
    },
  );
}

function floats({ buffer, byteOffset }: Uint8Array, count: number): Float32Array {
  return new Float32Array(buffer, byteOffset, count);
}

function halves({ buffer, byteOffset }: Uint8Array, count: number): Uint16Array {
  return new Uint16Array(buffer, byteOffset, count);
}
