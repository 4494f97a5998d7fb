/**
 * llama.cpp's tokenizer in a process of its own, through node-llama-cpp: a failed assertion in native code ends only this.
 *
 * Arguments: folder for the answer, texts (JSON list of `WorkerText`), folder of node-llama-cpp, GGUF. 0.bin then holds the
 * ids; there is none where llama.cpp does not load the vocabulary.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { assert } from '../../../core/assert.ts';
import { packIds } from '../token-lists.ts';

/** The part of node-llama-cpp that is used here. */
interface Library {
  getLlama(options: object): Promise<Llama>;
  readonly LlamaLogLevel: { readonly disabled: string };
}
interface Llama {
  readonly llamaCppRelease: { readonly release: string };
  loadModel(options: object): Promise<Model>;
}
interface Model {
  tokenize(text: string, specialTokens: boolean): readonly number[];
  readonly tokens: { readonly shouldPrependBosToken: boolean };
}

const [folder, textsPath, root, gguf] = process.argv.slice(2);
assert(folder !== undefined && textsPath !== undefined, 'a folder and texts are given');
assert(root !== undefined && gguf !== undefined, 'the library and a GGUF are given');

const texts = JSON.parse(readFileSync(textsPath, 'utf8')) as { text: string; special: boolean }[];
const library = (await import(
  pathToFileURL(createRequire(join(root, 'package.json')).resolve('node-llama-cpp')).href
)) as Library;
const llama = await library.getLlama({
  // Apple silicon has a Metal build only; a vocabulary is never offloaded.
  gpu: process.platform === 'darwin' && process.arch === 'arm64' ? 'metal' : false,
  build: 'never',
  maxThreads: 1,
  logLevel: library.LlamaLogLevel.disabled,
  progressLogs: false,
});

let addsBos = false;
try {
  const model = await llama.loadModel({ modelPath: gguf, vocabOnly: true, gpuLayers: 0 });
  writeFileSync(join(folder, '0.bin'), packIds(texts.map(({ text, special }) => model.tokenize(text, special))));
  addsBos = model.tokens.shouldPrependBosToken;
} catch {
  // The library gives no reason; a pre-tokenizer that this version does not know is the usual one.
}
process.stdout.write(`\n${JSON.stringify({ number: 0, release: llama.llamaCppRelease.release, addsBos })}\n`);
// Its threads would keep the process alive.
process.exit(0);
