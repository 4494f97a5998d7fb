/** The safetensors format: an 8-byte header length, a JSON header, then the tensors' bytes. */

/** Types that MLX writes and reads, with their bytes a value. */
export const DTYPE_BYTES = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
} as const;

export type Dtype = keyof typeof DTYPE_BYTES;

export function isDtype(text: unknown): text is Dtype {
  return typeof text === 'string' && Object.hasOwn(DTYPE_BYTES, text);
}

export interface TensorPlan {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

export function planBytes({ dtype, shape }: TensorPlan): number {
  return shape.reduce((product, size) => product * size, DTYPE_BYTES[dtype]);
}

export interface SafetensorsLayout {
  /** Length, JSON and padding: everything before the first tensor. */
  readonly header: Uint8Array;
  /** Absolute offsets, in the order of the plans. */
  readonly offsets: readonly number[];
  readonly totalBytes: number;
}

/** Tensors lie in the given order without gaps, as the format demands. */
export function layoutSafetensors(
  plans: readonly TensorPlan[],
  metadata: Readonly<Record<string, string>>,
): SafetensorsLayout {
  const entries: Record<string, unknown> = { __metadata__: metadata };
  const relative: number[] = [];
  let end = 0;
  for (const plan of plans) {
    const start = end;
    end += planBytes(plan);
    relative.push(start);
    entries[plan.name] = { dtype: plan.dtype, shape: plan.shape, data_offsets: [start, end] };
  }
  const json = Buffer.from(JSON.stringify(entries), 'utf8');
  const paddedLength = Math.ceil(json.length / 8) * 8;
  const header = Buffer.alloc(8 + paddedLength, ' ');
  header.writeBigUInt64LE(BigInt(paddedLength), 0);
  json.copy(header, 8);
  return { header, offsets: relative.map((offset) => header.length + offset), totalBytes: header.length + end };
}
