/**
 * Hugging Face's tokenizer in a process of its own: the file brings its own regexes, and one that never ends must not stop
 * the program that asked. Says the ids of the fingerprint text.
 *
 * Arguments: tokenizer.json; and, for the ids without special tokens of more texts, their file (a `StressText` a line) and a
 * file for the ids.
 */
import { assert } from '../../../core/assert.ts';
import { encoderOf } from '../encode-all.ts';
import { FINGERPRINT_TEXT } from '../reference-fingerprints.ts';
import type { StressText } from '../stress-corpus.ts';
import { readJsonLines, writeIdLists } from '../token-lists.ts';
import { withTokenizerDocument } from '../tokenizer-document.ts';

const [tokenizerPath, textsPath, idsPath] = process.argv.slice(2);
assert(tokenizerPath !== undefined, 'a tokenizer is given');

const encode = withTokenizerDocument(tokenizerPath, encoderOf);
if (textsPath !== undefined && idsPath !== undefined) {
  writeIdLists(
    idsPath,
    Iterator.from(readJsonLines<StressText>(textsPath)).map(({ text }) => encode(text)),
  );
}
const fingerprint = { plain: encode(FINGERPRINT_TEXT), complete: encode(FINGERPRINT_TEXT, true) };
process.stdout.write(`\n${JSON.stringify({ number: 0, ...fingerprint })}\n`);
