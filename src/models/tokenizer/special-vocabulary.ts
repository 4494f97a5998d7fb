/**
 * Special token ids, add_bos and its kin, and the chat template, in the order in which the reference converter writes them
 * (gguf-py, SpecialVocab): merges, ids, flags, template.
 */
import type { GgufValue } from '../gguf/metadata.ts';
import { asRecord, isRecord, recordsIn, textIn, type JsonRecord } from './json-values.ts';
import type { NamedTemplate, TokenizerFiles } from './tokenizer-files.ts';

type Metadata = [string, GgufValue][];

/** The format's own spelling of two of them. */
const ID_KEYS: Readonly<Record<string, string>> = {
  bos: 'tokenizer.ggml.bos_token_id',
  eos: 'tokenizer.ggml.eos_token_id',
  unk: 'tokenizer.ggml.unknown_token_id',
  sep: 'tokenizer.ggml.seperator_token_id',
  pad: 'tokenizer.ggml.padding_token_id',
  mask: 'tokenizer.ggml.mask_token_id',
  eot: 'tokenizer.ggml.eot_token_id',
  eom: 'tokenizer.ggml.eom_token_id',
};
const ADD_KEYS: Readonly<Record<string, string>> = {
  bos: 'tokenizer.ggml.add_bos_token',
  eos: 'tokenizer.ggml.add_eos_token',
  sep: 'tokenizer.ggml.add_sep_token',
};
const TYPES = ['bos', 'eos', 'unk', 'sep', 'pad', 'cls', 'mask'] as const;

interface State {
  types: readonly string[];
  readonly ids: Map<string, number>;
  readonly adds: Map<string, boolean>;
  /** `bos_token` and so on, as text. */
  readonly texts: Map<string, string>;
  readonly hasConfig: boolean;
}

/** `tokenCount`: an id must lie below it; null where the reference does not check. */
export function specialVocabulary(files: TokenizerFiles, tokenCount: number | null): Metadata {
  const state: State = {
    types: TYPES,
    ids: new Map(),
    adds: new Map(),
    texts: configTexts(files.tokenizerConfig),
    hasConfig: files.tokenizerConfig !== null,
  };
  if (files.tokenizerJson !== null) readPostProcessor(files.tokenizerJson.postProcessor, state);
  readTokenizerConfig(files, state, tokenCount);
  readConfig(files.config, state, tokenCount);
  return [
    ...idEntries(state.ids),
    ...[...state.adds].flatMap(([type, value]): Metadata => {
      const key = ADD_KEYS[type];
      return key === undefined ? [] : [[key, { type: 'bool', value }]];
    }),
    ...templateEntries(chatTemplate(files)),
    ...normalizerEntries(files.tokenizerJson?.normalizer ?? null),
  ];
}

function idEntries(ids: ReadonlyMap<string, number>): Metadata {
  return [...ids].flatMap(([type, value]): Metadata => {
    const key = ID_KEYS[type];
    return key === undefined ? [] : [[key, { type: 'u32', value }]];
  });
}

/**
 * Older files wrap the text in an object. The reference compares that object with the post-processor's text and so writes
 * add_bos_token = false for them; here both are texts.
 */
function configTexts(config: JsonRecord | null): Map<string, string> {
  const texts = new Map<string, string>();
  for (const [key, value] of Object.entries(config ?? {})) {
    const type = /^([a-z]+)_token$/.exec(key)?.[1];
    const text = tokenText(value);
    if (type !== undefined && text !== null) texts.set(type, text);
  }
  return texts;
}

export function tokenText(value: unknown): string | null {
  if (typeof value === 'string') return value;
  return isRecord(value) ? textIn(value, 'content') : null;
}

function readPostProcessor(postProcessor: JsonRecord | null, state: State): void {
  const { texts } = state;
  for (const [missing, other] of [
    ['bos', 'cls'],
    ['eos', 'sep'],
  ] as const) {
    const text = texts.get(other);
    if (!texts.get(missing) && text !== undefined && state.hasConfig) texts.set(missing, text);
  }
  if (postProcessor === null) return;
  const processors = Array.isArray(postProcessor['processors'])
    ? recordsIn(postProcessor, 'processors')
    : [postProcessor];
  for (const processor of processors) {
    if (processor['type'] === 'ByteLevel') {
      for (const type of ['bos', 'eos']) if (!state.adds.has(type)) state.adds.set(type, false);
    } else if (processor['type'] === 'RobertaProcessing') readRoberta(processor, state);
    else if (processor['type'] === 'TemplateProcessing') readTemplate(processor, state);
  }
}

function readRoberta(processor: JsonRecord, { adds, texts, hasConfig }: State): void {
  for (const type of ['bos', 'eos', 'sep']) adds.set(type, true);
  if (!hasConfig) return;
  for (const [type, fallback] of [
    ['cls', 'bos'],
    ['sep', 'eos'],
  ] as const) {
    const pair = processor[type];
    const text = Array.isArray(pair) && typeof pair[0] === 'string' ? pair[0] : texts.get(fallback);
    if (!texts.get(type) && text !== undefined) texts.set(type, text);
  }
}

/** Simple templates only, as in the reference: what stands before and after the text, and between two texts. */
function readTemplate(processor: JsonRecord, state: State): void {
  const { texts, adds, hasConfig } = state;
  const single = recordsIn(processor, 'single');
  const first = single.length > 1 ? specialIn(single[0]) : null;
  const last = single.length > 1 ? specialIn(single.at(-1)) : null;
  let bos = texts.get('bos');
  let cls = texts.get('cls');
  let eos = texts.get('eos');
  if (first !== null) {
    if (!hasConfig) bos = first;
    else if (first !== bos && first !== cls) {
      if (!bos) texts.set('bos', (bos = first));
      if (!cls) texts.set('cls', (cls = first));
    }
    adds.set('bos', first === bos || first === cls);
  }
  if (last !== null) {
    if (!hasConfig) eos = last;
    else if (last !== eos) {
      const kept = ['eot', 'eom'].find((type) => !state.types.includes(type));
      if (kept !== undefined) {
        state.types = [...state.types, kept];
        if (eos === undefined) texts.delete(kept);
        else texts.set(kept, eos);
      }
      texts.set('eos', (eos = last));
    }
    adds.set('eos', last === eos);
  }
  readPair(recordsIn(processor, 'pair'), { first, last, eos, state });
}

function readPair(
  pair: readonly JsonRecord[],
  { first, last, eos, state }: { first: string | null; last: string | null; eos: string | undefined; state: State },
): void {
  const start = first !== null && specialIn(pair[0]) === first ? 1 : 0;
  const stop = last !== null && specialIn(pair.at(-1)) === last ? -1 : undefined;
  const inner = pair.slice(start, stop);
  if (sequenceIn(inner[0]) !== 'A' || sequenceIn(inner.at(-1)) !== 'B') return;
  const middle = inner.slice(1, -1);
  if (middle.length === 0) return;
  const separator = state.texts.get('sep');
  const isEnd = (text: string | null): boolean => text !== null && (text === separator || text === eos);
  let add = isEnd(specialIn(middle[0])) && last === null;
  if (middle.length === 2 && isEnd(specialIn(middle[1]))) add = true;
  state.adds.set('sep', add);
  if (add && separator === undefined && state.hasConfig && eos !== undefined) state.texts.set('sep', eos);
}

function specialIn(part: JsonRecord | undefined): string | null {
  const special = part?.['SpecialToken'];
  return (isRecord(special) && textIn(special, 'id')) || null;
}

function sequenceIn(part: JsonRecord | undefined): string | null {
  const sequence = part?.['Sequence'];
  return isRecord(sequence) ? textIn(sequence, 'id') : null;
}

/** The post-processor's word stands above tokenizer_config's add_*_token. */
function readTokenizerConfig(
  { tokenizerConfig, tokenizerJson }: TokenizerFiles,
  state: State,
  tokenCount: number | null,
): void {
  if (tokenizerConfig === null) return;
  const added = tokenizerJson?.addedTokens ?? [];
  for (const type of state.types) {
    const add = tokenizerConfig[`add_${type}_token`];
    if (typeof add === 'boolean' && !state.adds.has(type)) state.adds.set(type, add);
    const text = state.texts.get(type);
    if (text !== undefined) setId(state, type, { id: added.find(({ content }) => content === text)?.id, tokenCount });
  }
}

/** Ids of config.json, those of a multimodal model's text part included. Lists are no id. */
function readConfig(config: JsonRecord | null, state: State, tokenCount: number | null): void {
  if (config === null) return;
  const inner = isRecord(config['text_config']) ? asRecord(config['text_config'], 'text_config') : {};
  for (const type of state.types) {
    const key = `${type}_token_id`;
    setId(state, type, { id: config[key] ?? inner[key], tokenCount });
  }
}

function setId({ ids }: State, type: string, { id, tokenCount }: { id: unknown; tokenCount: number | null }): void {
  if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || ids.has(type)) return;
  if (tokenCount === null || id < tokenCount) ids.set(type, id);
}

function chatTemplate({ tokenizerConfig, templateFiles }: TokenizerFiles): string | readonly NamedTemplate[] | null {
  if (tokenizerConfig === null) return null;
  const stored = tokenizerConfig['chat_template'];
  if (stored === undefined) return templateFiles;
  if (typeof stored === 'string') return stored;
  if (!Array.isArray(stored)) return null;
  return stored.filter(isRecord).flatMap((item) => {
    const template = textIn(item, 'template');
    return template === null ? [] : [{ name: textIn(item, 'name') ?? '', template }];
  });
}

function templateEntries(template: string | readonly NamedTemplate[] | null): Metadata {
  if (template === null) return [];
  if (typeof template === 'string') return [['tokenizer.chat_template', { type: 'string', value: template }]];
  const entries: Metadata = [];
  const names = new Set<string>();
  let main: string | null = null;
  for (const item of template) {
    const name = item.name.replaceAll(/[^a-zA-Z0-9]/gu, '_');
    if (name === 'default') main = item.template;
    else if (name !== '') {
      names.add(name);
      entries.push([`tokenizer.chat_template.${name}`, { type: 'string', value: item.template }]);
    }
  }
  if (names.size > 0)
    entries.push(['tokenizer.chat_templates', { type: 'array', itemType: 'string', items: [...names] }]);
  if (main !== null) entries.push(['tokenizer.chat_template', { type: 'string', value: main }]);
  return entries;
}

function normalizerEntries(normalizer: JsonRecord | null): Metadata {
  const flags = new Map<string, boolean>();
  const visit = (part: JsonRecord): void => {
    if (part['type'] === 'Lowercase') flags.set('lowercase', true);
    else if (part['type'] === 'StripAccents') flags.set('strip_accents', true);
    else if (part['type'] === 'Sequence') recordsIn(part, 'normalizers').forEach(visit);
  };
  if (normalizer !== null) visit(normalizer);
  return ['lowercase', 'strip_accents'].flatMap((name): Metadata => {
    const value = flags.get(name);
    return value === undefined ? [] : [[`tokenizer.ggml.normalizer.${name}`, { type: 'bool', value }]];
  });
}
