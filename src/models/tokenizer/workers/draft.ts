/**
 * Reads a tokenizer's files and drafts its key-values in a process of its own: what it needs for that goes with it.
 *
 * Arguments: folder for the answer, texts (not used), folder of the model, rows of the embedding or nothing.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { assert } from '../../../core/assert.ts';
import { AppError } from '../../../core/errors.ts';
import { encodeArray } from '../../gguf/write.ts';
import { proofTexts } from '../compare-tokens.ts';
import { draftTokenizer } from '../draft.ts';
import { ANSWER_FILE, ARRAYS_FILE, type DraftAnswer, type DraftLine } from '../prepare-draft.ts';
import { readTokenizerFiles, type TokenizerFiles, type TokenizerSummary } from '../tokenizer-files.ts';

const [answers, , folder, vocabularySize] = process.argv.slice(2);
assert(answers !== undefined && folder !== undefined, 'folders are given');

async function draft(into: string, from: string): Promise<void> {
  const files = await readTokenizerFiles(from);
  const made = draftTokenizer(files, vocabularySize ? Number(vocabularySize) : null);
  const { kind, tokens } = made;
  const arrays: Buffer[] = [];
  let end = 0;
  // The name is put in when it is known.
  const entries = [...made.metadata('')].map(([key, value]): DraftAnswer['entries'][number] => {
    if (value.type === 'array') {
      const bytes = encodeArray(value);
      arrays.push(bytes);
      end += bytes.byteLength;
      return [key, { type: 'encoded', at: [end - bytes.byteLength, end] }];
    }
    assert(typeof value.value !== 'bigint', 'a tokenizer has no values of 64 bits');
    return [key, value];
  });
  writeFileSync(join(into, ARRAYS_FILE), Buffer.concat(arrays));
  const { tokenizerJson } = files;
  const answer: DraftAnswer = {
    files: summaryOf(files),
    kind,
    tokenCount: tokens.length,
    entries,
    proofTexts: tokenizerJson === null ? [] : proofTexts(tokenizerJson),
  };
  writeFileSync(join(into, ANSWER_FILE), JSON.stringify(answer));
}

function summaryOf({ folder: path, tokenizerJson, tokenizerConfig }: TokenizerFiles): TokenizerSummary {
  if (tokenizerJson === null) return { folder: path, tokenizerJson, tokenizerConfig };
  const { vocabulary: _, scores: _scores, merges: _merges, raw: _raw, ...rules } = tokenizerJson;
  return { folder: path, tokenizerJson: rules, tokenizerConfig };
}

let line: DraftLine = { number: 0 };
try {
  await draft(answers, folder);
} catch (error) {
  if (!(error instanceof AppError)) throw error;
  line = { number: 0, failed: { code: error.code, message: error.message, hint: error.hint ?? null } };
}
process.stdout.write(`\n${JSON.stringify(line)}\n`);
