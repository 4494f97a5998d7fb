/** Reading what Ollama answers and logs, and the models folder that it is given. */
import { mkdtemp, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { toSample } from '../../src/core/sample.ts';
import { createTextNumbers, readGeneration } from '../../src/engines/shared/ollama-answer.ts';
import { spreadTokens } from '../../src/engines/shared/spread-tokens.ts';
import { deviceFromLog, settingsFromLog } from '../../src/engines/shared/ollama-log.ts';
import { placeModel, sha256Of } from '../../src/engines/shared/ollama-store.ts';
import type { Way } from '../../src/engines/shared/ollama-store.ts';

const folders: string[] = [];

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'runoff-ollama-'));
  folders.push(folder);
  return folder;
}

afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

describe('the answer', () => {
  const numberOf = createTextNumbers();
  const lines = (...items: readonly (readonly [number, Record<string, unknown>])[]) =>
    items.map(([atMs, item]) => ({ atMs, line: JSON.stringify(item) }));
  const piece = (response: string): Record<string, unknown> => ({
    model: 'm',
    created_at: 'now',
    response,
    done: false,
  });
  const done = (changes: Record<string, unknown> = {}): Record<string, unknown> => ({
    ...piece(''),
    done: true,
    done_reason: 'length',
    total_duration: 90_000_000,
    load_duration: 9_000_000,
    prompt_eval_count: 14,
    prompt_eval_duration: 25_500_000,
    eval_count: 3,
    eval_duration: 30_000_000,
    ...changes,
  });
  const read = (...items: readonly (readonly [number, Record<string, unknown>])[]) =>
    readGeneration(lines(...items), numberOf);
  const three = [
    [30, piece(' The')],
    [45, piece(' sky')],
    [60, piece(' is')],
  ] as const;

  test('pieces are tokens with the times of their arrival; durations are nanoseconds', () => {
    expect(read(...three, [61, done()])).toMatchInlineSnapshot(`
      {
        "cachedTokenCount": null,
        "engineTimings": {
          "decodeIntervalCount": 2,
          "decodeMs": 30,
          "prefillMs": 25.5,
          "prefillTokenCount": null,
        },
        "eventMs": [
          30,
          45,
          60,
        ],
        "eventTokenCounts": [
          1,
          1,
          1,
        ],
        "firstTokenLogprobs": [],
        "generatedTokenCount": 3,
        "promptTokenCount": 14,
        "text": " The sky is",
        "tokens": [],
        "truncated": null,
      }
    `);
  });

  test('where the cached tokens are told, the processed ones are known', () => {
    expect(read(...three, [61, done({ prompt_eval_cached_count: 0 })])).toMatchObject({
      cachedTokenCount: 0,
      engineTimings: { prefillTokenCount: 14 },
    });
    expect(read(...three, [61, done({ prompt_eval_cached_count: 13 })])).toMatchObject({
      promptTokenCount: 14,
      cachedTokenCount: 13,
      engineTimings: { prefillTokenCount: 1 },
    });
  });

  test('a count that is left out is 0, as a fully cached prompt was reported by old versions', () => {
    const { prompt_eval_count: _, ...without } = done();
    expect(read(...three, [61, without])).toMatchObject({ promptTokenCount: 0, cachedTokenCount: null });
  });

  test('no durations: no timings', () => {
    const { prompt_eval_duration: _p, eval_duration: _e, ...without } = done();
    expect(read(...three, [61, without]).engineTimings).toBeNull();
  });

  test('a token that waited for the rest of its character counts with the piece that brought it', () => {
    const pieces = [
      [30, piece('a')],
      [40, piece('b')],
      [50, piece('c')],
      [80, piece('🙂')],
      [90, piece('d')],
    ] as const;
    const generation = read(...pieces, [91, done({ eval_count: 7 })]);
    expect(generation.eventTokenCounts).toEqual([1, 1, 1, 3, 1]);
    expect(generation.generatedTokenCount).toBe(7);
  });

  test('however tokens are spread, their sum is the count and each piece has one', () => {
    const waits = fc.array(fc.nat(1_000), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(waits, fc.nat(20), (times, more) => {
        const counts = spreadTokens(
          times.toSorted((a, b) => a - b),
          times.length + more,
        );
        expect(counts).toHaveLength(times.length);
        expect(Math.min(...counts)).toBeGreaterThanOrEqual(1);
        expect(counts.reduce((sum, value) => sum + value, 0)).toBe(times.length + more);
      }),
    );
  });

  test('a count that no answer has does not keep it busy', () => {
    const counts = spreadTokens([1, 2, 9, 10], 1e15);
    expect([counts[2], counts.reduce((sum, value) => sum + value, 0)]).toEqual([1e15 - 3, 1e15]);
  });

  test('a single token without text arrived when the answer ended', () => {
    const generation = read([44, done({ eval_count: 1 })]);
    expect(generation).toMatchObject({ eventMs: [44], eventTokenCounts: [1], generatedTokenCount: 1 });
    const place = { engine: 'ollama', block: 0, attempt: 0, kind: 'measured', prompt: 'p', iteration: 0 } as const;
    expect(toSample(place, generation).ttftMs).toBe(44);
  });

  test('nothing at all', () => {
    expect(read([44, done({ eval_count: 0 })])).toMatchObject({
      eventMs: [],
      eventTokenCounts: [],
      generatedTokenCount: 0,
    });
  });

  test('an early end: the token that ended it is none of the answer', () => {
    expect(read(...three, [61, done({ done_reason: 'stop', eval_count: 4 })]).generatedTokenCount).toBe(3);
    // The last token that was asked for may be the end itself: that is an early end, too.
    expect(read(...three.slice(0, 2), [61, done({ done_reason: 'stop', eval_count: 3 })]).generatedTokenCount).toBe(2);
  });

  test('what a thinking model thinks is text, too', () => {
    expect(read([30, { ...piece(''), thinking: 'Hm' }], [45, piece('.')], [61, done({ eval_count: 2 })])).toMatchObject(
      {
        eventMs: [30, 45],
        text: 'Hm.',
      },
    );
  });

  test('log-probabilities of the first token: texts have numbers below zero, the same in every answer', () => {
    const withTop = (first: number) => ({
      ...piece(' The'),
      logprobs: [
        {
          token: ' The',
          logprob: first,
          top_logprobs: [
            { token: ' The', logprob: first },
            { token: ' A', logprob: -2 },
          ],
        },
      ],
    });
    const later = {
      ...piece(' sky'),
      logprobs: [{ token: ' sky', logprob: -1, top_logprobs: [{ token: ' sky', logprob: -1 }] }],
    };
    const first = read([30, withTop(-0.5)], [40, later], [61, done({ eval_count: 2 })]);
    const second = read([30, withTop(-0.7)], [61, done({ eval_count: 1 })]);
    expect(first.firstTokenLogprobs.map(({ logprob }) => logprob)).toEqual([-0.5, -2]);
    expect(second.firstTokenLogprobs.map(({ token }) => token)).toEqual(
      first.firstTokenLogprobs.map(({ token }) => token),
    );
    expect(Math.max(...first.firstTokenLogprobs.map(({ token }) => token))).toBeLessThan(0);
  });

  test.each([
    ['an error inside the stream', [...three, [61, { error: 'CUDA error' }]], 'Ollama answered: CUDA error'],
    ['no last line', three, "Ollama's answer stopped after 3 pieces without its last line"],
    [
      'more pieces than tokens',
      [...three, [61, done({ eval_count: 2 })]],
      'Ollama sent 3 pieces of text and counted 2 tokens',
    ],
    ['a negative count', [...three, [61, done({ eval_count: -1 })]], 'Ollama sent a line that is not readable'],
    [
      'a count that is text',
      [...three, [61, done({ prompt_eval_count: '14' })]],
      'Ollama sent a line that is not readable',
    ],
    ['a list', [[30, [] as unknown as Record<string, unknown>]], 'Ollama sent a line that is not readable: []'],
  ] as const)('%s is an error', (_, items, message) => {
    expect(() => read(...items)).toThrow(message);
  });

  test('HTML is an error', () => {
    expect(() => readGeneration([{ atMs: 1, line: '<html>502' }], numberOf)).toThrow(
      'Ollama sent a line that is not readable: <html>502',
    );
  });

  test('what comes after the last line is not read', () => {
    expect(read(...three, [61, done()], [62, { error: 'late' }]).generatedTokenCount).toBe(3);
  });
});

describe('the log of a server that we started', () => {
  const started =
    'time=2026-11-25T04:00:00.000Z level=INFO source=llama_server.go:430 msg="starting llama-server" cmd="/usr/lib/ollama/llama-server --model /tmp/x/blobs/sha256-ab --port 40213 --host 127.0.0.1 --no-webui --offline -c 1024 -np 1 --log-verbosity 4 --cache-type-k q8_0 --cache-type-v q8_0 --flash-attn on -b 512 -ub 256 -ngl 0 -t 2"';

  test('the command of the last start tells the settings', () => {
    expect(settingsFromLog(`first\n${started.replace('-t 2', '-t 8')}\n${started}\nload_tensors: done`)).toEqual({
      threads: 2,
      batchTokens: 512,
      microBatchTokens: 256,
      kvType: 'q8_0',
      flashAttention: true,
      mmap: true,
    });
    expect(settingsFromLog(started.replace('--flash-attn on', '--load-mode none --flash-attn auto'))).toMatchObject({
      mmap: false,
    });
    expect(settingsFromLog(started.replace('--flash-attn on', '--flash-attn auto'))).not.toHaveProperty(
      'flashAttention',
    );
    expect(settingsFromLog(started.replaceAll('q8_0', 'q4_0'))).not.toHaveProperty('kvType');
    expect(settingsFromLog(started.replace(' -t 2', ''))).not.toHaveProperty('threads');
  });

  test('an older one tells nothing', () => {
    expect(settingsFromLog('msg="starting runner" cmd="/usr/bin/ollama runner --model x -t 2"')).toEqual({});
  });

  test.each([
    ['msg="inference compute" id=GPU-1 library=CUDA compute=8.9', 'cuda'],
    ['msg="inference compute" id=0 library=Metal name=Metal', 'metal'],
    ['msg="inference compute" id=0 filter_id="" library=ROCm compute=gfx1100', 'rocm'],
    ['msg="inference compute" id=0 library=Vulkan', 'vulkan'],
    ['msg="inference compute" id=cpu library=cpu compute=""', 'unknown'],
    ['', 'unknown'],
  ])('%s: %s', (log, device) => {
    expect(deviceFromLog(log)).toBe(device);
  });
});

describe('the models folder', () => {
  async function place(ways?: readonly Way[]): Promise<{ store: string; modelPath: string; blob: string }> {
    const folder = await newFolder();
    const modelPath = join(folder, `it's "my" $model é.gguf`);
    await writeFile(modelPath, 'GGUF and more');
    const sha256 = await sha256Of(modelPath);
    const store = join(folder, 'store');
    await placeModel({ store, name: 'runoff-1', modelPath, sha256 }, ways);
    return { store, modelPath, blob: join(store, 'blobs', `sha256-${sha256}`) };
  }

  test('holds a manifest that names the weights by their hash, and a link to the file', async () => {
    const { store, modelPath, blob } = await place();
    expect(await readlink(blob)).toBe(modelPath);
    const path = join(store, 'manifests', 'registry.ollama.ai', 'library', 'runoff-1', 'latest');
    const { config, layers } = JSON.parse(await readFile(path, 'utf8')) as Record<
      string,
      { digest: string; size: number }
    > & {
      layers: { digest: string; size: number }[];
    };
    expect(layers).toMatchInlineSnapshot(`
      [
        {
          "digest": "sha256:144581c14596a699068df44aa4ca0ed507e2d4a875f409e78b6319ec468379b3",
          "mediaType": "application/vnd.ollama.image.model",
          "size": 13,
        },
      ]
    `);
    const configBlob = join(store, 'blobs', (config?.digest ?? '').replace(':', '-'));
    expect(`sha256:${await sha256Of(configBlob)}`).toBe(config?.digest);
    expect((await stat(configBlob)).size).toBe(config?.size);
  });

  test('where links are not allowed, the next way is taken', async () => {
    const refused: Way = async () => {
      throw new TypeError('EPERM');
    };
    const taken: Way = (_, to) => writeFile(to, 'copied');
    const { blob } = await place([refused, refused, taken]);
    expect(await readFile(blob, 'utf8')).toBe('copied');
    await expect(place([refused, refused])).rejects.toMatchObject({ code: 'engine-launch-failed' });
  });
});
