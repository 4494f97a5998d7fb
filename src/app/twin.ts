/** What `runoff models twin` does: a file in the exact shape of a model, with random weights. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { AppError } from '../core/errors.ts';
import { CATALOGUE } from '../models/synthesize/catalogue.ts';
import { DEFAULT_TWIN_SEED, makeTwin, twinFileName } from '../models/synthesize/make-twin.ts';
import { isFixed } from '../models/synthesize/gguf-shape.ts';
import { mlxFormat, mlxFormatName } from '../models/synthesize/mlx-config.ts';
import type { HubOptions } from '../models/sources/hub.ts';
import { headersFolder } from '../models/sources/headers-folder.ts';
import { findShape } from '../models/synthesize/find-shape.ts';
import type { makeMlxTwin } from '../models/synthesize/mlx-twin.ts';
import { planTwin } from '../models/synthesize/plan-twin.ts';
import { presetNamed } from '../models/synthesize/presets.ts';
import type { WriteOptions } from '../models/synthesize/write-twin.ts';
import { cacheFolder } from '../platform/folders.ts';
import { bytes, digits } from '../report/numbers.ts';
import { layTable } from '../report/text-table.ts';
import { demonstrationModel } from './demonstration-model.ts';
import { requireFolderOf } from './require-folder.ts';
import type { Ui } from './ui.ts';

/** What most people ship, and mlx_lm.convert's default. */
const DEFAULT_QUANT = 'Q4_K_M';
const DEFAULT_MLX = '4';

export interface TwinRequest {
  readonly id: string;
  readonly to: 'gguf' | 'mlx';
  /** Null: the types of a .gguf file, else the default. */
  readonly quant: string | null;
  /** Null: a name made from the id, in this folder. */
  readonly out: string | null;
  readonly seed: number | null;
  readonly tokenizer: string | null;
  readonly signal: AbortSignal;
  readonly ui: Ui;
}

export interface MadeTwin {
  readonly path: string;
  readonly fileBytes: number;
  readonly of: string;
  readonly source: string;
  readonly quantisation: string;
  readonly parameterCount: number;
  readonly tokenizer: string;
  /** Why the vocabulary is a stand-in; null where it is a model's own. */
  readonly standInBecause: string | null;
  readonly seed: number;
}

/** @throws AppError as `planTwin`, `makeTwin` and `makeMlxTwin` do */
export async function makeTwinFile(ask: TwinRequest): Promise<MadeTwin> {
  const hub: HubOptions = {
    headersFolder: headersFolder(join(cacheFolder(), 'models')),
    signal: ask.signal,
    onProgress: (text) => ask.ui.status(text),
  };
  const { header } = await findShape(ask.id, hub);
  const isMlx = ask.to === 'mlx';
  const format = isMlx ? mlxFormat(ask.quant ?? DEFAULT_MLX) : null;
  if (isMlx && header?.tensors.some(({ name }) => isFixed(name)) === true) {
    throw new AppError('model-unsupported', 'a .gguf file does not say which rotary scaling its factors stand for', {
      hint: 'Name the model of the catalogue, or its config.json.',
    });
  }
  const quant = isMlx ? 'BF16' : (ask.quant ?? (header === null ? DEFAULT_QUANT : null));
  const known = demonstrationModel(cacheFolder());
  const plan = await planTwin({
    id: ask.id,
    preset: quant === null ? null : presetNamed(quant),
    seed: ask.seed ?? DEFAULT_TWIN_SEED,
    tokenizer: ask.tokenizer,
    demonstrationModel: existsSync(known) ? known : null,
    hub,
  });
  const startedMs = performance.now();
  const options: WriteOptions = {
    signal: ask.signal,
    onProgress: ({ doneBytes, totalBytes }) => {
      const rate = doneBytes / 1e3 / (performance.now() - startedMs);
      const [done, total] = [Math.floor(doneBytes / 1e6), Math.ceil(totalBytes / 1e6)];
      ask.ui.status(`Writing the twin (${done} of ${total} MB, ${rate.toFixed(0)} MB/s)`);
    },
  };
  const { source, parameterCount, tokenizer, standInBecause, file } = plan;
  const quantisation = format === null ? plan.quantisation : mlxFormatName(format);
  const out = resolve(
    ask.out ??
      (format === null
        ? twinFileName(plan)
        : `${source.slug}-twin-mlx-${quantisation.split(',')[0]?.replace(' ', '-')}`),
  );
  await requireFolderOf(out);
  const made =
    format === null ? await makeTwin(plan, out, options) : await makeMlx(plan, { folder: out, format }, options);
  return {
    ...made,
    of: source.of,
    source: source.source,
    quantisation,
    parameterCount,
    tokenizer,
    standInBecause,
    seed: file.seed,
  };
}

/** Loaded for this format only: it brings half of the converter, which takes as long to load as a small twin to write. */
const makeMlx: typeof makeMlxTwin = async (...ask) =>
  (await import('../models/synthesize/mlx-twin.ts')).makeMlxTwin(...ask);

/** What `runoff models twin` prints when it is done. */
export function describeMadeTwin(made: MadeTwin): string {
  const { path, fileBytes, of, source, quantisation, parameterCount, tokenizer, standInBecause, seed } = made;
  return [
    `${path}: ${bytes(fileBytes)}`,
    `  shape       ${of}, ${digits(parameterCount / 1e9)} billion parameters, ${quantisation}`,
    `  source      ${source}`,
    `  vocabulary  ${tokenizer}${standInBecause === null ? '' : ` (${standInBecause})`}`,
    `  weights     random, seed ${seed}: its speed is meant, its output means nothing`,
  ].join('\n');
}

/** The catalogue as a table. */
export function describeCatalogue(): string {
  const columns = ['id', 'model', 'architecture', 'layers', 'hidden', 'vocabulary'].map((name, index) => ({
    header: [name],
    align: index < 3 ? ('left' as const) : ('right' as const),
  }));
  const rows = CATALOGUE.map(({ id, model, shape }) => [
    id,
    model,
    shape.architecture,
    String(shape.layerCount),
    String(shape.hiddenSize),
    String(shape.vocabularySize),
  ]);
  const sources = CATALOGUE.map(({ id, source }) => `  ${id}: ${source}`);
  return [...layTable(columns, rows).lines, '', 'Sources:', ...sources].join('\n');
}
