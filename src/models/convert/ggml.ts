/**
 * ggml's own quantisers, from the library that node-llama-cpp ships, called through koffi. Only the worker loads this: a
 * failed check inside ggml ends the process.
 */
import { assert } from '../../core/assert.ts';
import { AppError, messageOf } from '../../core/errors.ts';
import { alignedBuffer } from '../file-io.ts';
import { canDequantize, dequantize } from '../gguf/dequantize.ts';
import type { TensorType } from '../gguf/tensor-types.ts';
import type { Importance } from './importance.ts';
import { plainConverter, type RowConverter, type Rows } from './run-jobs.ts';

/** What is used of koffi; the package is an optional dependency. */
interface Koffi {
  load(path: string): { func(declaration: string): NativeFunction };
  decode(pointer: unknown, offset: number, type: string): unknown;
  decode(pointer: unknown, type: unknown): unknown;
  proto(declaration: string): unknown;
}

interface NativeFunction {
  (...args: readonly unknown[]): unknown;
  /** On a thread of Node's pool; the event loop stays free. */
  async(...args: readonly unknown[]): void;
}

export interface Ggml {
  /** One lane: owns its buffers. */
  converter(importance: Importance): RowConverter;
}

/** @throws AppError `environment-failed` when the library or koffi cannot be loaded */
export async function loadGgml(libraryPath: string): Promise<Ggml> {
  const koffi = await importKoffi();
  const library = openLibrary(koffi, libraryPath);
  const functions = {
    quantize: library.func(
      'size_t ggml_quantize_chunk(int type, const float *source, void *target, int64_t start, int64_t rows, int64_t columns, const float *importance)',
    ),
    validate: library.func('bool ggml_validate_row_data(int type, const void *data, size_t bytes)'),
    traits: library.func('void *ggml_get_type_traits(int type)'),
  };
  const readers = new Map<number, NativeFunction>();
  const reader = (type: TensorType): NativeFunction => {
    const known = readers.get(type.id) ?? dequantizerOf(koffi, functions.traits(type.id), type);
    readers.set(type.id, known);
    return known;
  };
  return { converter: (importance) => laneOf({ ...functions, reader }, importance) };
}

interface Functions {
  readonly quantize: NativeFunction;
  readonly validate: NativeFunction;
  readonly reader: (type: TensorType) => NativeFunction;
}

function laneOf({ quantize, validate, reader }: Functions, importance: Importance): RowConverter {
  let floats = new Float32Array(0);
  const plain = plainConverter();
  return async (rows, out) => {
    const { job, source, target, bytes, rowCount } = rows;
    if (target.blockValues === 1 && canDequantize(source)) return plain(rows, out);
    const count = rowCount * job.columns;
    if (floats.length < count) floats = new Float32Array(alignedBuffer(4 * count).buffer);
    if (canDequantize(source)) dequantize(source, bytes, { out: floats, values: count });
    else await call(reader(source), bytes, floats, count);
    const weights = importanceOf(rows, importance);
    const written = await call(quantize, target.id, floats, out, 0, rowCount, job.columns, weights);
    assert(
      written === out.byteLength,
      `ggml wrote ${String(written)} bytes of ${job.name}, ${out.byteLength} were planned`,
    );
    if (target.blockValues > 1 && (await call(validate, target.id, out, out.byteLength)) !== true) {
      throw new AppError(
        'model-invalid',
        `Tensor ${job.name} cannot be quantised to ${target.name}: its values give scales that are no numbers.`,
        {
          hint: 'Download the model again, or convert with --quant bf16.',
        },
      );
    }
  };
}

function importanceOf({ job }: Rows, importance: Importance): Float32Array | null {
  const weights = importance.get(job.name) ?? null;
  if (weights === null || weights.length === job.columns) return weights;
  // As llama-quantize: the embedding's entry never fits and is not used.
  if (job.name === 'token_embd.weight') return null;
  throw new AppError(
    'model-invalid',
    `The importance matrix has ${weights.length} values for ${job.name}, which has ${job.columns} columns.`,
    { hint: 'Take the importance matrix that was made from this model.' },
  );
}

function call(native: NativeFunction, ...args: readonly unknown[]): Promise<unknown> {
  return new Promise((resolve, reject) => {
    native.async(...args, (error: unknown, result: unknown) => {
      if (error == null) resolve(typeof result === 'bigint' ? Number(result) : result);
      else reject(error instanceof Error ? error : new TypeError(messageOf(error)));
    });
  });
}

/** struct ggml_type_traits: name, block values, interleave, block bytes, is_quantized, to_float. Checked before it is trusted. */
function dequantizerOf(koffi: Koffi, traits: unknown, type: TensorType): NativeFunction {
  const blockValues = Number(koffi.decode(traits, 8, 'int64_t'));
  const blockBytes = Number(koffi.decode(traits, 24, 'size_t'));
  const pointer = koffi.decode(traits, 40, 'void *');
  if (blockValues !== type.blockValues || blockBytes !== type.blockBytes || pointer === null) {
    throw new AppError('model-unsupported', `This ggml cannot read values in the format ${type.name}.`, {
      hint: 'Convert from the original safetensors.',
    });
  }
  return koffi.decode(
    pointer,
    koffi.proto('void runoff_to_float(const void *source, float *target, int64_t count)'),
  ) as NativeFunction;
}

async function importKoffi(): Promise<Koffi> {
  try {
    const module = (await import('koffi')) as unknown as { default: Koffi };
    return module.default;
  } catch (cause) {
    throw new AppError('environment-failed', `The package koffi cannot be loaded: ${messageOf(cause)}.`, {
      hint: 'Install runoff again without --omit=optional; F32, F16, BF16 and Q8_0 work without it.',
      cause,
    });
  }
}

function openLibrary(koffi: Koffi, path: string): ReturnType<Koffi['load']> {
  try {
    return koffi.load(path);
  } catch (cause) {
    throw new AppError('environment-failed', `ggml's library ${path} cannot be loaded: ${messageOf(cause)}.`, {
      hint: 'runoff engines remove llama-cpp, then runoff engines install llama-cpp.',
      cause,
    });
  }
}
