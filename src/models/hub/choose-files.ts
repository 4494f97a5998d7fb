/** Pure: which files of a repository are the model that was asked for. */
import { AppError } from '../../core/errors.ts';

export interface ListedFile {
  readonly path: string;
  readonly sizeBytes: number;
}

export interface Choice<T extends ListedFile> {
  readonly kind: 'gguf' | 'safetensors';
  /** The weights, in order; the first is what an engine is given. */
  readonly weights: readonly T[];
  /** Configuration, tokenizer and licence; never code, never pickles. */
  readonly companions: readonly T[];
}

/** What converters read beside the weights. */
const CHECKPOINT_FILES: readonly string[] = [
  'config.json',
  'generation_config.json',
  'model.safetensors.index.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'tokenizer.model',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  'chat_template.jinja',
  'chat_template.json',
];
/** The licence travels with the weights; the card names it. */
const LICENCE_FILE = /^(README\.md|(LICENSE|LICENCE|NOTICE|USE_POLICY)(\.(md|txt))?)$/i;
/** A tokenizer has up to 40 MB; a larger "config" is something else. */
const COMPANION_BYTES_MAX = 256 << 20;
const WEIGHT_SHARD = /^model-(\d{5})-of-(\d{5})\.safetensors$/;
const GGUF_SHARD = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/i;
/** Formats that run code of the file when they are loaded. */
const PICKLE = /\.(bin|pt|pth|ckpt|pkl|pickle)$/i;
/** Parts of a multimodal model and tables for quantising: no models of their own. */
const NOT_A_MODEL = /(^|\/)(mmproj|imatrix)[^/]*\.gguf$|[-._]imatrix\.gguf$/i;
/** Of a list in an error. */
const SHOWN_MAX = 40;
/** Most shipped first: what is suggested. */
const COMMON_LABELS: readonly string[] = ['Q4_K_M', 'Q4_0', 'Q5_K_M', 'Q8_0', 'Q6_K', 'F16', 'BF16'];

/**
 * @param wanted a path, the name of a quantisation (`Q4_K_M`), `safetensors`, or null where there is one model
 * @throws AppError `usage` with the list where several models would do, `model-not-found`, `model-unsupported`
 */
export function chooseFiles<T extends ListedFile>(files: readonly T[], wanted: string | null, repo: string): Choice<T> {
  const models = groupModels(files);
  const companions = files.filter(({ path, sizeBytes }) => LICENCE_FILE.test(path) && sizeBytes <= COMPANION_BYTES_MAX);
  if (wanted === 'safetensors' || (wanted === null && models.length === 0)) return checkpoint(files, companions, repo);
  const model = wanted === null ? only(models, repo) : named(models, wanted, repo);
  requireWhole(model, repo);
  return { kind: 'gguf', weights: model.files, companions };
}

interface Model<T> {
  readonly name: string;
  readonly files: readonly T[];
  /** How many files it says it has. */
  readonly parts: number;
}

function groupModels<T extends ListedFile>(files: readonly T[]): Model<T>[] {
  const groups = new Map<string, { parts: number; files: T[] }>();
  for (const file of files) {
    if (!/\.gguf$/i.test(file.path) || NOT_A_MODEL.test(file.path)) continue;
    const shard = GGUF_SHARD.exec(file.path);
    const key = shard === null ? file.path : `${shard[1]}-of-${shard[3]}`;
    const group = groups.get(key) ?? { parts: shard === null ? 1 : Number(shard[3]), files: [] };
    group.files.push(file);
    groups.set(key, group);
  }
  return [...groups.values()].map(({ parts, files: parted }) => {
    const sorted = parted.toSorted((a, b) => (a.path < b.path ? -1 : 1));
    return { name: sorted[0]?.path ?? '', files: sorted, parts };
  });
}

function only<T extends ListedFile>(models: readonly Model<T>[], repo: string): Model<T> {
  const [model] = models;
  if (models.length === 1 && model !== undefined) return model;
  throw new AppError('usage', `${repo} holds ${models.length} models:\n${list(models)}`, {
    hint: `Name one, for example hf:${repo}:${suggestion(models)}.`,
  });
}

function named<T extends ListedFile>(models: readonly Model<T>[], wanted: string, repo: string): Model<T> {
  const exact = models.find(({ files }) => files.some(({ path }) => path === wanted));
  if (exact !== undefined) return exact;
  const labelled = models.filter(({ name }) => hasLabel(name, wanted));
  const [model] = labelled;
  if (labelled.length === 1 && model !== undefined) return model;
  if (labelled.length > 1) {
    throw new AppError(
      'usage',
      `${repo} holds ${labelled.length} models that "${wanted}" may mean:\n${list(labelled)}`,
      {
        hint: `Give the whole name, for example hf:${repo}:${model?.name ?? ''}.`,
      },
    );
  }
  if (models.length === 0) {
    throw new AppError('model-not-found', `${repo} holds no GGUF, so no ${wanted}`, {
      hint: `hf:${repo}:safetensors takes its checkpoint, if it has one.`,
    });
  }
  throw new AppError('model-not-found', `${repo} holds no ${wanted}; it holds\n${list(models)}`, {
    hint: `Name one of these, for example hf:${repo}:${suggestion(models)}.`,
  });
}

/** Pure: `Q4_K_M` is in `x.Q4_K_M.gguf`, not in `x.IQ4_K_M.gguf` or `x.Q4_K_M_L.gguf`. */
function hasLabel(name: string, label: string): boolean {
  if (!/^[A-Za-z0-9_]{2,30}$/.test(label)) return false;
  const words = name.replace(/\.gguf$/i, '').split(/[-./]/);
  return words.some((word) => word.toLowerCase() === label.toLowerCase());
}

function requireWhole<T extends ListedFile>({ files, parts, name }: Model<T>, repo: string): void {
  const numbers = files.map(({ path }) => Number(GGUF_SHARD.exec(path)?.[2] ?? '1'));
  if (files.length === parts && numbers.every((number, i) => number === i + 1)) return;
  throw new AppError(
    'model-not-found',
    `${repo}: ${name} is one of ${parts} parts, and ${parts - files.length} are missing`,
    {
      hint: 'Take another model of the repository, or tell its owner.',
    },
  );
}

function suggestion<T extends ListedFile>(models: readonly Model<T>[]): string {
  for (const label of COMMON_LABELS) {
    const fitting = models.filter(({ name }) => hasLabel(name, label));
    if (fitting.length === 1) return label;
    if (fitting[0] !== undefined) return fitting[0].name;
  }
  return models.toSorted((a, b) => bytesOf(a) - bytesOf(b))[0]?.name ?? '';
}

function list<T extends ListedFile>(models: readonly Model<T>[]): string {
  const rows = models.toSorted((a, b) => bytesOf(a) - bytesOf(b)).slice(0, SHOWN_MAX);
  const lines = rows.map((model) => {
    const parts = model.parts > 1 ? ` (${model.parts} parts)` : '';
    return `  ${size(bytesOf(model)).padStart(10)}  ${model.name}${parts}`;
  });
  return [...lines, ...(models.length > SHOWN_MAX ? [`  and ${models.length - SHOWN_MAX} more`] : [])].join('\n');
}

function size(amount: number): string {
  return amount >= 1e9 ? `${(amount / 1e9).toFixed(2)} GB` : `${(amount / 1e6).toFixed(1)} MB`;
}

function bytesOf<T extends ListedFile>({ files }: Model<T>): number {
  return files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

/** Only the top folder: others hold variants for other programs, or the same weights again. */
function checkpoint<T extends ListedFile>(files: readonly T[], licences: readonly T[], repo: string): Choice<T> {
  const weights = checkpointWeights(files, repo);
  const small = files.filter(
    ({ path, sizeBytes }) => CHECKPOINT_FILES.includes(path) && sizeBytes <= COMPANION_BYTES_MAX,
  );
  if (!small.some(({ path }) => path === 'config.json')) {
    throw new AppError(
      'model-unsupported',
      `${repo} has safetensors but no config.json, so its architecture is unknown`,
      {
        hint: 'An adapter (LoRA) is one: take the model that it was merged into.',
      },
    );
  }
  return { kind: 'safetensors', weights, companions: [...small, ...licences] };
}

function checkpointWeights<T extends ListedFile>(files: readonly T[], repo: string): readonly T[] {
  const whole = files.filter(({ path }) => path === 'model.safetensors');
  if (whole.length > 0) return whole;
  const shards = files.filter(({ path }) => WEIGHT_SHARD.test(path)).toSorted((a, b) => (a.path < b.path ? -1 : 1));
  const [first] = shards;
  if (first !== undefined) {
    const parts = Number(WEIGHT_SHARD.exec(first.path)?.[2]);
    if (shards.length === parts) return shards;
    throw new AppError('model-not-found', `${repo}: ${shards.length} of ${parts} parts of its weights are there`, {
      hint: 'Tell its owner, or take another revision.',
    });
  }
  const others = files.filter(({ path }) => path.endsWith('.safetensors')).map(({ path }) => path);
  const pickles = files.filter(({ path }) => PICKLE.test(path));
  if (others.length > 0) {
    throw new AppError(
      'model-unsupported',
      `${repo} has no model.safetensors; it has ${others.slice(0, 5).join(', ')}`,
      {
        hint: 'Those are for other programs. Look for the transformers version of the model.',
      },
    );
  }
  throw pickles.length > 0
    ? new AppError(
        'model-unsupported',
        `${repo} has its weights only as pickles (${pickles[0]?.path ?? ''}), which can run code when they are loaded`,
        {
          hint: 'runoff does not take them. Look for a revision or a copy with safetensors, for example hf:OWNER/NAME@refs/pr/1.',
        },
      )
    : new AppError('model-not-found', `${repo} holds no GGUF and no safetensors`, { hint: 'Check the name.' });
}
