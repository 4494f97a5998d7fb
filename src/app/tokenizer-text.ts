/** Pure: what `runoff models tokenizer` prints. */
import type { Comparison } from '../models/tokenizer/compare-tokens.ts';
import type { Proof } from '../models/tokenizer/trial.ts';
import { cleanStrings } from '../report/clean.ts';
import { count } from '../report/numbers.ts';
import { wrap } from '../report/text-table.ts';
import type { TokenizerReport } from './tokenizer.ts';

const WIDTH_MAX = 100;
const WIDTH_MIN = 60;
/** Two spaces, the longest name, and one more. */
const NAME_COLUMNS = 17;
/** Of a text and of its pieces. */
const SHOWN_CHARACTERS = 60;
const EXAMPLES_SHOWN = 3;

type Row = readonly [name: string, text: string];

/** @param width columns of the terminal */
export function describeTokenizer(report: TokenizerReport, width: number): string {
  const columns = Math.min(WIDTH_MAX, Math.max(WIDTH_MIN, width));
  const { proof, ...facts } = cleanStrings(report);
  const rows: Row[] = [
    ['tokenizer', facts.path],
    ...(facts.against === null ? [] : [['against', facts.against] as const]),
    ...(facts.model === null
      ? []
      : [['kind', `${KINDS[facts.model] ?? facts.model}, ${count(facts.tokenCount, 'token')}`] as const]),
    [
      'pre-tokenizer',
      `${facts.preTokenizer ?? 'the file names none'}${facts.origin === null ? '' : ORIGINS[facts.origin]}`,
    ],
    ['proof', verdict(proof)],
    ...proof.comparisons.map((comparison): Row => [`as ${comparison.name}`, evidence(comparison)]),
    ...proof.refused.map((name): Row => [`as ${name}`, 'this llama.cpp does not load the vocabulary under this name']),
    ...examples(proof),
  ];
  const rest = ' '.repeat(NAME_COLUMNS);
  return rows
    .flatMap(([name, text]) => wrap(text, columns, { first: `${name} `.padEnd(NAME_COLUMNS), rest }))
    .join('\n');
}

const KINDS: Readonly<Record<string, string>> = { gpt2: 'byte-level BPE', llama: 'SentencePiece', t5: 'Unigram' };
const ORIGINS: Readonly<Record<NonNullable<TokenizerReport['origin']>, string>> = {
  given: ', as you said',
  rules: ', by the rules of tokenizer.json',
  nearest: ', found by tokenising: the rules are spelled differently',
  none: ': this kind needs no pre-tokenizer',
};

function verdict({ state, reason, release, seconds }: Proof): string {
  if (state === 'not-run') return `NOT proved: ${reason ?? 'the comparison was not run'}`;
  const by = `llama.cpp ${release ?? ''} and Hugging Face's tokenizer, ${seconds.toFixed(1)} s`;
  return state === 'proven' ? `proved: the same tokens in both (${by})` : `NOT the same tokens (${by})`;
}

function evidence({
  textCount,
  entryCount,
  differenceCount,
  textDifferenceCount,
  normalizationCount,
}: Comparison): string {
  const texts = `${differences(textDifferenceCount)} in ${count(textCount, 'text')} (${((100 * textDifferenceCount) / Math.max(1, textCount)).toFixed(2)}%)`;
  const entries =
    entryCount === 0
      ? ''
      : `, ${differences(differenceCount - textDifferenceCount)} in ${entryCount.toLocaleString('en-US')} entries of the vocabulary`;
  const normalised =
    normalizationCount === 0
      ? ''
      : `; ${count(normalizationCount, 'text')} more only because llama.cpp does not normalise (${normalizationCount === 1 ? 'it agrees' : 'they agree'} once normalised)`;
  return `${texts}${entries}${normalised}`;
}

function differences(n: number): string {
  return n === 0 ? 'no difference' : count(n, 'difference');
}

/** Of the name that was taken, or else of the last that was tried. */
function examples({ state, comparisons }: Proof): Row[] {
  const last = comparisons.at(-1);
  if (state !== 'differs' || last === undefined) return [];
  return last.examples.slice(0, EXAMPLES_SHOWN).flatMap(({ text, huggingFace, llamaCpp }): Row[] => {
    const at = huggingFace.findIndex((token, i) => token !== llamaCpp[i]);
    const shown = (tokens: readonly string[]): string =>
      tokens
        .slice(Math.max(0, at - 1), at + 6)
        .join(' | ')
        .slice(0, SHOWN_CHARACTERS);
    return [
      ['text', JSON.stringify(text.slice(0, SHOWN_CHARACTERS))],
      ['  original', shown(huggingFace)],
      ['  llama.cpp', shown(llamaCpp)],
    ];
  });
}
