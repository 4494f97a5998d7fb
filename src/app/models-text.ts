/** Pure: what `runoff models inspect` prints. Names on the left, texts wrapped beside them. */
import { cleanStrings } from '../report/clean.ts';
import { bytes, count, digits } from '../report/numbers.ts';
import { wrap } from '../report/text-table.ts';
import type { Inspection, LlamafileReport, ModelReport } from './models.ts';

/** Longer lines of prose are hard to read, however wide the window. */
const WIDTH_MAX = 100;
const WIDTH_MIN = 60;
/** Two spaces, the longest name, and one more. */
const NAME_COLUMNS = 17;

type Row = readonly [name: string, text: string];

/** @param width columns of the terminal */
export function describeInspection(inspection: Inspection, width: number): string {
  const columns = Math.min(WIDTH_MAX, Math.max(WIDTH_MIN, width));
  const { path, fileBytes, madeBy, llamafile, models } = cleanStrings(inspection);
  const file: Row[] = [
    ['file', path],
    ['size', bytes(fileBytes)],
    ...(madeBy === null ? [] : [['converted by', madeBy] as const]),
  ];
  if (llamafile === null)
    return models.flatMap((model) => block(model.fileName, [...file, ...modelRows(model)], columns)).join('\n');
  return [
    ...block(titleOf(llamafile), [...file, ...llamafileRows(llamafile)], columns),
    ...models.flatMap((model) => ['', ...block(`Model inside: ${model.fileName}`, modelRows(model), columns)]),
    '',
    ...hazardLines(llamafile, columns),
  ].join('\n');
}

function block(title: string, rows: readonly Row[], columns: number): string[] {
  const rest = ' '.repeat(NAME_COLUMNS);
  return [
    ...wrap(title, columns),
    ...rows.flatMap(([name, text]) => wrap(text, columns, { first: `  ${name}`.padEnd(NAME_COLUMNS), rest })),
  ];
}

function titleOf({ name }: LlamafileReport): string {
  return name ?? 'A llamafile; its version is not in the file';
}

const FORMATS: Readonly<Record<LlamafileReport['format'], string>> = {
  ape: 'one program for Linux, macOS, Windows and BSD',
  elf: 'Linux only',
  pe: 'Windows only',
  'mach-o': 'macOS only',
};
const ARCHITECTURES = { x86_64: 'x86-64', aarch64: 'arm64' } as const;

function llamafileRows({ format, architectures, defaultArguments, entryCount }: LlamafileReport): Row[] {
  const processors = architectures.map((name) => ARCHITECTURES[name]).join(' and ');
  return [
    ['runs on', processors === '' ? FORMATS[format] : `${FORMATS[format]}; ${processors}`],
    ['arguments', argumentText(defaultArguments)],
    ['inside', `${count(entryCount, 'packed file')}; nothing was run to find this out`],
  ];
}

function argumentText(words: readonly string[] | null): string {
  if (words === null) return 'none inside';
  const line = words.map(shown).join(' ');
  return words.includes('...') ? `${line} (... is what its user types)` : `${line}, then what its user types`;
}

/** So that a word with spaces is seen as one. */
function shown(word: string): string {
  return /^[^\s"']+$/.test(word) ? word : JSON.stringify(word);
}

function modelRows(model: ModelReport): Row[] {
  const { name, architecture, layerCount, parameterCount, contextTokens, license, hasChatTemplate, twinOf } = model;
  return [
    ...placeRows(model),
    ['name', name],
    ...(twinOf === null ? [] : [['weights', `random: a twin of ${twinOf}, good for speed alone`] as const]),
    ['architecture', `${architecture}${layerCount === null ? '' : `, ${count(layerCount, 'layer')}`}`],
    ['parameters', parameters(parameterCount)],
    ['quantisation', `${model.quantisation}; ${digits(model.bitsPerWeight)} bits per weight over all tensors`],
    ['tensors', tensorText(model)],
    ['tokenizer', tokenizerText(model)],
    ['chat template', hasChatTemplate ? 'yes' : 'no: chat requests need one from the application'],
    ['context', contextTokens === 0 ? 'the file does not say' : `${count(contextTokens, 'token')} at most`],
    ['memory', memoryText(model)],
    ['licence', license ?? 'the file does not say'],
  ];
}

function placeRows({ place, fileBytes }: ModelReport): Row[] {
  if (place === null) return [];
  const { offset, aligned, crc32 } = place;
  const state = aligned ? 'stored and aligned, so it is mapped as it is' : 'stored, but not aligned';
  return [['place', `${bytes(fileBytes)} from byte ${offset.toLocaleString('en-US')}; ${state}; CRC-32 ${crc32}`]];
}

const MILLION = 1e6;
const BILLION = 1e9;

function parameters(amount: number): string {
  if (amount >= BILLION) return `${digits(amount / BILLION)} billion`;
  return amount >= MILLION ? `${digits(amount / MILLION)} million` : amount.toLocaleString('en-US');
}

/** More kinds than this say nothing. */
const TENSOR_TYPES_SHOWN = 6;

function tensorText({ tensorTypes }: ModelReport): string {
  const total = tensorTypes.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const shownTypes = tensorTypes.slice(0, TENSOR_TYPES_SHOWN).map(({ type, tensorCount, byteLength }, i) => {
    const share = total === 0 ? 0 : (byteLength / total) * 100;
    const text = share > 0 && share < 0.1 ? '< 0.1' : share.toFixed(1);
    return `${tensorCount} ${type} (${text}%${i === 0 ? ' of the bytes' : ''})`;
  });
  const more = tensorTypes.length > TENSOR_TYPES_SHOWN ? [`${tensorTypes.length - TENSOR_TYPES_SHOWN} more kinds`] : [];
  return shownTypes.length === 0 ? 'none' : [...shownTypes, ...more].join(', ');
}

const TOKENIZERS: Readonly<Record<string, string>> = {
  gpt2: 'byte-level BPE',
  llama: 'SentencePiece',
  bert: 'WordPiece',
  t5: 'Unigram',
};

function tokenizerText({ tokenizer, preTokenizer, vocabularySize }: ModelReport): string {
  if (tokenizer === null) return 'none inside';
  const known = Object.hasOwn(TOKENIZERS, tokenizer) ? TOKENIZERS[tokenizer] : undefined;
  const kind = known === undefined ? tokenizer : `${tokenizer} (${known})`;
  // A folder holds the rules themselves; a GGUF only their name.
  if (known === undefined && preTokenizer === null) return `${kind}, ${count(vocabularySize, 'token')}`;
  const pre = preTokenizer === null ? 'no pre-tokenizer named' : `pre-tokenizer ${preTokenizer}`;
  return `${kind}, ${pre}, ${count(vocabularySize, 'token')}`;
}

function memoryText({ memory, contextTokens }: ModelReport): string {
  const { weightBytes, cacheBytes, contextTokens: asked } = memory;
  if (cacheBytes === null) return `${bytes(weightBytes)} of weights; this architecture's state is not computed`;
  const beyond = contextTokens > 0 && asked > contextTokens ? ' (more than the model was made for)' : '';
  const sum = bytes(weightBytes + cacheBytes);
  return (
    `${sum}: ${bytes(weightBytes)} of weights and ${bytes(cacheBytes)} of f16 cache for ${count(asked, 'token')}${beyond}; ` +
    'working buffers come on top'
  );
}

const SYSTEMS = { all: 'everywhere', linux: 'Linux', macos: 'macOS', windows: 'Windows' } as const;

function hazardLines({ hazards }: LlamafileReport, columns: number): string[] {
  if (hazards.length === 0) return ['Nothing is known that would go wrong.'];
  const rest = ' '.repeat(NAME_COLUMNS);
  return [
    'What to know before shipping it',
    ...hazards.flatMap(({ os, what, remedy }) => [
      ...wrap(what, columns, { first: `  ${SYSTEMS[os]}`.padEnd(NAME_COLUMNS), rest }),
      ...wrap(remedy, columns, { first: `${rest}-> `, rest: `${rest}   ` }),
    ]),
  ];
}
