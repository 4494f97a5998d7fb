/**
 * The part of node-llama-cpp 3.21 that the worker uses. The package lives in a managed environment, not among our own
 * dependencies (a plain install brings 737 MB), so its types are declared here.
 */
export interface NodeLlamaCpp {
  getLlama(options: {
    gpu: false | 'auto' | 'metal';
    build: 'never';
    maxThreads: number;
    logLevel: string;
    progressLogs: boolean;
  }): Promise<NlcLlama>;
  readonly LlamaLogLevel: { readonly warn: string };
  readonly TokenBias: new (tokenizer: unknown) => { readonly _biases?: unknown };
}

export interface NlcLlama {
  readonly gpu: string | false;
  readonly systemInfo: string;
  readonly llamaCppRelease: { readonly release: string };
  loadModel(options: { modelPath: string; useMmap: boolean; gpuLayers?: number }): Promise<NlcModel>;
}

export interface NlcModel {
  readonly tokenizer: unknown;
  readonly fileInfo: {
    readonly metadata: { readonly tokenizer?: { readonly ggml?: { readonly tokens?: readonly unknown[] } } };
  };
  createContext(options: {
    contextSize: number;
    batchSize: number;
    threads: number;
    flashAttention: boolean;
    sequences: number;
  }): Promise<NlcContext>;
}

export interface NlcContext {
  readonly contextSize: number;
  readonly batchSize: number;
  readonly flashAttention: boolean;
  readonly currentThreads: number;
  getSequence(): NlcSequence;
}

export interface NlcSequence {
  readonly nextTokenIndex: number;
  clearHistory(): Promise<void>;
  evaluate(tokens: readonly number[], options: unknown): AsyncIterable<number>;
  evaluateWithMetadata(
    tokens: readonly number[],
    metadata: { probabilities: true },
    options: unknown,
  ): AsyncIterable<{ token: number; probabilities: Map<number, number> }>;
}
