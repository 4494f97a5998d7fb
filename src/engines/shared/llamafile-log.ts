/** What llamafile's server up to 0.9.3 prints while it loads: the only place where it tells its settings. */
import type { BuildFacts, Device, EngineSettings } from '../../core/engine.ts';

export interface LogFacts {
  readonly settings: Partial<EngineSettings>;
  readonly device: Device;
  readonly vocabularySize: number | null;
  /** Layers were asked for and it computes on the CPU all the same. */
  readonly fellBack: boolean;
}

/** What has the layers; `llm_load_tensors:      CUDA0 buffer size =` names it. */
const DEVICES: readonly (readonly [RegExp, Device])[] = [
  [/\bMetal\b/, 'metal'],
  [/\bROCm\d/, 'rocm'],
  [/\bCUDA\d/, 'cuda'],
  [/\bVulkan\d/, 'vulkan'],
];
/** Of llamafile/gpu.c: the flag that must not break examples is the one that hides a GPU that is not used. */
const FALLBACK = /falling back to CPU/;

/** Pure: facts of a log. What it does not tell is left out. */
export function readLog({ stderr, stdout }: { readonly stderr: string; readonly stdout: string }): LogFacts {
  const number = (pattern: RegExp, text = stderr): number | null => {
    const found = pattern.exec(text)?.[1];
    return found === undefined ? null : Number(found);
  };
  const offloaded = number(/offloaded (\d+)\/\d+ layers to GPU/) ?? 0;
  const threads = number(/"n_threads":(\d+)/, stdout);
  // /props tells it only in newer ones.
  const context = number(/n_ctx\s*= (\d+)/);
  const batch = number(/n_batch\s*= (\d+)/);
  const microBatch = number(/n_ubatch\s*= (\d+)/);
  const flash = /flash_attn\s*= ([01])\b/.exec(stderr)?.[1];
  const kvType = /\bK \((f16|f32|q8_0)\):/.exec(stderr)?.[1] as EngineSettings['kvType'] | undefined;
  return {
    settings: {
      ...(threads === null ? {} : { threads }),
      ...(context === null ? {} : { contextTokens: context }),
      ...(batch === null ? {} : { batchTokens: batch }),
      ...(microBatch === null ? {} : { microBatchTokens: microBatch }),
      ...(flash === undefined ? {} : { flashAttention: flash === '1' }),
      ...(kvType === undefined ? {} : { kvType }),
    },
    device: offloaded === 0 ? 'cpu' : (DEVICES.find(([pattern]) => pattern.test(stderr))?.[1] ?? 'unknown'),
    vocabularySize: number(/n_vocab\s*= (\d+)/),
    fellBack: FALLBACK.test(stderr),
  };
}

/** Pure: build of the llama.cpp inside and its instruction sets, from the two JSON lines that the server starts with. */
export function readBuild(stdout: string): Partial<BuildFacts> {
  const build = /"build":(\d+),"commit":"(\w+)"/.exec(stdout);
  const sets = /"system_info":"([^"]*)"/.exec(stdout)?.[1];
  return {
    ...(build === null ? {} : { library: `llama.cpp of llamafile, ${build[2]}` }),
    ...(sets === undefined ? {} : { instructionSets: selected(sets) }),
  };
}

/** `AVX = 512 | NEON = 0 | ...`: zero is off, any other number on. */
function selected(systemInfo: string): string {
  return [...systemInfo.matchAll(/(\w+) = ([1-9]\d*)/g)].map(([, name]) => name).join(' ');
}

/** Pure: the port that it really serves on; null while it has not said so. It tries the next ten when one is taken. */
export function listeningPort(stderr: string): number | null {
  const port = /listening at http:\/\/127\.0\.0\.1:(\d+)/.exec(stderr)?.[1];
  return port === undefined ? null : Number(port);
}

/** Last words of a llamafile that did not start, with what to do about them. */
const HINTS: readonly (readonly [RegExp, string])[] = [
  [/tensor 'output\.weight' not found/, 'This llamafile knows no tied embeddings: use a newer one.'],
  [/unknown (model architecture|pre-tokenizer)/, 'This llamafile does not know the model: use a newer one.'],
  [/please run: xcode-select --install/, "Install Apple's command line tools once: xcode-select --install"],
  [/multiple \.gguf files/, 'Several models are inside: pack it again with one of them (runoff models pack).'],
  [/unknown argument/, 'Arguments inside the file (.args) may be the cause: runoff models inspect shows them.'],
  [
    /Permission denied|cannot create|No space left|can't create|Read-only file system/,
    'Its loader is unpacked into $TMPDIR or $HOME: set TMPDIR to a writable folder on a disk where programs may run (no noexec).',
  ],
  [/(gzip|dd): (command )?not found/, 'Its loader is unpacked with gzip and dd: install them.'],
  [/couldn't bind to server socket/, 'Ten ports in a row are taken: run again.'],
];

/** Pure: null when the log says nothing that is known. */
export function launchHint(log: string): string | null {
  return HINTS.find(([pattern]) => pattern.test(log))?.[1] ?? null;
}
