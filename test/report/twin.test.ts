/** A run on a twin: no format may let its reader take the weights for the model's. */
import { describe, expect, test } from 'vitest';
import { describeTwinRuns, twinModels } from '../../src/app/twin-runs.ts';
import type { RunRecord } from '../../src/core/record.ts';
import { recordSchema } from '../../src/core/record.ts';
import { deriveRecord } from '../../src/core/derive/derive-record.ts';
import { renderCsv } from '../../src/report/csv.ts';
import { renderHtml } from '../../src/report/html.ts';
import { renderMarkdown } from '../../src/report/markdown.ts';
import { renderTerminal } from '../../src/report/terminal.ts';
import { isTwinSpec, parseTwinSpec, twinSpec } from '../../src/models/synthesize/spec.ts';
import { blockEvents, engineFacts, manifestOf, modelFacts } from '../core/fixtures.ts';
import { winner } from './fixtures/records.ts';

const twin: RunRecord = {
  ...winner,
  manifest: {
    ...winner.manifest,
    models: winner.manifest.models.map((model) => ({ ...model, twinOf: 'Llama 3.2 1B' })),
  },
};
const SENTENCE =
  "The weights are a twin's: random numbers in the shape of Llama 3.2 1B. Its speed is meant, its output means nothing.";
const oneLine = (text: string): string => text.replaceAll(/\s+/g, ' ');

describe('reports of a twin', () => {
  test('the terminal says so under the headline', () => {
    const lines = oneLine(renderTerminal(twin, { color: false, width: 100 }));
    expect(lines.slice(0, 600)).toContain(`TWIN: ${SENTENCE}`);
    expect(renderTerminal(winner, { color: false, width: 100 })).not.toContain('TWIN');
  });

  test('Markdown and HTML say so', () => {
    expect(renderMarkdown(twin)).toContain(`**TWIN: ${SENTENCE}**`);
    expect(oneLine(renderHtml(twin, []))).toContain('TWIN: The weights are a twin');
  });

  test('the spreadsheet has whose twin it is in a column', () => {
    expect(renderCsv(twin, []).trim().split(',')).toContain('twin_of');
  });

  test('the record keeps it, and one from before twins is read as ever', () => {
    expect(recordSchema.parse(twin).manifest.models[0]?.twinOf).toBe('Llama 3.2 1B');
    expect(recordSchema.parse(winner).manifest.models[0]).not.toHaveProperty('twinOf');
  });

  test('the limits of the verdict name the twin in place of a conversion', () => {
    const engines = [engineFacts('a'), engineFacts('b')];
    const models = [modelFacts({ twinOf: 'Llama 3.2 1B', derivedBy: 'made by runoff', parameterCount: 2e9 })];
    const events = [0, 1].flatMap((block) =>
      blockEvents(block, [
        { engine: 'a', totalMs: [1_000] },
        { engine: 'b', totalMs: [2_000] },
      ]),
    );
    const { caveats } = deriveRecord(manifestOf(engines, { models }), events).verdict;
    expect(caveats).toContain(SENTENCE);
    expect(caveats.filter((caveat) => caveat.includes('answers differ'))).toEqual([]);
  });
});

describe('--twin and --quant', () => {
  test('several quantisations are a model each, names that mean the same are one', () => {
    expect(twinModels('llama-3.2-1b', ['q4_0,q8', 'Q8_0'])).toEqual([
      { quant: 'Q4_0', model: 'twin:Q4_0:llama-3.2-1b' },
      { quant: 'Q8_0', model: 'twin:Q8_0:llama-3.2-1b' },
    ]);
    expect(twinModels('llama-3.2-1b', [])).toEqual([{ quant: 'Q4_0', model: 'twin:Q4_0:llama-3.2-1b' }]);
    expect(twinModels('/m/x.gguf', [])).toEqual([{ quant: null, model: 'twin::/m/x.gguf' }]);
    expect(() => twinModels('llama-3.2-1b', ['q4,q9'])).toThrow('"q9" is not a quantisation that a twin can have');
  });

  test('a spec names its parts, a path may hold colons', () => {
    expect(parseTwinSpec(twinSpec('q4_0', 'C:\\m\\x.gguf'))).toMatchObject({ id: 'C:\\m\\x.gguf' });
    expect(isTwinSpec('twins/model.gguf')).toBe(false);
    expect(() => parseTwinSpec('twin:q4_0:')).toThrow('"twin:q4_0:" is not a twin');
  });

  test('a table over the runs', () => {
    const runs = [
      { quant: 'Q4_0', folder: 'runs/x-q4_0', record: twin },
      { quant: 'Q8_0', folder: 'runs/x-q8_0', record: { ...twin, summaries: [] } },
    ];
    expect(describeTwinRuns(runs)).toMatchInlineSnapshot(`
      "Request time, all prompts, geometric mean over the blocks of each run:
      quantisation  MB  llama-server     llama-cpp  llama-cpp-fork  verdict
      Q4_0          92        5.86 s        4.52 s          4.52 s  llama-cpp faster
      Q8_0          92  not measured  not measured    not measured  llama-cpp faster
      Each row is a run of its own: the engines of a row were compared with each other, rows were not.
      The weights are a twin's: random numbers in the shape of Llama 3.2 1B. Its speed is meant, its output means nothing.
      Q4_0: runs/x-q4_0
      Q8_0: runs/x-q8_0"
    `);
  });
});
