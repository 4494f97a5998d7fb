/**
 * llama.cpp's tokenizer in a process of its own: a failed assertion in native code ends only this. It loads node-llama-cpp's
 * compiled part alone: the package around it reads the vocabulary into objects of its own and tries the library in yet
 * another process first.
 *
 * Arguments: folder of node-llama-cpp, GGUF, texts (a `StressText` a line), file for the ids; none is made where llama.cpp does
 * not load the vocabulary.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { assert } from '../../../core/assert.ts';
import { findGgmlLibrary } from '../../convert/run-with-ggml.ts';
import { holdsSpecialTokens } from '../compare-tokens.ts';
import type { StressText } from '../stress-corpus.ts';
import { readJsonLines, writeIdLists } from '../token-lists.ts';

/** The part of node-llama-cpp 3.21's compiled module that is used here. */
interface Addon {
  setLoggerLogLevel(level: number): void;
  init(): Promise<void>;
  readonly AddonModel: new (path: string, options: object) => Model;
}
interface Model {
  init(): Promise<boolean>;
  tokenize(text: string, special: boolean): Uint32Array;
}
interface BuildMetadata {
  readonly buildOptions: { readonly llamaCpp: { readonly release: string } };
}

/** Nothing is printed. */
const LOG_DISABLED = 0;

const [root, gguf, textsPath, idsPath] = process.argv.slice(2);
assert(root !== undefined && gguf !== undefined, 'the library and a GGUF are given');
assert(textsPath !== undefined && idsPath !== undefined, 'texts and a file for the ids are given');

// Beside ggml's library.
const bins = dirname(await findGgmlLibrary(root));
const require = createRequire(import.meta.url);
const addon = require(join(bins, 'llama-addon.node')) as Addon;
const { buildOptions } = JSON.parse(readFileSync(join(bins, '_nlcBuildMetadata.json'), 'utf8')) as BuildMetadata;
addon.setLoggerLogLevel(LOG_DISABLED);
await addon.init();

const model = new addon.AddonModel(gguf, { addonExports: addon, vocabOnly: true, gpuLayers: 0 });
// The library gives no reason; a pre-tokenizer that this version does not know is the usual one.
const loaded = await model.init().catch(() => false);
if (loaded) {
  writeIdLists(
    idsPath,
    Iterator.from(readJsonLines<StressText>(textsPath)).map((text) =>
      text.text === '' ? [] : model.tokenize(text.text, holdsSpecialTokens(text)),
    ),
  );
}
const { release } = buildOptions.llamaCpp;
process.stdout.write(`\n${JSON.stringify({ number: 0, release, loaded })}\n`);
// Its threads would keep the process alive.
process.exit(0);
