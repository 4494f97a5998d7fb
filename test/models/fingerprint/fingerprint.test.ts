import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { fingerprintModel } from '../../../src/models/fingerprint/fingerprint.ts';
import { dequantizeAffine } from '../../../src/models/mlx/dequantize-affine.ts';
import { repackToMlx } from '../../../src/models/mlx/repack.ts';
import { readGgufHeader } from '../../../src/models/gguf/read-header.ts';
import { failure, fixturePath, patched, temporaryFolder, tinyModels, writeModel } from '../fixture.ts';

describe('fingerprints', async () => {
  const folder = await temporaryFolder();

  for (const architecture of ['llama', 'qwen2', 'qwen3'] as const) {
    it(`are those that numpy computed from the specification: ${architecture}`, async () => {
      const { fingerprint, tensors } = await fingerprintModel(fixturePath(`tiny-${architecture}.gguf`));
      expect(Object.fromEntries(tensors.map(({ name, sha256 }) => [name, sha256]))).toEqual(
        tinyModels[architecture].tensors,
      );
      expect(fingerprint).toBe(tinyModels[architecture].fingerprint);
    });
  }

  it('change when two values of one row swap places', async () => {
    const path = join(folder, 'swapped.gguf');
    const tensor = (await readGgufHeader(fixturePath('tiny-llama.gguf'))).tensors.find(
      ({ name }) => name === 'blk.0.attn_norm.weight',
    )!;
    await patched(fixturePath('tiny-llama.gguf'), path, (bytes) => {
      const first = bytes.readUInt32LE(tensor.offset);
      bytes.writeUInt32LE(bytes.readUInt32LE(tensor.offset + 4), tensor.offset);
      bytes.writeUInt32LE(first, tensor.offset + 4);
    });
    const changed = await fingerprintModel(path);
    expect(changed.fingerprint).not.toBe(tinyModels.llama.fingerprint);
    const different = changed.tensors.filter(({ name, sha256 }) => tinyModels.llama.tensors[name] !== sha256);
    expect(different.map(({ name }) => name)).toEqual(['model.layers.0.input_layernorm.weight']);
  });

  it('change when one bit of a packed MLX weight flips', async () => {
    const out = join(folder, 'flipped');
    await repackToMlx(fixturePath('tiny-llama.gguf'), out, { scales: 'f16' });
    await patched(join(out, 'model.safetensors'), join(out, 'model.safetensors'), (bytes) => {
      const header = Number(bytes.readBigUInt64LE(0));
      bytes[8 + header + 5]! ^= 1;
    });
    expect((await fingerprintModel(out)).fingerprint).not.toBe(tinyModels.llama.fingerprint);
  });

  it('need every value to be readable', async () => {
    const path = join(folder, 'k.gguf');
    await writeModel(path, { tensors: { 'output.weight': { type: 'IQ2_XS', shape: [8, 256] } } });
    expect(await failure(fingerprintModel(path))).toMatchObject({ code: 'model-unsupported' });
  });

  it('report progress to the end and stop when asked to', async () => {
    const seen: number[] = [];
    await fingerprintModel(fixturePath('tiny-llama.gguf'), {
      onProgress: ({ doneBytes, totalBytes }) => seen.push(doneBytes / totalBytes),
    });
    expect(seen.at(-1)).toBe(1);
    await expect(
      fingerprintModel(fixturePath('tiny-llama.gguf'), { signal: AbortSignal.abort() }),
    ).rejects.toMatchObject({ name: 'AbortError' });
  });

  it('refuse an MLX folder that does not hold together', async () => {
    const good = join(folder, 'good');
    await repackToMlx(fixturePath('tiny-llama.gguf'), good, { scales: 'f32' });
    const config = JSON.parse(await readFile(join(good, 'config.json'), 'utf8')) as {
      quantization: Record<string, unknown>;
    };
    const quantizations: Record<string, unknown> = {
      'no quantisation': null,
      'other bits': { ...config.quantization, 'model.embed_tokens': { group_size: 32, bits: 4 } },
      'another mode': { ...config.quantization, mode: 'nvfp4' },
      'seven bits': { ...config.quantization, bits: 7 },
      'not an object': 4,
    };
    const messages: Record<string, string> = {};
    for (const [name, quantization] of Object.entries(quantizations)) {
      const bad = join(folder, 'bad');
      await cp(good, bad, { recursive: true });
      await writeFile(join(bad, 'config.json'), JSON.stringify({ ...config, quantization }));
      const { code, message } = await failure(fingerprintModel(bad));
      messages[name] = `${code}: ${message.replaceAll(folder, '')}`;
    }
    expect(messages).toMatchInlineSnapshot(`
      {
        "another mode": "model-unsupported: /bad: model.embed_tokens is quantised in mode nvfp4; affine and mxfp4 are supported.",
        "no quantisation": "model-invalid: /bad is not a usable model folder: model.embed_tokens has scales but config.json has no quantization.",
        "not an object": "model-invalid: /bad is not a usable model folder: its quantization is not understood: ✖ Invalid input: expected object, received number
        → at quantization.",
        "other bits": "model-invalid: /bad is not a usable model folder: model.embed_tokens.weight (U32 40x16, scales 40x2) does not fit 4 bits in groups of 32.",
        "seven bits": "model-invalid: /bad is not a usable model folder: model.embed_tokens has 7 bits in groups of 32.",
      }
    `);
    expect((await failure(fingerprintModel(folder))).code).toBe('model-not-found');
  });
});

describe('dequantizeAffine', () => {
  it('reads a little-endian bit stream of any width', () => {
    for (const bits of [2, 3, 4, 5, 6, 8]) {
      const values = Array.from({ length: 64 }, (_, i) => (i * 7) % (1 << bits));
      const stream = values.map((value) => value.toString(2).padStart(bits, '0').split('').reverse().join('')).join('');
      const codes = Uint8Array.from({ length: stream.length / 8 }, (_, i) =>
        parseInt(
          stream
            .slice(8 * i, 8 * i + 8)
            .split('')
            .reverse()
            .join(''),
          2,
        ),
      );
      const out = new Float32Array(64);
      dequantizeAffine(
        {
          codes,
          scales: Float32Array.of(1, 2),
          biases: Float32Array.of(0, -1),
          rows: 1,
          columns: 64,
          bits,
          groupSize: 32,
        },
        out,
      );
      expect([bits, ...out]).toEqual([bits, ...values.map((value, i) => (i < 32 ? value : value * 2 - 1))]);
    }
  });

  it('rounds the product before it adds', () => {
    const out = new Float32Array(32);
    const scale = Math.fround(0.1);
    dequantizeAffine(
      {
        codes: new Uint8Array(32).fill(253),
        scales: Float32Array.of(scale),
        biases: Float32Array.of(-25.3),
        rows: 1,
        columns: 32,
        bits: 8,
        groupSize: 32,
      },
      out,
    );
    expect(out[0]).toBe(Math.fround(Math.fround(253 * scale) + Math.fround(-25.3)));
  });
});
