/** Everything of an MLX folder but the weights, made from a GGUF header: texts by file name. */
import { messageOf } from '../../core/errors.ts';
import { textOf } from '../gguf/metadata.ts';
import type { GgufHeader } from '../gguf/read-header.ts';
import type { Vocabulary } from '../gguf/vocabulary.ts';
import { rebuildTokenizer, tokenizerConfig } from '../tokenizer/tokenizer-json.ts';
import { generationConfig } from './config.ts';

interface Description {
  readonly config: Readonly<Record<string, unknown>>;
  /** model.safetensors.index.json */
  readonly index: unknown;
  readonly vocabulary: Vocabulary | null;
}

export interface FolderTexts {
  readonly files: Readonly<Record<string, string>>;
  readonly warnings: readonly string[];
}

export function folderTexts({ metadata }: GgufHeader, { config, index, vocabulary }: Description): FolderTexts {
  const files: Record<string, string> = {
    'config.json': json(config),
    'model.safetensors.index.json': json(index),
  };
  if (vocabulary === null) return { files, warnings: ['The file has no tokenizer: prompts must be token ids.'] };
  const warnings: string[] = [];
  files['generation_config.json'] = json(generationConfig(vocabulary));
  const chatTemplate = textOf(metadata, 'tokenizer.chat_template');
  try {
    const { tokenizerJson, warning } = rebuildTokenizer(vocabulary);
    files['tokenizer.json'] = JSON.stringify(tokenizerJson);
    files['tokenizer_config.json'] = json(tokenizerConfig(vocabulary, chatTemplate));
    if (warning !== null) warnings.push(warning);
  } catch (error) {
    // The weights do not depend on it.
    warnings.push(messageOf(error));
  }
  if (chatTemplate !== null) files['chat_template.jinja'] = chatTemplate;
  return { files, warnings };
}

export function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
