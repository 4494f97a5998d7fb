/** Whose shape a twin gets: from the catalogue, a file or folder here, or the headers of a model on the hub. */
import { open, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { AppError } from '../../core/errors.ts';
import { alignedBuffer, readFully } from '../file-io.ts';
import { textOf } from '../gguf/metadata.ts';
import type { GgufHeader, GgufTensor } from '../gguf/read-header.ts';
import type { CheckpointLook, GgufLook } from '../sources/hub-look.ts';
import type { HubOptions } from '../sources/hub.ts';
import { CATALOGUE, type CatalogueEntry } from './catalogue.ts';
import { shapeOfGguf } from './gguf-shape.ts';
import type { ModelShape } from './shape.ts';
import { shapeOfCheckpoint } from './shape-of-checkpoint.ts';

export interface TwinSource {
  /** For file names. */
  readonly slug: string;
  /** Whose shape it is, in words. */
  readonly of: string;
  /** Where the numbers come from, in words. */
  readonly source: string;
  readonly shape: ModelShape;
  /** Set where the shape comes from a GGUF; its parts, if it has several, are joined. */
  readonly header: GgufHeader | null;
  /** The bytes of one of its small tensors. */
  readonly readTensor: (tensor: GgufTensor) => Promise<Uint8Array>;
  readonly entry: CatalogueEntry | null;
  /** Holds tokenizer files, as Hugging Face names them; null where none are to be had. */
  readonly tokenizerFolder: string | null;
  /** `hf:` with the commit: means the same for ever; null for what is not on the hub. */
  readonly pinned: string | null;
}

type Where = Pick<TwinSource, 'slug' | 'of' | 'source' | 'pinned'>;

export function isHubSpec(id: string): boolean {
  return id.startsWith('hf:');
}

/**
 * @param id of the catalogue; a config.json, its folder or a .gguf file; or `hf:OWNER/NAME[@REVISION][:FILE]`
 * @throws AppError `model-not-found` (with the ids there are), `model-invalid`, `model-unsupported`; for the hub as `pullFromHub`
 */
export async function findShape(id: string, hub: HubOptions = {}): Promise<TwinSource> {
  const entry = CATALOGUE.find((candidate) => candidate.id === id.toLowerCase());
  if (entry !== undefined) {
    const { model, source, shape } = entry;
    const nothing = { header: null, readTensor: noTensors, tokenizerFolder: null, pinned: null };
    return { slug: entry.id, of: model, source, shape, entry, ...nothing };
  }
  if (isHubSpec(id)) return fromHub(id, hub);
  const path = resolve(id);
  const info = await stat(path).catch(() => null);
  if (info === null) {
    throw new AppError('model-not-found', `there is no model "${id}" to make a twin of`, {
      hint: `Known: ${CATALOGUE.map((known) => known.id).join(', ')}; or the path of a config.json or a .gguf file, or hf:OWNER/NAME[:FILE].`,
    });
  }
  if (info.isDirectory() || path.endsWith('.json')) {
    const config = info.isDirectory() ? join(path, 'config.json') : path;
    const folder = basename(dirname(config));
    return fromConfig(config, { slug: slugOf(folder), of: folder, source: config, pinned: null });
  }
  return fromGguf(path, null);
}

async function fromConfig(path: string, where: Where): Promise<TwinSource> {
  // Its schema library takes longer to load than a small twin to write: not for the other sources.
  const { shapeOfConfigFile } = await import('./config-json.ts');
  const shape = await shapeOfConfigFile(path);
  return { ...where, shape, header: null, readTensor: noTensors, entry: null, tokenizerFolder: dirname(path) };
}

/** @param there what to call it where it is a copy of one on the hub; null: by its own name */
async function fromGguf(path: string, there: Omit<Where, 'slug'> | null): Promise<TwinSource> {
  // The reader of headers is loaded for those who have one.
  const { readGgufModel } = await import('../gguf/parts.ts');
  const header = await readGgufModel(path);
  const of = textOf(header.metadata, 'general.name') ?? basename(path);
  const where = { slug: slugOfFile(path), ...(there ?? { of, source: path, pinned: null }) };
  return { ...where, shape: shapeOfGguf(header), header, readTensor: readTensorOf, entry: null, tokenizerFolder: null };
}

async function readTensorOf({ path, offset, byteLength }: GgufTensor): Promise<Uint8Array> {
  const handle = await open(path, 'r');
  try {
    const bytes = alignedBuffer(byteLength);
    readFully(handle, bytes, { position: offset, length: byteLength });
    return bytes;
  } finally {
    await handle.close();
  }
}

/** No other source has a use for the network: its code is loaded for this one only. */
async function fromHub(spec: string, options: HubOptions): Promise<TwinSource> {
  const { lookAtHub } = await import('../sources/hub-look.ts');
  const look = await lookAtHub(spec, options);
  if (look.kind === 'gguf') return ofRemoteGguf(look);
  if (look.kind === 'checkpoint') return ofRemoteCheckpoint(look);
  const { kind, path, pinned } = look.model;
  if (kind === 'gguf') return fromGguf(path, { of: nameOf(pinned), source: pinned, pinned });
  const repo = nameOf(pinned);
  return fromConfig(join(path, 'config.json'), { slug: slugOf(repo), of: repo, source: pinned, pinned });
}

function ofRemoteGguf({ header, pinned, fileName, readTensor }: GgufLook): TwinSource {
  const where = { slug: slugOfFile(fileName), of: nameOf(pinned), source: `${pinned}, its header alone`, pinned };
  return { ...where, shape: shapeOfGguf(header), header, readTensor, entry: null, tokenizerFolder: null };
}

async function ofRemoteCheckpoint(look: CheckpointLook): Promise<TwinSource> {
  const { folder, pinned, repo } = look;
  const where = { slug: slugOf(repo), of: repo, source: `${pinned}, its headers alone`, pinned };
  const found = await fromConfig(join(folder, 'config.json'), where);
  return { ...found, shape: shapeOfCheckpoint(found.shape, look) };
}

/** `OWNER/NAME`, and the file where it is one of several: the twin's label. */
function nameOf(pinned: string): string {
  const [, repo = pinned, file = ''] = /^hf:([^@]*)@[^:]*:(.*)$/s.exec(pinned) ?? [];
  return file.endsWith('.gguf') ? `${repo}, ${file}` : repo;
}

async function noTensors(): Promise<Uint8Array> {
  return new Uint8Array(0);
}

function slugOfFile(path: string): string {
  return slugOf(basename(path).replace(/(-00001-of-\d{5})?\.gguf$/i, ''));
}

function slugOf(name: string): string {
  const slug = (name.split('/').at(-1) ?? '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9._-]+/g, '-')
    .slice(0, 100);
  return slug === '' || slug.startsWith('.') ? 'model' : slug;
}
