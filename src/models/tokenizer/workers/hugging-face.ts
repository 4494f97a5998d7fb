/**
 * Hugging Face's tokenizer in a process of its own: the file brings its own regexes, and one that never ends must not stop
 * the program that asked.
 *
 * Arguments: folder for the answer, texts (JSON list of `WorkerText`), tokenizer.json, and `rank` to order llama.cpp's pre-tokenizers by
 * their likeness instead. 0.bin then holds the ids without special tokens; the last list is that of the first text with
 * special tokens.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { assert } from '../../../core/assert.ts';
import { rankRules } from '../rank-pre-tokenizers.ts';
import { encodeAll } from '../encode-all.ts';
import { packIds } from '../token-lists.ts';

const [folder, textsPath, tokenizerPath, mode] = process.argv.slice(2);
assert(
  folder !== undefined && textsPath !== undefined && tokenizerPath !== undefined,
  'a folder, texts and a tokenizer are given',
);

const read = (): { pre_tokenizer?: unknown } =>
  JSON.parse(readFileSync(tokenizerPath, 'utf8')) as { pre_tokenizer?: unknown };
if (mode === 'rank') {
  process.stdout.write(`\n${JSON.stringify({ number: 0, order: rankRules(read().pre_tokenizer) })}\n`);
} else {
  const texts = JSON.parse(readFileSync(textsPath, 'utf8')) as { text: string }[];
  writeFileSync(join(folder, '0.bin'), packIds(encodeAll(read(), texts)));
  process.stdout.write(`\n${JSON.stringify({ number: 0 })}\n`);
}
