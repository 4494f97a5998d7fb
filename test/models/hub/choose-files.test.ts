import { describe, expect, it } from 'vitest';
import { chooseFiles } from '../../../src/models/hub/choose-files.ts';

const SIZES: Readonly<Record<string, number>> = {
  'm.Q2_K.gguf': 0.34e9,
  'm.Q4_0.gguf': 0.77e9,
  'm.Q4_K_M.gguf': 0.81e9,
  'm.IQ4_XS.gguf': 0.74e9,
  'm-Q8_0-00001-of-00002.gguf': 0.9e9,
  'm-Q8_0-00002-of-00002.gguf': 0.4e9,
  'mmproj-m.gguf': 0.6e9,
};
const files = (names: readonly string[]) => names.map((path) => ({ path, sizeBytes: SIZES[path] ?? 100 }));
const many = files(Object.keys(SIZES));

function refusalOf(names: readonly string[], wanted: string | null): string {
  try {
    chooseFiles(files(names), wanted, 'o/m');
  } catch (error) {
    const { code, message, hint } = error as { code: string; message: string; hint: string };
    return `${code}: ${message}\n${hint}`;
  }
  return 'none';
}

describe('several models', () => {
  it('are listed by size, with a suggestion that works', () => {
    expect(refusalOf(Object.keys(SIZES), null)).toMatchInlineSnapshot(`
      "usage: o/m holds 5 models:
          340.0 MB  m.Q2_K.gguf
          740.0 MB  m.IQ4_XS.gguf
          770.0 MB  m.Q4_0.gguf
          810.0 MB  m.Q4_K_M.gguf
           1.30 GB  m-Q8_0-00001-of-00002.gguf (2 parts)
      Name one, for example hf:o/m:Q4_K_M."
    `);
    expect(chooseFiles(many, 'Q4_K_M', 'o/m').weights.map(({ path }) => path)).toEqual(['m.Q4_K_M.gguf']);
  });

  it('are told apart by the whole label, in any case', () => {
    expect(chooseFiles(many, 'q4_0', 'o/m').weights).toHaveLength(1);
    expect(chooseFiles(many, 'Q8_0', 'o/m').weights.map(({ path }) => path)).toEqual([
      'm-Q8_0-00001-of-00002.gguf',
      'm-Q8_0-00002-of-00002.gguf',
    ]);
    expect(refusalOf(Object.keys(SIZES), 'Q4')).toContain('model-not-found: o/m holds no Q4; it holds');
    expect(refusalOf(['a.Q4_0.gguf', 'b.Q4_0.gguf'], 'Q4_0')).toContain(
      'usage: o/m holds 2 models that "Q4_0" may mean',
    );
  });

  it('suggest the smallest where no label is known', () => {
    expect(refusalOf(['m.Q2_K.gguf', 'm.IQ4_XS.gguf'], null)).toContain('for example hf:o/m:m.Q2_K.gguf.');
  });
});

describe('not a model', () => {
  it('a projector or an importance matrix beside one model does not make two', () => {
    expect(chooseFiles(files(['m.Q4_0.gguf', 'mmproj-m.gguf', 'm.imatrix.gguf']), null, 'o/m').weights).toHaveLength(1);
  });

  it('parts of which some are missing', () => {
    expect(refusalOf(['m-Q8_0-00002-of-00002.gguf'], null)).toContain(
      'model-not-found: o/m: m-Q8_0-00002-of-00002.gguf is one of 2 parts, and 1 are missing',
    );
    expect(refusalOf(['config.json', 'model-00001-of-00003.safetensors'], null)).toContain('1 of 3 parts');
  });

  it.each([
    [
      ['pytorch_model.bin', 'config.json'],
      'model-unsupported: o/m has its weights only as pickles (pytorch_model.bin), which can run code',
    ],
    [
      ['adapter_model.safetensors', 'config.json'],
      'model-unsupported: o/m has no model.safetensors; it has adapter_model.safetensors',
    ],
    [['model.safetensors'], 'model-unsupported: o/m has safetensors but no config.json'],
    [['README.md'], 'model-not-found: o/m holds no GGUF and no safetensors'],
  ])('%j', (names, text) => {
    expect(refusalOf(names, null)).toContain(text);
  });
});

it('a checkpoint beside GGUFs is taken by its name', () => {
  const both = files(['m.Q4_0.gguf', 'model.safetensors', 'config.json', 'tokenizer.json', 'model.fp16.safetensors']);
  expect(chooseFiles(both, null, 'o/m').kind).toBe('gguf');
  const { kind, weights, companions } = chooseFiles(both, 'safetensors', 'o/m');
  expect([kind, weights.map(({ path }) => path), companions.map(({ path }) => path)]).toEqual([
    'safetensors',
    ['model.safetensors'],
    ['config.json', 'tokenizer.json'],
  ]);
});
