/** Everything in runoff that reads a file or an answer which somebody else has made. */
import { prepareGguf, prepareSplitGguf } from './gguf.ts';
import { prepareHub } from './hub.ts';
import { prepareImportance } from './importance.ts';
import { prepareLlamafile } from './llamafile.ts';
import { prepareConfig, prepareMlx, prepareSafetensors, prepareSharded } from './safetensors.ts';
import type { PrepareReader } from './survive.ts';
import { prepareTokenizers } from './tokenizers.ts';

interface ReaderUnderTest {
  readonly prepare: PrepareReader;
  /** Fewer different messages: the damage does not reach the checks. */
  readonly reasonsMin: number;
  /** Beside those of models. */
  readonly codes?: readonly string[];
}

export const READERS: Readonly<Record<string, ReaderUnderTest>> = {
  GGUF: { prepare: prepareGguf, reasonsMin: 25 },
  'a split GGUF': { prepare: prepareSplitGguf, reasonsMin: 20 },
  safetensors: { prepare: prepareSafetensors, reasonsMin: 12 },
  'shards with an index': { prepare: prepareSharded, reasonsMin: 15 },
  'config.json': { prepare: prepareConfig, reasonsMin: 20 },
  'an MLX folder': { prepare: prepareMlx, reasonsMin: 12 },
  'tokenizer files': { prepare: prepareTokenizers, reasonsMin: 15 },
  'importance matrices': { prepare: prepareImportance, reasonsMin: 10 },
  llamafile: { prepare: prepareLlamafile, reasonsMin: 30 },
  "the hub's answers": { prepare: prepareHub, reasonsMin: 5, codes: ['download-failed'] },
};
