/** The answer where no pre-tokenizer of llama.cpp does what the file says. */
import { AppError } from '../../core/errors.ts';
import type { Comparison, Difference } from './compare-tokens.ts';
import type { SplitRules } from './derive-pre-tokenizer.ts';

/** Of a text and of its pieces in a message: enough to see the difference. */
const SHOWN_CHARACTERS = 80;

/** @param comparisons names that were tried; none: nothing could be tried */
export function unknownPreTokenizer(folder: string, rules: SplitRules, comparisons: readonly Comparison[]): AppError {
  const rate = ({ textDifferenceCount, textCount }: Comparison): number => textDifferenceCount / Math.max(1, textCount);
  const [closest] = comparisons.toSorted((a, b) => rate(a) - rate(b) || a.differenceCount - b.differenceCount);
  if (closest === undefined) {
    const steps = [...rules.foreign, ...rules.patterns].map((text) => text.slice(0, SHOWN_CHARACTERS)).join('  ');
    return new AppError(
      'tokenizer-unknown',
      `${folder}: none of llama.cpp's pre-tokenizers has this tokenizer's rules: ${steps || '(none)'}.`,
      {
        hint: 'Install what it takes to compare them on text (runoff engines install llama-cpp), or decide with --pre-tokenizer NAME.',
        context: { ...rules },
      },
    );
  }
  const { name, textCount, textDifferenceCount, entryCount, differenceCount, examples } = closest;
  const entries =
    entryCount === 0 ? '' : `, and ${differenceCount - textDifferenceCount} of ${entryCount} entries of the vocabulary`;
  const share = `${(100 * rate(closest)).toFixed(2)}%`;
  const [example] = examples;
  return new AppError(
    'tokenizer-unknown',
    `${folder}: no pre-tokenizer of llama.cpp cuts text as this tokenizer does. The closest is ${name}: ${textDifferenceCount} of ${textCount} texts differ (${share})${entries}.${example === undefined ? '' : ` ${describe(example)}`}`,
    {
      hint: `Decide with --pre-tokenizer NAME, for example --pre-tokenizer ${name}; the model will then see other tokens for such texts.`,
      context: { comparisons, ...rules },
    },
  );
}

function describe({ text, huggingFace, llamaCpp }: Difference): string {
  const at = huggingFace.findIndex((token, i) => token !== llamaCpp[i]);
  const from = Math.max(0, at - 2);
  const shown = (tokens: readonly string[]): string =>
    tokens
      .slice(from, from + 8)
      .join(' | ')
      .slice(0, SHOWN_CHARACTERS);
  return `The first: ${JSON.stringify(text.slice(0, SHOWN_CHARACTERS))} is ${shown(huggingFace)} in the original, ${shown(llamaCpp)} in llama.cpp.`;
}
