/**
 * Reads a tokenizer's files and drafts its key-values in a process of its own: what it needs for that goes with it.
 *
 * Arguments: folder for the answer, folder of the model, rows of the embedding or nothing.
 */
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { assert } from '../../../core/assert.ts';
import { AppError } from '../../../core/errors.ts';
import { writeFully } from '../../file-io.ts';
import { encodeArray } from '../../gguf/write.ts';
import { proofTexts } from '../compare-tokens.ts';
import { draftTokenizer } from '../draft.ts';
import { ANSWER_FILE, ARRAYS_FILE, PROOF_TEXTS_FILE, type DraftAnswer, type DraftLine } from '../prepare-draft.ts';
import { storeJsonLines } from '../token-lists.ts';
import { readTokenizerFiles, type TokenizerFiles, type TokenizerSummary } from '../tokenizer-files.ts';

const [answers, folder, vocabularySize] = process.argv.slice(2);
assert(answers !== undefined && folder !== undefined, 'folders are given');

async function draft(into: string, from: string): Promise<void> {
  const files = await readTokenizerFiles(from);
  const made = draftTokenizer(files, vocabularySize ? Number(vocabularySize) : null);
  const { kind, tokens } = made;
  const arrays = openSync(join(into, ARRAYS_FILE), 'w');
  let end = 0;
  // The name is put in when it is known.
  const entries = [...made.metadata('')].map(([key, value]): DraftAnswer['entries'][number] => {
    if (value.type === 'array') {
      const bytes = encodeArray(value);
      const start = end;
      writeFully({ fd: arrays }, bytes, start);
      end += bytes.byteLength;
      return [key, { type: 'encoded', at: [start, end] }];
    }
    assert(typeof value.value !== 'bigint', 'a tokenizer has no values of 64 bits');
    return [key, value];
  });
  closeSync(arrays);
  const { tokenizerJson } = files;
  const texts = tokenizerJson === null ? [] : proofTexts(tokenizerJson);
  const { length: proofTextCount } = storeJsonLines(join(into, PROOF_TEXTS_FILE), texts);
  const answer: DraftAnswer = { files: summaryOf(files), kind, tokenCount: tokens.length, entries, proofTextCount };
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
