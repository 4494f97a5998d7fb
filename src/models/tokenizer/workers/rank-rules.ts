/**
 * Orders llama.cpp's pre-tokenizers by their likeness to a file's own rules, in a process of its own: see hugging-face.ts.
 *
 * Argument: tokenizer.json.
 */
import { assert } from '../../../core/assert.ts';
import { rankRules } from '../rank-pre-tokenizers.ts';
import { withTokenizerDocument } from '../tokenizer-document.ts';

const [tokenizerPath] = process.argv.slice(2);
assert(tokenizerPath !== undefined, 'a tokenizer is given');

const order = withTokenizerDocument(tokenizerPath, ({ rest }) => rankRules(rest['pre_tokenizer']));
process.stdout.write(`\n${JSON.stringify({ number: 0, order })}\n`);
