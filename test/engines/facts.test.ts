/** Every built-in engine says what it takes to ship it, and where that stands. */
import { describe, expect, test } from 'vitest';
import type { Fact } from '../../src/core/shipping-facts.ts';
import { keptShipping } from '../../src/core/shipping-schema.ts';
import { engineIds, loadEngine } from '../../src/engines/registry.ts';

test('folders beside the adapters are no engines', () => {
  const folders = ['facts', 'shared', 'workers'];
  expect(engineIds().filter((id) => folders.includes(id))).toEqual([]);
  expect(engineIds()).toContain('llama-cpp');
});

describe.each(engineIds())('%s', (id) => {
  test('declares every fact, with a source that anybody can open and a day', async () => {
    const { shipping } = await loadEngine(id);
    expect(shipping).toBeDefined();
    const facts = Object.entries(shipping ?? {}) as [string, Fact<unknown>][];
    expect(facts.map(([name]) => name).toSorted()).toEqual([
      'accelerators',
      'apiSurfaces',
      'installSteps',
      'license',
      'modelSizeLimit',
      'needs',
      'platforms',
      'takesHubId',
    ]);
    const unsourced = facts.filter(([, { source }]) => source !== 'measured' && !URL.canParse(source));
    expect(unsourced).toEqual([]);
    expect(facts.filter(([, { source }]) => source !== 'measured' && !source.startsWith('https://'))).toEqual([]);
    expect(facts.filter(([, { date }]) => Number.isNaN(Date.parse(date)))).toEqual([]);
  });

  test('what it declares goes into a record unchanged', async () => {
    const { shipping } = await loadEngine(id);
    expect(keptShipping(shipping)).toEqual(shipping);
  });
});

describe('what a record keeps of an adapter of a user’s own', () => {
  const fact = { source: 'https://example.org/page', date: '2026-11-25' };
  const shipping = {
    installSteps: { ...fact, value: ['npm install mine'] },
    license: { ...fact, value: 'MIT' },
    platforms: { ...fact, value: ['linux-x64'] },
    accelerators: { ...fact, value: ['cpu'] },
    modelSizeLimit: { ...fact, value: null },
    apiSurfaces: { ...fact, value: ['in-process'] },
    needs: { ...fact, value: [] },
    takesHubId: { ...fact, value: false },
  };

  test('facts', () => {
    expect(keptShipping(shipping)).toEqual(shipping);
  });

  test.each([
    ['a source that is no address', { ...shipping, license: { ...shipping.license, source: 'I know it' } }],
    ['an address of another kind', { ...shipping, license: { ...shipping.license, source: 'javascript:alert(1)' } }],
    ['no date', { ...shipping, license: { value: 'MIT', source: 'measured' } }],
    ['a text without end', { ...shipping, license: { ...fact, value: 'M'.repeat(501) } }],
    ['a list without end', { ...shipping, platforms: { ...fact, value: Array.from({ length: 31 }, () => 'linux') } }],
    ['a fact less', { ...shipping, needs: undefined }],
  ])('nothing for %s', (_, declared) => {
    expect(keptShipping(declared as never)).toBeNull();
  });

  test('nothing where it declares nothing', () => {
    expect(keptShipping(undefined)).toBeNull();
  });
});
