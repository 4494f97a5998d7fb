/** What is to be done for one tensor. Plain data: the process that quantises gets it as JSON. */
export interface TensorJob {
  readonly name: string;
  readonly sourcePath: string;
  readonly sourceOffset: number;
  /** ggml type ids. */
  readonly sourceType: number;
  readonly targetType: number;
  readonly targetOffset: number;
  readonly rows: number;
  readonly columns: number;
  /** Rows of a head whose halves are interleaved; null: rows keep their order. */
  readonly headRows: number | null;
  readonly addsOne: boolean;
}

export interface JobProgress {
  readonly doneBytes: number;
  readonly totalBytes: number;
}
