import { describe, expect, test } from 'vitest';
import type { AvailableEngine, EngineSettings, ProgramFacts } from '../../src/core/engine.ts';
import { engine } from '../../src/engines/llamafile.ts';
import { argumentsProblem, modelInArguments } from '../../src/engines/shared/llamafile-arguments.ts';
import { launchHint, listeningPort, readBuild, readLog } from '../../src/engines/shared/llamafile-log.ts';
import { describeProgram } from '../../src/engines/shared/llamafile-program.ts';
import { minimumEnvironment } from '../../src/platform/process/environment.ts';
import { NO_ENVIRONMENT, recordedAnswer } from '../fixtures/llamafile/fake-llamafile-server.ts';
import { describeEngine, hostWith, launchRequest, planOf, SETTINGS } from './describe-engine.ts';

const LINUX = { platform: 'linux', arch: 'x64' } as const;
const FACTS: ProgramFacts = {
  name: 'llamafile',
  version: '0.9.3',
  versionNote: null,
  fileBytes: 50_000_000,
  format: 'ape',
  architectures: ['x86_64', 'aarch64'],
  defaultArguments: null,
  models: [],
};
const MODEL = { name: 'tiny.gguf', offset: 65_536, byteLength: 1_000, isCompressed: false };

function found(
  changes: Partial<ProgramFacts>,
  machine: Parameters<typeof describeProgram>[2] = LINUX,
): AvailableEngine {
  const detection = describeProgram('/opt/llamafile', { ...FACTS, ...changes }, machine);
  if (detection.state !== 'available') throw new TypeError(JSON.stringify(detection));
  return detection;
}

function refusal(changes: Partial<ProgramFacts>, machine: Parameters<typeof describeProgram>[2] = LINUX): string {
  const detection = describeProgram('/opt/x.llamafile', { ...FACTS, ...changes }, machine);
  return detection.state === 'unavailable' ? `${detection.reason} -> ${detection.nextStep}` : detection.state;
}

const V2 = found({ name: 'llamafiler' });
const NEWEST = found({ version: '0.10.2' });

describeEngine({ engine, variants: [found({}), found({ version: '0.8.13' })], throughSh: true });
describe('llamafiler', () => {
  describeEngine({ engine, variants: [V2], throughSh: true, refused: ['kvType', 'mmap'] });
});
describe('0.10', () => {
  describeEngine({ engine, variants: [NEWEST], throughSh: true, refused: ['mmap'] });
});
describe('a program for Linux alone', () => {
  describeEngine({ engine, variants: [found({ format: 'elf' })] });
});

describe('launch plans', () => {
  const commandLine = (
    variant: AvailableEngine,
    settings: Partial<EngineSettings> = {},
    modelPath = '/models/model.gguf',
  ) => {
    const request = launchRequest(variant, { modelPath, settings: { ...SETTINGS, ...settings } });
    const { command, args, env } = planOf(engine, request);
    expect(env).toEqual({});
    return [command, ...args].join(' ').replaceAll(/ (-{1,2}[a-z])/g, '\n$1');
  };

  test('0.9.3 on the CPU: the server, no browser, every setting by name', () => {
    expect(commandLine(found({}))).toMatchInlineSnapshot(`
      "/bin/sh /opt/llamafile
      --server
      --nobrowser
      --host 127.0.0.1
      --port 43210
      -m /models/model.gguf
      -a runoff-0123456789abcdef
      --ctx-size 1024
      -t 4
      -tb 4
      -b 512
      -np 1
      -ctk f16
      -ctv f16
      -fa
      --gpu disable"
    `);
  });

  test('0.9.3 with a GPU: all layers, since NVIDIA and AMD are left alone without it', () => {
    expect(commandLine(found({}), { gpu: 'auto', flashAttention: false, mmap: false, kvType: 'q8_0' }))
      .toMatchInlineSnapshot(`
      "/bin/sh /opt/llamafile
      --server
      --nobrowser
      --host 127.0.0.1
      --port 43210
      -m /models/model.gguf
      -a runoff-0123456789abcdef
      --ctx-size 1024
      -t 4
      -tb 4
      -b 512
      -np 1
      -ctk q8_0
      -ctv q8_0
      --no-mmap
      -ngl 9999"
    `);
  });

  test('0.6.2 knows neither flash attention nor KV types', () => {
    expect(commandLine(found({ version: '0.6.2' }))).toMatchInlineSnapshot(`
      "/bin/sh /opt/llamafile
      --server
      --nobrowser
      --host 127.0.0.1
      --port 43210
      -m /models/model.gguf
      -a runoff-0123456789abcdef
      --ctx-size 1024
      -t 4
      -tb 4
      -b 512
      -np 1
      --gpu disable"
    `);
    expect(() => commandLine(found({ version: '0.6.2' }), { kvType: 'q8_0' })).toThrow(
      expect.objectContaining({ code: 'engine-unavailable' }),
    );
  });

  test.each([
    ['0.8.7', false],
    ['0.8.8', true],
  ])('%s: flash attention %s', (version, has) => {
    expect(commandLine(found({ version })).includes('\n-fa')).toBe(has);
  });

  test('llamafiler: address in one piece, the run id as prefix, -fa never last, no browser switch', () => {
    expect(commandLine(V2)).toMatchInlineSnapshot(`
      "/bin/sh /opt/llamafile
      --server
      --v2
      -l 127.0.0.1:43210
      --url-prefix /runoff-0123456789abcdef
      -fa
      -m /models/model.gguf
      --ctx-size 1024
      -t 4
      -tb 4
      -b 512
      -ub 512
      --slots 1
      --gpu disable"
    `);
    expect(commandLine(V2, { gpu: 'auto' })).toMatch(/-ngl 9999$/);
  });

  test('0.10: llama.cpp server with no cache in RAM, and no browser switch', () => {
    expect(commandLine(NEWEST)).toMatchInlineSnapshot(`
      "/bin/sh /opt/llamafile
      --server
      --model /models/model.gguf
      --alias runoff-0123456789abcdef
      --host 127.0.0.1
      --port 43210
      --parallel 1
      --ctx-size 1024
      --threads 4
      --threads-batch 4
      --batch-size 512
      --ubatch-size 512
      --flash-attn on
      --cache-type-k f16
      --cache-type-v f16
      --cache-ram 0
      --no-context-shift
      --gpu disable
      --n-gpu-layers 0"
    `);
  });

  test.each([
    ['0.9.3', '\n-m tiny.gguf\n'],
    ['0.10.2', '\n--model /zip/tiny.gguf\n'],
  ])('a model inside %s is named as its entry', (version, argument) => {
    const carrying = found({ version, models: [MODEL] });
    expect(commandLine(carrying, {}, '/opt/llamafile')).toContain(argument);
    expect(commandLine(carrying, {}, '/models/other.gguf')).toContain('/models/other.gguf');
  });

  test('a path with @ would be read as a file inside a zip', () => {
    for (const variant of [found({}), V2])
      expect(() => commandLine(variant, {}, '/home/me@work/m.gguf')).toThrow('contains @');
    expect(commandLine(NEWEST, {}, '/home/me@work/m.gguf')).toContain('/home/me@work/m.gguf');
  });

  test('nothing is ever told to rewrite the file', () => {
    for (const variant of [found({}), V2, NEWEST]) expect(commandLine(variant)).not.toContain('--assimilate');
  });

  test('the environment is scrubbed, and keeps what the loader needs: a folder to unpack into, gzip and dd', () => {
    const kept = minimumEnvironment('linux', {
      TMPDIR: '/var/tmp',
      HOME: '/home/me',
      PATH: '/bin',
      LLAMA_ARG_CTX_SIZE: '1',
      COSMOPOLITAN_DISABLE_ZIPOS: '1',
    });
    expect(kept).toEqual({ TMPDIR: '/var/tmp', HOME: '/home/me', PATH: '/bin' });
  });
});

describe('detection, from the bytes alone', () => {
  test('without one, the next step is said', async () => {
    expect(await engine.detect(hostWith(NO_ENVIRONMENT))).toMatchInlineSnapshot(`
      {
        "nextStep": "Take it, or a .llamafile with a model inside, from https://github.com/mozilla-ai/llamafile/releases and name it: --engine-path llamafile=PATH.",
        "reason": "llamafile is not on PATH",
        "state": "unavailable",
      }
    `);
  });

  test('a script on PATH is not the program', async () => {
    const detection = await engine.detect(hostWith(NO_ENVIRONMENT, { findOnPath: () => import.meta.filename }));
    expect(detection).toMatchObject({
      state: 'unavailable',
      reason: expect.stringContaining('is no llamafile: it starts with "import {"') as string,
      nextStep: 'Name the program itself, not a script that starts it: --engine-path llamafile=PATH.',
    });
  });

  test.each([
    ['0.6.2', 'v1'],
    ['0.8.13', 'v1'],
    ['0.9.3', 'v1'],
    ['0.10.0', 'llama-server'],
    ['1.0.0', 'llama-server'],
  ])('llamafile %s speaks %s', (version, variant) => {
    expect(found({ version })).toMatchObject({ variant, build: { version: `llamafile ${version}` } });
    expect(found({ version }).takesText).toBeUndefined();
  });

  test('llamafiler takes text', () => {
    expect(V2).toMatchObject({ variant: 'v2', takesText: true, build: { version: 'llamafiler 0.9.3' } });
  });

  test('a stand-in is recorded as one, and never ranked', () => {
    expect(found({ versionNote: 'conformance stand-in' })).toMatchObject({
      recordedAs: 'llamafile-stand-in',
      build: { version: 'llamafile 0.9.3 (conformance stand-in)' },
      referenceBackend: "a conformance stand-in: another engine answers in llamafile's dialect, at its own speed",
    });
    expect(found({}).recordedAs).toBeUndefined();
  });

  test.each([
    ['no version', { name: null, version: null }],
    ['too old', { version: '0.6.1' }],
    ['a llamafiler that is too old', { name: 'llamafiler', version: '0.8.17' }],
    ['for another system', { format: 'mach-o' }],
    ['for another processor', { architectures: ['aarch64'] }],
    ['a compressed model', { models: [{ ...MODEL, isCompressed: true }] }],
    ['several models', { models: [MODEL, { ...MODEL, name: 'b.gguf' }] }],
    ['arguments that change the work', { defaultArguments: ['--cli', '...'] }],
  ] as [string, Partial<ProgramFacts>][])('refused: %s', (_, changes) => {
    expect(refusal(changes)).toMatchSnapshot();
  });

  test('of several models inside, the one that its arguments name is measured', () => {
    const defaultArguments = ['-m', '/zip/b.gguf', '...'];
    const { carries } = found({ models: [MODEL, { ...MODEL, name: 'b.gguf', offset: 131_072 }], defaultArguments });
    expect(carries).toEqual({ name: 'b.gguf', offset: 131_072, byteLength: 1_000 });
  });

  describe('on Windows', () => {
    const windows = { platform: 'win32', arch: 'x64' } as const;
    test.each([
      [4_294_967_295, 'Windows takes x.llamafile for no program -> Rename it to x.llamafile.exe and name that.'],
      [
        4_294_967_296,
        '/opt/x.llamafile has 4.00 GiB, and Windows starts no program of 4 GiB or more -> Use it as the model of a small llamafile: --engine-path llamafile=llamafile.exe --model /opt/x.llamafile',
      ],
    ])('%d bytes', (fileBytes, expected) => {
      expect(refusal({ fileBytes }, windows)).toBe(expected);
    });

    test('an .exe is taken', () => {
      expect(describeProgram('C:\\llamafile.exe', FACTS, windows).state).toBe('available');
    });
  });

  test('macOS runs x86-64 code on Apple silicon', () => {
    expect(found({ architectures: ['x86_64'] }, { platform: 'darwin', arch: 'arm64' }).state).toBe('available');
  });
});

describe('.args', () => {
  const problem = (words: string[], api: 'v1' | 'v2' | 'llama-server' = 'v1') => argumentsProblem(words, api);

  test.each([
    ['what ours overrule', ['-m', 'a.gguf', '--host', '0.0.0.0', '-c', '512', '-ngl', '999', '...']],
    ['the mode', ['--server', '--nobrowser', '-m', 'a.gguf', '...']],
    ['no dots: the arguments of the user replace them', ['-m', 'a.gguf', '--cli', '-p', 'hello']],
    ['nothing', ['...']],
  ])('harmless: %s', (_, words) => {
    expect(problem(words)).toBeNull();
  });

  test.each([
    [['--cli', '...'], '--cli would change the work'],
    [['-p', 'You are a pirate', '...'], '-p would change the work'],
    [['--mmproj', 'clip.gguf', '...'], '--mmproj would change the work'],
    [['--prompt', 'hello', '...'], '--prompt would change the work'],
    [['-m', 'a.gguf', '...', '-c', '512'], '-c 512 comes behind "..." and overrules what runoff asks for'],
  ])('arguments that change the work: %j', (words, expected) => {
    expect(problem(words)).toBe(expected);
  });

  const SIZES = ['-m --model', '-c --ctx-size --ctx_size', '-t --threads', '-tb --threads-batch', '-b --batch-size'];
  const NAMED = ['--host', '--port', '-a --alias', '-np --parallel', '-ctk --cache-type-k', '-ctv --cache-type-v'];
  test.each([
    ['v1', found({}), [...SIZES, ...NAMED, '--gpu']],
    ['v2', V2, [...SIZES, '-l --listen', '-ub --ubatch-size', '--gpu']],
    ['llama-server', NEWEST, [...SIZES, ...NAMED, '-ub --ubatch-size', '--gpu', '-ngl --gpu-layers --n-gpu-layers']],
  ] as const)('what may stand before "..." is said again behind it: %s', (api, variant, groups) => {
    const { args } = planOf(engine, launchRequest(variant));
    for (const spellings of groups.map((group) => group.split(' '))) {
      for (const word of spellings) expect([word, problem([word, 'x', '...'], api)]).toEqual([word, null]);
      expect([spellings, spellings.some((word) => args.includes(word))]).toEqual([spellings, true]);
    }
  });

  test.each(['v2', 'llama-server'] as const)('--nobrowser ends %s with an error', (api) => {
    expect(problem(['--nobrowser', '...'], api)).toBe('--nobrowser would change the work');
  });

  test('the model that they name', () => {
    expect(modelInArguments(['-m', 'a.gguf', '...'])).toBe('a.gguf');
    expect(modelInArguments(['--model', '/zip/b.gguf', '...'])).toBe('b.gguf');
    expect(modelInArguments(['...'])).toBeNull();
  });
});

describe('the log of a load', () => {
  test('settings, device and vocabulary of a real 0.9.3', async () => {
    const stderr = await recordedAnswer('0.9.3-server-stderr.log');
    const stdout = await recordedAnswer('0.9.3-server-stdout.log');
    expect(readLog({ stderr, stdout })).toMatchInlineSnapshot(`
      {
        "device": "cpu",
        "fellBack": false,
        "settings": {
          "batchTokens": 2048,
          "contextTokens": 8192,
          "flashAttention": false,
          "kvType": "f16",
          "microBatchTokens": 512,
          "threads": 2,
        },
        "vocabularySize": 49152,
      }
    `);
    expect(readBuild(stdout)).toMatchInlineSnapshot(`
      {
        "instructionSets": "AVX AVX2 AVX512 AVX512_VBMI AVX512_VNNI AVX512_BF16 FMA F16C SSE3 SSSE3 LLAMAFILE",
        "library": "llama.cpp of llamafile, a30b324",
      }
    `);
  });

  test('of a real 0.8.13', async () => {
    const stderr = await recordedAnswer('0.8.13-server-stderr.log');
    expect(readLog({ stderr, stdout: '' })).toMatchObject({
      vocabularySize: 49_152,
      settings: { contextTokens: 8_192 },
    });
  });

  test.each([
    [
      'llm_load_tensors: offloaded 31/31 layers to GPU\nllm_load_tensors:      CUDA0 buffer size = 1 MiB',
      'cuda',
      false,
    ],
    [
      'llm_load_tensors: offloaded 31/31 layers to GPU\nllm_load_tensors:      Metal buffer size = 1 MiB',
      'metal',
      false,
    ],
    ['llm_load_tensors: offloaded 0/31 layers to GPU\nfound 1 CUDA0 device', 'cpu', false],
    ['warning: --n-gpu-layers 9999 was passed but no GPUs were found; falling back to CPU inference\n', 'cpu', true],
  ])('where it computes is read, never assumed: %s', (stderr, device, fellBack) => {
    expect(readLog({ stderr, stdout: '' })).toMatchObject({ device, fellBack });
  });

  test('the port that it moved to', async () => {
    expect(listeningPort(await recordedAnswer('0.9.3-portbusy.err'))).toBe(18_093);
    expect(listeningPort('llama_new_context_with_model: n_ctx = 512')).toBeNull();
  });

  test.each([
    ["error: tensor 'output.weight' not found", 'This llamafile knows no tied embeddings: use a newer one.'],
    ["unknown model architecture: 'qwen9'", 'This llamafile does not know the model: use a newer one.'],
    ['please run: xcode-select --install', "Install Apple's command line tools once: xcode-select --install"],
    [
      'error: multiple .gguf files found',
      'Several models are inside: pack it again with one of them (runoff models pack).',
    ],
    [
      'error: unknown argument: -p',
      'Arguments inside the file (.args) may be the cause: runoff models inspect shows them.',
    ],
    [
      '/tmp/.ape-1.10: Permission denied',
      'Its loader is unpacked into $TMPDIR or $HOME: set TMPDIR to a writable folder on a disk where programs may run (no noexec).',
    ],
    ['sh: 1: gzip: not found', 'Its loader is unpacked with gzip and dd: install them.'],
    ["couldn't bind to server socket: hostname=127.0.0.1 port=8090", 'Ten ports in a row are taken: run again.'],
    ['all is well', null],
  ])('last words: %s', (log, hint) => {
    expect(launchHint(log)).toBe(hint);
  });
});
