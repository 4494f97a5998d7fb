/** Does a finished GGUF tokenise as its original does? */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../core/errors.ts';
import { readGgufHeader } from '../gguf/read-header.ts';
import { readVocabulary } from '../gguf/vocabulary.ts';
import { proofTexts } from './compare-tokens.ts';
import { withScratch } from './run-worker.ts';
import { storeJsonLines } from './token-lists.ts';
import { parseTokenizerJson, readTokenizerFiles, type TokenizerJsonFile } from './tokenizer-files.ts';
import { rebuildTokenizer } from './tokenizer-json.ts';
import { compareAs, proofNotRun, proofOf, startTrial, type LlamaCppPlace, type Proof } from './trial.ts';

export interface GgufCheck {
  /** As the file names it; null where it does not. */
  readonly preTokenizer: string | null;
  readonly tokenCount: number;
  /** What it was compared with: a folder, or null for the tokenizer that is rebuilt from the file itself. */
  readonly against: string | null;
  readonly proof: Proof;
}

export interface GgufCheckRequest {
  readonly against: string | null;
  readonly llamaCpp: LlamaCppPlace;
  readonly signal?: AbortSignal | undefined;
  readonly onStatus?: ((text: string) => void) | undefined;
}

/** @throws AppError `model-unsupported` for a file without a tokenizer or of a kind that cannot be rebuilt, and those of the readers */
export async function checkGgufTokenizer(path: string, request: GgufCheckRequest): Promise<GgufCheck> {
  const { metadata } = await readGgufHeader(path);
  const vocabulary = readVocabulary(metadata);
  if (vocabulary === null) {
    throw new AppError('model-unsupported', `${path} contains no tokenizer.`, {
      hint: 'Convert the model again with its vocabulary.',
    });
  }
  const { pre, tokens } = vocabulary;
  const facts = { preTokenizer: pre, tokenCount: tokens.length, against: request.against };
  if (request.llamaCpp.root === null) return { ...facts, proof: proofNotRun(request.llamaCpp.reason) };
  const { root } = request.llamaCpp;
  const run = async (tokenizer: TokenizerJsonFile, tokenizerPath: string, scratch: string): Promise<GgufCheck> => {
    const { signal, onStatus } = request;
    const trial = await startTrial({
      tokenizer,
      proofTexts: storeJsonLines(join(scratch, 'proof-texts.jsonl'), proofTexts(tokenizer)),
      path: tokenizerPath,
      tokens,
      vocabularyOf: () => Promise.resolve(path),
      root,
      scratch,
      signal,
      onStatus,
    });
    return { ...facts, proof: proofOf(trial, await compareAs(trial, pre ?? 'default', 'everything')) };
  };
  if (request.against !== null) {
    const { tokenizerJson, folder } = await readTokenizerFiles(request.against);
    if (tokenizerJson === null)
      throw new AppError('model-not-found', `${folder} contains no tokenizer.json.`, { hint: 'Download it too.' });
    return withScratch((scratch) => run(tokenizerJson, join(folder, 'tokenizer.json'), scratch));
  }
  return withScratch(async (scratch) => {
    const rebuilt = join(scratch, 'tokenizer.json');
    const text = JSON.stringify(rebuildTokenizer(vocabulary).tokenizerJson);
    await writeFile(rebuilt, text);
    return run(parseTokenizerJson(JSON.parse(text) as Record<string, unknown>, path), rebuilt, scratch);
  });
}
