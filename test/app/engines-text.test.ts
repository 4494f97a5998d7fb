import { describe, expect, test } from 'vitest';
import { describeEngines, describeFacts } from '../../src/app/engines-text.ts';
import type { EngineOverview } from '../../src/app/engines.ts';
import type { AvailableEngine } from '../../src/core/engine.ts';
import { shipping } from '../../src/engines/facts/llama-server.ts';

const FOUND: AvailableEngine = {
  state: 'available',
  build: { version: 'llama-server 6700', library: null, openMp: null, instructionSets: null },
  device: 'unknown',
  location: '/opt/llama.cpp/bin/llama-server',
  variant: 'binary',
  referenceBackend: null,
};

describe('the list', () => {
  const overview: EngineOverview = {
    id: 'llama-server',
    title: 'llama.cpp HTTP server (llama-server)',
    modelFormat: 'gguf',
    capabilities: {
      tokenIds: true,
      engineTimings: true,
      cachedTokenCount: true,
      logprobs: false,
      settings: ['threads', 'gpu'],
    },
    environment: 'xllamacpp',
    sharesWith: ['twin'],
    managed: false,
    detection: FOUND,
    shipping: null,
  };

  test('available, installable and unavailable engines on 80 columns', () => {
    const installable = {
      state: 'installable',
      what: 'llama.cpp’s server from the xllamacpp wheel',
      downloadBytes: 34e6,
    } as const;
    const unavailable = {
      state: 'unavailable',
      reason: 'llama-server (version: 5200) has no --cache-ram switch, so its prompt cache cannot be turned off',
      nextStep: 'Use a llama.cpp of November 2025 or newer.',
    } as const;
    const text = describeEngines(
      [
        { ...overview, managed: true, detection: { ...FOUND, location: '/cache/environments/xllamacpp/bin/python' } },
        { ...overview, detection: { ...FOUND, device: 'cpu', referenceBackend: 'one core, not built for speed' } },
        { ...overview, detection: installable },
        { ...overview, detection: unavailable, capabilities: { ...overview.capabilities, settings: [] } },
      ],
      80,
    );
    expect(text).toMatchInlineSnapshot(`
      "llama-server: llama.cpp HTTP server (llama-server)
        available    llama-server 6700
        where        /cache/environments/xllamacpp/bin/python (managed environment
                     xllamacpp)
        device       told after loading a model
        model        GGUF file
        can          takes token ids, reports its own timings, counts cached tokens,
                     no log-probabilities
        settings     threads, GPU; the others are its own choice
        get it       it is there; runoff engines remove llama-server takes it away
                     (the same environment serves twin)

      llama-server: llama.cpp HTTP server (llama-server)
        available    llama-server 6700
        where        /opt/llama.cpp/bin/llama-server
        device       cpu
        unranked     one core, not built for speed
        model        GGUF file
        can          takes token ids, reports its own timings, counts cached tokens,
                     no log-probabilities
        settings     threads, GPU; the others are its own choice
        get it       it is there; --engine-path llama-server=PATH names another one

      llama-server: llama.cpp HTTP server (llama-server)
        installable  llama.cpp’s server from the xllamacpp wheel, about 34 MB to
                     download
        model        GGUF file
        can          takes token ids, reports its own timings, counts cached tokens,
                     no log-probabilities
        settings     threads, GPU; the others are its own choice
        get it       runoff engines install llama-server (the same environment serves
                     twin)

      llama-server: llama.cpp HTTP server (llama-server)
        unavailable  llama-server (version: 5200) has no --cache-ram switch, so its
                     prompt cache cannot be turned off
        model        GGUF file
        can          takes token ids, reports its own timings, counts cached tokens,
                     no log-probabilities
        settings     none: it decides itself
        get it       Use a llama.cpp of November 2025 or newer."
    `);
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80);
  });

  test('an engine cannot rewrite the terminal by its name', () => {
    const build = { ...FOUND.build, version: 'fast\u001B[2J\u202Eer' };
    expect(describeEngines([{ ...overview, detection: { ...FOUND, build } }], 80)).toContain('fast [2J er');
  });
});

describe('facts', () => {
  const start = {
    schemaVersion: 1,
    engine: 'llama-server',
    version: 'llama-server 6700',
    device: 'cpu',
    model: { name: 'SmolLM2-135M-Instruct.Q4_0', sha256: 'a'.repeat(64) },
    machine: { os: 'Debian 12', cpu: 'CPU', physicalCores: 2 },
    threads: 2,
    promptTokens: 8,
    date: '2026-11-25',
    startsMs: [412, 398, 2_401],
  } as const;
  const engine = { id: 'llama-server', title: 'llama.cpp HTTP server', version: 'llama-server 6700', shipping };

  test('each with source and date, and what was measured here', () => {
    const installed = { bytes: 105.6e6, what: 'its program file' };
    const coldStarts = [{ ...start, startsMs: [...start.startsMs] }];
    expect(describeFacts([{ ...engine, installed, coldStarts }], 80)).toMatchInlineSnapshot(`
      "llama-server: llama.cpp HTTP server
        install      take the archive of the platform from
                     github.com/ggml-org/llama.cpp/releases; ship llama-server with
                     the libraries beside it, and start it as a child process
                     https://github.com/ggml-org/llama.cpp/blob/master/README.md,
                     2026-11-25
        licence      MIT
                     https://github.com/ggml-org/llama.cpp/blob/master/README.md,
                     2026-11-25
        platforms    linux-x64, linux-arm64, linux-s390x, macos-arm64, macos-x64,
                     windows-x64, windows-arm64
                     https://github.com/ggml-org/llama.cpp/releases/tag/b11429,
                     2026-11-25
        accelerators cpu, metal, cuda, vulkan, rocm, sycl, openvino
                     https://github.com/ggml-org/llama.cpp/releases/tag/b11429,
                     2026-11-25
        model size   no limit but memory
                     https://github.com/ggml-org/llama.cpp/blob/master/README.md,
                     2026-11-25
        interfaces   HTTP: OpenAI chat, completions, responses, embeddings; HTTP:
                     Anthropic messages; HTTP: its own, with token ids
                     https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md,
                     2026-11-25
        users need   nothing
                     https://github.com/ggml-org/llama.cpp/blob/master/README.md,
                     2026-11-25
        hub ids      downloads a model by its hub id
                     https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md,
                     2026-11-25
        on disk      106 MB: its program file (measured here)
        first token  412 ms after the start of the process: median of 3 fresh
                     processes (412 ms, 398 ms, 2.40 s), SmolLM2-135M-Instruct.Q4_0,
                     prompt of 8 tokens, 2 threads, cpu, page cache warm (measured
                     here, 2026-11-25)"
    `);
  });

  test('what is not there says so', () => {
    const text = describeFacts([{ ...engine, shipping: null, version: null, installed: null, coldStarts: [] }], 80);
    expect(text).toMatchInlineSnapshot(`
      "llama-server: llama.cpp HTTP server
        facts        its adapter declares none
        measured     nothing: it is not installed here (runoff engines llama-server)"
    `);
  });
});
