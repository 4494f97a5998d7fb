/** What is to be done for one tensor. Plain data: the process that quantises gets it as JSON. */
import type { PackedSource } from '../mlx/packed-source.ts';

export interface TensorJob {
  readonly name: string;
  readonly sourcePath: string;
  readonly sourceOffset: number;
  /** ggml type ids. */
  readonly sourceType: number;
  readonly targetType: number;
  readonly targetOffset: number;
  /** Index of the output file. */
  readonly targetPart: number;
  readonly rows: number;
  readonly columns: number;
  /** Rows of a head whose halves are interleaved; null: rows keep their order. */
  readonly headRows: number | null;
  readonly addsOne: boolean;
  /** 1 is added in float32 whatever the source's type, where torch adds in that type. */
  readonly addsExactly: boolean;
  /**
   * A matrix that MLX has packed: its rows are read as `sourceType`, F32 for the values or a block type that holds them
   * exactly. Null: `sourceOffset` is where rows of `sourceType` lie.
   */
  readonly packed: PackedSource | null;
}

export interface JobProgress {
  readonly doneBytes: number;
  readonly totalBytes: number;
}

/** Every file that a tensor is read from. */
export function sourcePathsOf({ sourcePath, packed }: TensorJob): string[] {
  if (packed === null) return [sourcePath];
  const parts = [packed.codes, packed.scales, ...(packed.biases === null ? [] : [packed.biases])];
  return [sourcePath, ...parts.map(({ path }) => path)];
}
