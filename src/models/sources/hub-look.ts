/** What a model on the hub is, from the headers of its files alone: its weights stay where they are. */
import { join } from 'node:path';
import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import { joinParts } from '../gguf/parts.ts';
import { readGgufHead, type GgufHeader, type GgufTensor } from '../gguf/read-header.ts';
import { repoCache } from '../hub/cache-layout.ts';
import type { Choice } from '../hub/choose-files.ts';
import { KeptReads, type ReadKey } from '../hub/kept-reads.ts';
import { NETWORK_LIMITS } from '../hub/limits.ts';
import { ByteBudget, RemoteFile, type RemotePlace } from '../hub/remote-file.ts';
import type { RepoFile } from '../hub/repository.ts';
import { isUnreachable } from '../hub/request.ts';
import { hubSettings } from '../hub/settings.ts';
import { formatHubSpec, parseHubSpec, type HubSpec } from '../hub/spec.ts';
import { readJson } from '../read-json.ts';
import { LENGTH_BYTES, parseSafetensorsHeader, safetensorsHeaderBytes } from '../safetensors/read-header.ts';
import { askHub, fetchFiles, fromCache, notCached, type HubAsk, type HubModel, type HubOptions } from './hub.ts';

/** A vocabulary of 262,144 tokens with its merges takes 15 MB of a GGUF, Gemma 3's tokenizer.json 33 MB. */
const LOOK_BYTES_MAX = 128 << 20;
/** Most headers without a vocabulary fit; one with a large vocabulary takes three more requests. */
const FIRST_BYTES = 1 << 20;
/** What the shape and the tokenizer of a checkpoint are in; as `pull`, they come into the hub's cache. */
const SHAPE_FILES: readonly string[] = [
  'config.json',
  'model.safetensors.index.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'tokenizer.model',
  'special_tokens_map.json',
  'added_tokens.json',
  'chat_template.jinja',
  'chat_template.json',
];
const INDEX = 'model.safetensors.index.json';

/** All of it is in the hub's cache: nobody is asked. */
export interface LocalLook {
  readonly kind: 'local';
  readonly model: HubModel;
}

export interface GgufLook {
  readonly kind: 'gguf';
  /** With the commit: means the same for ever. */
  readonly pinned: string;
  /** Name of the first file. */
  readonly fileName: string;
  /** Of all parts; offsets are those in a tensor's own part. */
  readonly header: GgufHeader;
  readonly readTensor: (tensor: GgufTensor) => Promise<Buffer>;
}

export interface CheckpointLook {
  readonly kind: 'checkpoint';
  readonly pinned: string;
  readonly repo: string;
  /** Holds config.json and the tokenizer's files. */
  readonly folder: string;
  /** Of the weights. */
  readonly fileBytes: number;
  readonly tensorNames: ReadonlySet<string>;
  /** Rows and columns, where they are not packed; null where they are. */
  readonly embedding: { readonly rows: number; readonly columns: number } | null;
}

export type HubLook = LocalLook | GgufLook | CheckpointLook;

/** By address and specification: a command asks the same several times, and a header does not change under it. */
const looks = new Map<string, Promise<HubLook>>();

/**
 * @param text `hf:OWNER/NAME[@REVISION][:FILE]`
 * @throws AppError as `pullFromHub`, and `model-invalid` for a header that makes no sense
 */
export async function lookAtHub(text: string, options: HubOptions): Promise<HubLook> {
  // Tests bring a hub of their own, each another one.
  if (options.hub !== undefined) return look(text, options);
  const key = `${(await hubSettings()).endpoint} ${text}`;
  const known = looks.get(key) ?? look(text, options);
  looks.set(key, known);
  try {
    return await known;
  } catch (error) {
    looks.delete(key);
    throw error;
  }
}

async function look(text: string, options: HubOptions): Promise<HubLook> {
  const spec = parseHubSpec(text);
  const hub = options.hub ?? { settings: await hubSettings(), limits: NETWORK_LIMITS };
  const cache = repoCache(hub.settings.cacheFolder, spec.repo);
  const cached = await fromCache(spec, cache, {});
  const offlineBecause = options.offlineBecause ?? hub.settings.offlineBecause;
  // Where no file is named, the hub knows better than the cache whether there are several.
  if (cached !== null && (spec.wanted !== null || offlineBecause !== null)) return { kind: 'local', model: cached };
  const kept = new KeptReads(options.headersFolder ?? null);
  const known = await kept.choice(keyOf(spec, spec.revision));
  const refusal = offlineBecause === null ? null : notCached(spec, offlineBecause, hub);
  if (known === null && refusal !== null) throw refusal;
  const ask = { hub, cache, options, kept, refusal };
  try {
    return await lookThere(spec, known === null ? null : { commit: spec.revision, choice: known }, ask);
  } catch (error) {
    if (cached === null || !isUnreachable(error) || options.signal?.aborted === true) throw error;
    return { kind: 'local', model: cached };
  }
}

/** Of the list of a model's files. */
function keyOf({ repo, wanted }: HubSpec, commit: string): ReadKey {
  return { repo, commit, what: `files of ${wanted ?? ''}` };
}

interface LookAsk extends HubAsk {
  readonly kept: KeptReads;
  readonly refusal: AppError | null;
}

interface Listed {
  readonly commit: string;
  readonly choice: Choice<RepoFile>;
}

/** @param known what the hub said about this commit before; null: it is asked */
async function lookThere(spec: HubSpec, known: Listed | null, ask: LookAsk): Promise<HubLook> {
  const { hub, cache, options, kept, refusal } = ask;
  const { repo } = spec;
  const { commit, choice } = known ?? (await askHub(spec, { hub, options }));
  const wanted = choice.kind === 'gguf' ? (choice.weights[0]?.path ?? null) : 'safetensors';
  const found = { repo, revision: commit, wanted };
  const here = await fromCache(found, cache, {});
  if (here !== null) return { kind: 'local', model: here };
  const pinned = formatHubSpec(found);
  options.onProgress?.(`Reading the header of ${repo}`);
  const budget = new ByteBudget(LOOK_BYTES_MAX);
  const place: RemotePlace = { hub, repo, commit, budget, kept, refusal, signal: options.signal };
  const gguf = choice.kind === 'gguf' ? await lookAtGguf(place, choice.weights, pinned) : null;
  if (gguf === null) {
    const small = choice.companions.filter(({ path }) => SHAPE_FILES.includes(path));
    for (const { path, sizeBytes } of small) budget.spend(sizeBytes, `${repo}/${path}`);
    await fetchFiles(small, { spec, hub, cache, commit, options });
  }
  await kept.keep(keyOf(found, commit), choice);
  if (gguf !== null) return gguf;
  const folder = cache.snapshot(commit);
  return { kind: 'checkpoint', pinned, repo, folder, ...(await lookAtWeights(place, choice.weights, folder)) };
}

async function lookAtGguf(place: RemotePlace, weights: readonly RepoFile[], pinned: string): Promise<GgufLook> {
  const owners = new Map<GgufTensor, RemoteFile>();
  const headers: GgufHeader[] = [];
  for (const weight of weights) {
    const file = new RemoteFile(place, weight);
    const header = await headerOf(file, place);
    headers.push(header);
    for (const tensor of header.tensors) owners.set(tensor, file);
  }
  const header = joinParts(headers as [GgufHeader, ...GgufHeader[]]);
  return {
    kind: 'gguf',
    pinned,
    fileName: weights[0]?.path ?? '',
    header,
    readTensor: async (tensor) => {
      const { offset, byteLength } = tensor;
      const file = owners.get(tensor);
      return file === undefined ? Buffer.alloc(0) : file.read(offset, offset + byteLength);
    },
  };
}

/** Twice as much each time, so that at most as much again as the header is read. */
async function headerOf(file: RemoteFile, { hub }: RemotePlace): Promise<GgufHeader> {
  const { sizeBytes, what } = file;
  const path = `${new URL(hub.settings.endpoint).host}/${what}`;
  let bytes = await file.read(0, Math.min(FIRST_BYTES, sizeBytes));
  for (;;) {
    const reading = readGgufHead({ path, bytes, fileBytes: sizeBytes });
    if (reading.state === 'complete') return reading.header;
    const end = Math.min(sizeBytes, Math.max(reading.neededBytes, 2 * bytes.length));
    bytes = Buffer.concat([bytes, await file.read(bytes.length, end)]);
  }
}

const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });
const EMBEDDING = /(?:^|\.)embed_tokens\.weight$/;
const PLAIN_TYPES: readonly string[] = ['F32', 'F16', 'BF16'];

/** Names from the index or the header, sizes of the embedding from the header of the file that has it. */
async function lookAtWeights(
  place: RemotePlace,
  weights: readonly RepoFile[],
  folder: string,
): Promise<Pick<CheckpointLook, 'fileBytes' | 'tensorNames' | 'embedding'>> {
  const fileBytes = weights.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const index = weights.length === 1 ? null : await readIndex(join(folder, INDEX));
  const embeddingFile = [...(index ?? [])].find(([name]) => EMBEDDING.test(name))?.[1];
  const file = weights.find(({ path }) => path === embeddingFile) ?? weights[0];
  if (file === undefined) return { fileBytes, tensorNames: new Set(), embedding: null };
  const tensors = await safetensorsOf(new RemoteFile(place, file));
  const embedding = tensors.find(({ name, dtype }) => EMBEDDING.test(name) && PLAIN_TYPES.includes(dtype));
  const [rows, columns] = embedding?.shape ?? [];
  return {
    fileBytes,
    tensorNames: new Set(index === null ? tensors.map(({ name }) => name) : index.keys()),
    embedding: rows === undefined || columns === undefined ? null : { rows, columns },
  };
}

async function readIndex(path: string): Promise<ReadonlyMap<string, string>> {
  const parsed = indexSchema.safeParse(await readJson(path));
  if (parsed.success) return new Map(Object.entries(parsed.data.weight_map));
  throw new AppError('model-invalid', `${path} has no weight_map of names to file names.`, {
    hint: 'Its weights cannot be told: take another repository or revision.',
  });
}

async function safetensorsOf(file: RemoteFile): Promise<ReturnType<typeof parseSafetensorsHeader>> {
  const { what, sizeBytes } = file;
  if (sizeBytes < LENGTH_BYTES) {
    throw new AppError('model-invalid', `${what} is not a usable safetensors file: it has ${sizeBytes} bytes.`, {
      hint: 'Take another repository or revision.',
    });
  }
  const headerBytes = safetensorsHeaderBytes(what, await file.read(0, LENGTH_BYTES), sizeBytes);
  const dataOffset = LENGTH_BYTES + headerBytes;
  const json = (await file.read(LENGTH_BYTES, dataOffset)).toString('utf8');
  return parseSafetensorsHeader(what, { json, dataOffset, fileBytes: sizeBytes });
}
