import { expect, test } from 'vitest';
import { describeTuning } from '../../../src/app/tune/tune-text.ts';
import { threadsNote } from '../../../src/core/verdict/compute-threads.ts';
import { engineFacts } from '../../core/fixtures.ts';

const PLACE = { engine: 'llama-cpp', model: 'small', machine: 'two cores' };
const UNTOUCHED = {
  state: 'complete',
  engine: 'llama-cpp',
  knobs: [{ name: 'threads', before: '2', tried: [{ label: '1', gain: 0.98, verdict: 'EQUIVALENT' }], chosen: null }],
  threadsNote: null,
  proposed: {},
  confirmation: null,
  settings: {},
} as const;
const BUILD = { version: '1', library: null, openMp: false, instructionSets: null };

test('what was tried, and why more threads bring little where the build explains it', () => {
  const facts = engineFacts('llama-cpp', { build: { ...BUILD, disposableThreads: true } });
  expect(describeTuning({ ...UNTOUCHED, threadsNote: threadsNote(facts) }, PLACE)).toEqual([
    'The defaults stay for llama-cpp: nothing that was tried is faster beyond doubt.',
    '',
    '  threads          2 stays; 1: 0.98x',
    '',
    'llama-cpp is built without OpenMP and keeps no threadpool: with more than one thread it creates threads anew for every token, which costs a part of what they bring. A build with OpenMP keeps them.',
    '',
    'x: time with the value in force over time with this one, above 1 is quicker. llama-cpp, small, two cores.',
  ]);
});

test('no word about threads where they are kept, or it is not known, or a GPU computes', () => {
  const known = { ...BUILD, disposableThreads: true };
  expect([
    threadsNote(engineFacts('a', { build: { ...BUILD, openMp: true } })),
    threadsNote(engineFacts('a', { build: BUILD })),
    threadsNote(engineFacts('a', { build: null })),
    threadsNote(engineFacts('a', { build: known, device: 'metal' })),
  ]).toEqual([null, null, null, null]);
  expect(describeTuning(UNTOUCHED, PLACE)).toHaveLength(5);
});
