/** `runoff models convert --to gguf`: from a Hugging Face folder or a GGUF, with everything checked before anything is written. */
import { access, stat } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { assert } from '../../core/assert.ts';
import { AppError } from '../../core/errors.ts';
import { gainsFromGgml, needsGgml, outputPaths, writeConverted } from '../../models/convert/convert-to-gguf.ts';
import { readImportance } from '../../models/convert/importance.ts';
import { readFolderConfig } from '../../models/convert/folder-model.ts';
import { planFromFolder, type ConversionPlan } from '../../models/convert/plan.ts';
import { planFromGguf } from '../../models/convert/plan-from-gguf.ts';
import { QUANT_NAMES, type QuantName } from '../../models/convert/recipes.ts';
import { findGgmlLibrary } from '../../models/convert/run-with-ggml.ts';
import { isArchitectureName } from '../../models/hugging-face/families.ts';
import type { WritableMetadata } from '../../models/gguf/metadata.ts';
import { filesOfModel } from '../../models/gguf/parts.ts';
import { tokenizerMetadata } from '../../models/tokenizer/to-gguf.ts';
import { createEnvironments } from '../../platform/environments/environments.ts';
import { cacheFolder } from '../../platform/folders.ts';
import { ownEnvironments } from '../engines.ts';
import { llamaCppPlace } from '../tokenizer.ts';
import { requireFolderOf } from '../require-folder.ts';
import type { Ui } from '../ui.ts';
import { modelName } from './model-name.ts';
import { conversionProgress } from './progress.ts';
import { proveIdentical } from './prove-identical.ts';
import { isForReference, type ReferencePermission } from './reference.ts';
import { convertToGgufByReference, type GgufReferenceAsk } from './reference-gguf.ts';
import { checkRoom, continuationOf, hashOfFile } from './resuming.ts';

export interface ConvertToGgufAsk {
  /** A Hugging Face or MLX folder, or a .gguf file. */
  readonly source: string;
  /** Null: every weight stays the same number. */
  readonly quant: string | null;
  /** Bytes of tensors in one file, of several; null: one file. */
  readonly splitBytesMax: number | null;
  /** Null: named after the source and the type, in this folder. */
  readonly out: string | null;
  readonly overwrite: boolean;
  /** Go on with what an interrupted conversion left. */
  readonly resume: boolean;
  readonly imatrix: string | null;
  readonly preTokenizer: string | null;
  /** Refuse a tokenizer that is not proved. */
  readonly strict: boolean;
  /** What runoff does not convert goes to llama.cpp's converter; null: is an error. */
  readonly reference: ReferencePermission | null;
  readonly threads: number | null;
  readonly signal: AbortSignal;
  readonly ui: Ui;
}

export interface Converted {
  readonly path: string;
  readonly fileBytes: number;
  readonly bitsPerWeight: number;
  readonly seconds: number;
  readonly notes: readonly string[];
}

/** The environment whose llama.cpp brings the quantisers. */
const GGML_ENVIRONMENT = 'node-llama-cpp';

/** @throws AppError `usage`, `model-*`, `conversion-failed`, `environment-failed` */
export async function convertToGguf(ask: ConvertToGgufAsk): Promise<Converted> {
  const startedMs = performance.now();
  const isFolder = await isModelFolder(ask.source);
  const quant = quantNamed(ask, isFolder);
  const out = resolve(ask.out ?? `${modelName(ask.source)}${quant === null ? '' : `-${quant}`}.gguf`);
  if (ask.splitBytesMax === null) await checkOutput(ask, [out]);
  const importance =
    ask.imatrix === null
      ? null
      : { fileName: basename(ask.imatrix), entryCount: (await readImportance(ask.imatrix)).size };
  ask.ui.status('Reading the model');
  const planned = await planOrHandOver(ask, { isFolder, quant, importance });
  if (planned === null) {
    const made = await convertToGgufByReference(referenceAsk(ask, quant, out));
    return { path: out, ...made, seconds: (performance.now() - startedMs) / 1000 };
  }
  const { plan, notes } = planned;
  const paths = outputPaths(plan, out);
  await checkOutput(ask, paths);
  const libraryPath = await ggmlLibrary(plan, ask.ui);
  const fileBytes = plan.parts.reduce((sum, { layout }) => sum + layout.totalBytes, 0);
  const headerBytes = plan.parts.reduce((sum, { layout }) => sum + layout.header.byteLength, 0);
  await checkRoom(out, fileBytes);
  const proof = quant === null && isFolder ? proofOf(ask, plan) : null;
  await writeConverted(plan, out, {
    continuation: continuationOf(ask, {
      '--quant': quant,
      '--split-max-size': ask.splitBytesMax === null ? null : `${ask.splitBytesMax} bytes`,
      '--imatrix': ask.imatrix === null ? null : await hashOfFile(ask.imatrix),
    }),
    libraryPath,
    importancePath: ask.imatrix,
    threads: ask.threads ?? undefined,
    signal: ask.signal,
    onProgress: conversionProgress(ask.ui, what(quant, isFolder)),
    prove: proof?.prove,
  });
  return {
    path: paths[0] as string,
    fileBytes,
    bitsPerWeight: (8 * (fileBytes - headerBytes)) / plan.parameterCount,
    seconds: (performance.now() - startedMs) / 1000,
    notes: [...notes, ...partNotes(ask, paths), ...(proof === null ? [] : [proof.note])],
  };
}

function what(quant: QuantName | null, isFolder: boolean): string {
  if (quant !== null) return `Converting to ${quant}`;
  return isFolder ? 'Repacking as GGUF, lossless' : 'Copying';
}

function partNotes({ splitBytesMax }: ConvertToGgufAsk, paths: readonly string[]): string[] {
  if (splitBytesMax === null) return [];
  if (paths.length === 1) return ['The tensors fit into one file: it was not split.'];
  return [`${paths.length} files; engines are given the first and find the others beside it.`];
}

async function isModelFolder(source: string): Promise<boolean> {
  const info = await stat(source).catch((cause: unknown) => {
    throw new AppError('model-not-found', `There is no model at ${source}.`, { hint: 'Check the path.', cause });
  });
  return info.isDirectory();
}

function quantNamed(
  { source, quant: text, imatrix, splitBytesMax }: ConvertToGgufAsk,
  isFolder: boolean,
): QuantName | null {
  if (text === null) {
    if (!isFolder && splitBytesMax === null && filesOfModel(source).length === 1) {
      throw new AppError('usage', 'A GGUF from a GGUF needs a type: --quant.', {
        hint: `These can be written: ${QUANT_NAMES.join(', ')}. --split-max-size makes several files of it as it is.`,
      });
    }
    if (imatrix === null) return null;
    throw new AppError('usage', '--imatrix is for quantising; without --quant every weight stays as it is.', {
      hint: 'Add --quant, or leave --imatrix out.',
    });
  }
  const name = QUANT_NAMES.find((candidate) => candidate === text?.toUpperCase());
  if (name !== undefined) return name;
  throw new AppError('usage', `There is no GGUF type ${text}.`, {
    hint: `These can be written: ${QUANT_NAMES.join(', ')}.`,
  });
}

type ImportanceFacts = { readonly fileName: string; readonly entryCount: number } | null;

/** Null: it goes to the reference. */
async function planOrHandOver(
  ask: ConvertToGgufAsk,
  { isFolder, quant, importance }: { isFolder: boolean; quant: QuantName | null; importance: ImportanceFacts },
): Promise<Awaited<ReturnType<typeof folderPlan>> | null> {
  if (!isFolder) return ggufPlan(ask, quant, importance);
  try {
    // Before minutes are spent on the tokenizer.
    await readFolderConfig(ask.source);
    return await folderPlan(ask, quant, importance);
  } catch (error) {
    if (!isForReference(error) || ask.reference === null) throw error;
    ask.ui.line(
      `runoff does not convert ${String(error.context['architecture'])} itself: it goes to llama.cpp's converter.`,
    );
    return null;
  }
}

function referenceAsk(ask: ConvertToGgufAsk, quant: QuantName | null, out: string): GgufReferenceAsk {
  const { source, reference, imatrix, preTokenizer, splitBytesMax, strict, signal, ui } = ask;
  assert(reference !== null, 'the user asked for the reference');
  if (quant === null)
    throw new AppError('usage', "llama.cpp's converter, which makes this model, needs a type: --quant.", {
      hint: 'It writes F32, F16, BF16 and Q8_0.',
    });
  const refused = [
    ...(imatrix === null ? [] : ['--imatrix']),
    ...(preTokenizer === null ? [] : ['--pre-tokenizer']),
    ...(splitBytesMax === null ? [] : ['--split-max-size']),
  ];
  const environments = ownEnvironments(ui);
  return { source: resolve(source), quant, out, strict, refused, environments, ...reference, signal, ui };
}

async function folderPlan(
  ask: ConvertToGgufAsk,
  quant: QuantName | null,
  importance: ImportanceFacts,
): Promise<{ plan: ConversionPlan; notes: string[] }> {
  const { metadata: tokenizer, notes } = await tokenizerOf(ask);
  if (quant === null) ask.ui.status('Looking for a GGUF type that holds every weight exactly');
  const plan = await planFromFolder(ask.source, {
    quant,
    tokenizer,
    importance,
    signal: ask.signal,
    partBytesMax: ask.splitBytesMax,
  });
  const [before] = plan.quantisedBefore;
  if (quant === null || before === undefined) return { plan, notes };
  return {
    plan,
    notes: [
      ...notes,
      lossNote(before),
      'Without --quant the weights stay the same numbers, where a GGUF can hold them.',
    ],
  };
}

async function ggufPlan(
  { source, splitBytesMax }: ConvertToGgufAsk,
  quant: QuantName | null,
  importance: ImportanceFacts,
): Promise<{ plan: ConversionPlan; notes: string[] }> {
  const plan = await planFromGguf(resolve(source), { quant, importance, partBytesMax: splitBytesMax });
  const [before] = plan.quantisedBefore;
  return { plan, notes: quant === null || before === undefined ? [] : [lossNote(before)] };
}

function lossNote(before: string): string {
  return `The source is ${before}: what that lost is not coming back, and quantising again loses more.`;
}

interface Proof {
  /** Undefined where the result cannot be compared. */
  readonly prove: ((made: string) => Promise<void>) | undefined;
  readonly note: string;
}

function proofOf({ source, signal, ui }: ConvertToGgufAsk, { architecture }: ConversionPlan): Proof {
  if (!isArchitectureName(architecture)) {
    const note = `Every weight was carried over as it is; it was not checked, because models verify does not know ${architecture}.`;
    return { prove: undefined, note };
  }
  return {
    prove: (made) => proveIdentical({ source: resolve(source), made, form: 'GGUF', signal, ui }),
    note: 'Every weight is the same number as in the folder; that was checked.',
  };
}

/** What was proved is not mentioned: it is what everybody expects. */
async function tokenizerOf(ask: ConvertToGgufAsk): Promise<{ metadata: WritableMetadata; notes: string[] }> {
  const { source, preTokenizer, strict, signal, ui } = ask;
  const { metadata, proof, ...choice } = await tokenizerMetadata(source, {
    preTokenizer,
    vocabularySize: null,
    llamaCpp: await llamaCppPlace(ui),
    strict,
    signal,
    onStatus: (text) => ui.status(text),
  });
  if (proof.state === 'proven') return { metadata, notes: [] };
  const words = `${proof.reason ?? 'llama.cpp answers otherwise'} (runoff models tokenizer ${source} tells more)`;
  return { metadata, notes: [`The tokenizer (${choice.preTokenizer}) is not proved: ${words}.`] };
}

async function ggmlLibrary(plan: ConversionPlan, ui: Ui): Promise<string | null> {
  if (!needsGgml(plan) && !gainsFromGgml(plan)) return null;
  const environments = createEnvironments({ cacheFolder: cacheFolder(), onProgress: (text) => ui.status(text) });
  const found = await environments.inspect(GGML_ENVIRONMENT);
  if (found.state === 'ready') return findGgmlLibrary(found.root);
  if (!needsGgml(plan)) return null;
  throw new AppError(
    'environment-failed',
    'Quantising uses ggml, which comes with the engine llama-cpp; it is not installed.',
    {
      hint: 'runoff engines install llama-cpp (60 MB); without it F32, F16, BF16 and Q8_0 can be written.',
    },
  );
}

async function checkOutput({ source, overwrite }: ConvertToGgufAsk, paths: readonly string[]): Promise<void> {
  const sources = filesOfModel(resolve(source));
  for (const path of paths) {
    if (sources.includes(path)) {
      throw new AppError('usage', `Input and output are the same file: ${path}.`, {
        hint: 'Choose another output with --out.',
      });
    }
    const isThere = await access(path).then(
      () => true,
      () => false,
    );
    if (isThere && !overwrite)
      throw new AppError('usage', `${path} exists already.`, {
        hint: 'Choose another output with --out, or add --overwrite.',
      });
  }
  await requireFolderOf(paths[0] as string);
}
