/** Models from the hub: what is asked for, at a commit, in the cache that all hub programs share; nothing fetched twice. */
import { AppError } from '../../core/errors.ts';
import { withLock } from '../../platform/environments/lock.ts';
import { freeBytes } from '../../platform/folders.ts';
import {
  cachedCommit,
  fileBytesOf,
  linkIntoSnapshot,
  listSnapshot,
  repoCache,
  writeRef,
  type RepoCache,
} from '../hub/cache-layout.ts';
import { chooseFiles, type Choice, type ListedFile } from '../hub/choose-files.ts';
import { downloadBlob } from '../hub/download-blob.ts';
import { checkPaths } from '../hub/file-path.ts';
import { NETWORK_LIMITS } from '../hub/limits.ts';
import { partialBytes } from '../hub/partial-file.ts';
import { listRepository, readRevision, resolveUrl, type RepoFile } from '../hub/repository.ts';
import { isUnreachable, type Hub } from '../hub/request.ts';
import { hubSettings } from '../hub/settings.ts';
import { COMMIT, formatHubSpec, parseHubSpec, type HubSpec } from '../hub/spec.ts';
import { megabytes, transferProgress } from '../hub/transfer-progress.ts';

export interface HubModel {
  readonly kind: 'gguf' | 'safetensors';
  /** The weights' first file, or the folder of a checkpoint. */
  readonly path: string;
  readonly weights: readonly string[];
  /** Of the weights. */
  readonly fileBytes: number;
  /** Of a single weights file, when the hub was asked. */
  readonly sha256: string | null;
  /** With the commit: means the same files for ever. */
  readonly pinned: string;
  readonly downloadedBytes: number;
  /** What the user should know, e.g. that the hub could not be asked. */
  readonly warnings: readonly string[];
}

export interface HubOptions {
  /** Why the network must not be used; null when it may. */
  readonly offlineBecause?: string | null;
  /** May refuse the chosen files before anything is downloaded. */
  readonly accept?: (choice: Choice<ListedFile>) => void;
  readonly onProgress?: ((text: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Where headers of models at a commit are kept; left out: nowhere. */
  readonly headersFolder?: string;
  /** For tests. */
  readonly hub?: Hub;
}

/** Left free beside what is downloaded: a full disk breaks more than a download. */
const SPARE_BYTES = 256 << 20;
/** Nobody reads faster, and formatting a line costs as much as writing some hundred kilobytes. */
const SHOWN_EVERY_MS = 100;
/** Somebody with a full cache waits no longer than this for a hub that is down. */
const FAILURES_WITH_CACHE = 2;

/**
 * @param text `hf:OWNER/NAME[@REVISION][:FILE]`
 * @throws AppError `usage`, `model-not-found`, `model-unsupported`, `access-denied`, `download-failed`, `not-enough-space`,
 * `model-invalid`
 */
export async function pullFromHub(text: string, options: HubOptions): Promise<HubModel> {
  const spec = parseHubSpec(text);
  const hub = options.hub ?? { settings: await hubSettings(), limits: NETWORK_LIMITS };
  const cache = repoCache(hub.settings.cacheFolder, spec.repo);
  const cached = await fromCache(spec, cache, options);
  // One file at one commit: no answer of the hub can change it.
  if (cached !== null && COMMIT.test(spec.revision) && spec.wanted?.endsWith('.gguf') === true) return cached;
  const offlineBecause = options.offlineBecause ?? hub.settings.offlineBecause;
  if (offlineBecause !== null) {
    if (cached !== null) return cached;
    throw notCached(spec, offlineBecause, hub);
  }
  const impatient = {
    ...hub,
    limits: { ...hub.limits, failuresMax: Math.min(FAILURES_WITH_CACHE, hub.limits.failuresMax) },
  };
  try {
    return await fromHub(spec, { hub: cached === null ? hub : impatient, cache, options });
  } catch (error) {
    if (cached === null || !isUnreachable(error) || options.signal?.aborted === true) throw error;
    const warning = `${hub.settings.endpoint} could not be asked for the newest revision of ${spec.repo}; the one in the cache is used (${error.message}).`;
    return { ...cached, warnings: [warning] };
  }
}

/** What an earlier download left, complete by its names; null when something is missing. */
export async function fromCache(spec: HubSpec, cache: RepoCache, options: HubOptions): Promise<HubModel | null> {
  const commit = await cachedCommit(cache, spec.revision);
  if (commit === null) return null;
  const files = await listSnapshot(cache, commit);
  let choice: Choice<ListedFile>;
  try {
    choice = chooseFiles(files, spec.wanted, spec.repo);
  } catch (error) {
    if (error instanceof AppError) return null;
    throw error;
  }
  options.accept?.(choice);
  return describe({ spec, cache, commit, choice, sha256: null, downloadedBytes: 0 });
}

export function notCached(spec: HubSpec, because: string, { settings }: Hub): AppError {
  return new AppError(
    'model-not-found',
    `${formatHubSpec(spec)} is not in the hub's cache (${settings.cacheFolder}), and the network is off (${because})`,
    {
      hint: `With a network: runoff models pull ${formatHubSpec(spec)}`,
    },
  );
}

export interface HubAsk {
  readonly hub: Hub;
  readonly cache: RepoCache;
  readonly options: HubOptions;
}

async function fromHub(spec: HubSpec, ask: HubAsk): Promise<HubModel> {
  const { cache, options } = ask;
  const { commit, choice } = await askHub(spec, ask);
  options.accept?.(choice);
  const downloadedBytes = await fetchFiles([...choice.weights, ...choice.companions], { ...ask, spec, commit });
  await writeRef(cache, spec.revision, commit);
  const sha256 =
    choice.weights.length === 1 && choice.weights[0]?.hashKind === 'sha256' ? choice.weights[0].hash : null;
  return describe({ spec, cache, commit, choice, sha256, downloadedBytes });
}

/** Which files are the model at this commit; nothing of them is fetched. @throws AppError as `pullFromHub` */
export async function askHub(
  spec: HubSpec,
  { hub, options: { signal, onProgress } }: Pick<HubAsk, 'hub' | 'options'>,
): Promise<{ readonly commit: string; readonly choice: Choice<RepoFile> }> {
  const { repo } = spec;
  onProgress?.(`Asking ${new URL(hub.settings.endpoint).host} for ${repo}`);
  const { commit } = await readRevision(hub, { repo, revision: spec.revision, signal });
  const choice = chooseFiles(await listRepository(hub, { repo, commit, signal }), spec.wanted, repo);
  checkPaths(
    [...choice.weights, ...choice.companions].map(({ path }) => path),
    repo,
  );
  return { commit, choice };
}

/** What of these is missing comes into the cache. @returns the bytes that came */
export async function fetchFiles(files: readonly RepoFile[], ask: FetchAsk): Promise<number> {
  const missing = await missingFiles(files, ask.cache, ask.commit);
  await requireSpace(missing, ask.cache, ask.hub);
  return fetchAll(missing, ask);
}

interface Missing {
  readonly file: RepoFile;
  /** The content is there, under another name or commit. */
  readonly hasBlob: boolean;
}

async function missingFiles(files: readonly RepoFile[], cache: RepoCache, commit: string): Promise<Missing[]> {
  const missing: Missing[] = [];
  for (const file of files) {
    if ((await fileBytesOf(cache.pointer(commit, file.path))) === file.sizeBytes) continue;
    missing.push({ file, hasBlob: (await fileBytesOf(cache.blob(file.hash))) === file.sizeBytes });
  }
  return missing;
}

async function requireSpace(missing: readonly Missing[], cache: RepoCache, { settings }: Hub): Promise<void> {
  let neededBytes = 0;
  for (const { file, hasBlob } of missing) {
    if (!hasBlob) neededBytes += file.sizeBytes - (await partialBytes(cache.blob(file.hash), file));
  }
  const free = await freeBytes(settings.cacheFolder);
  if (neededBytes === 0 || free === null || free >= neededBytes + SPARE_BYTES) return;
  throw new AppError(
    'not-enough-space',
    `${megabytes(neededBytes)} MB are to be downloaded, and ${settings.cacheFolder} has ${megabytes(free)} MB free (${megabytes(SPARE_BYTES)} MB are left unused)`,
    { hint: 'Free some space, or name a folder on another disk by HF_HUB_CACHE.' },
  );
}

export interface FetchAsk extends HubAsk {
  readonly spec: HubSpec;
  readonly commit: string;
}

/** One runoff at a time per repository: two would write into the same unfinished files. */
async function fetchAll(missing: readonly Missing[], ask: FetchAsk): Promise<number> {
  if (missing.length === 0) return 0;
  const { signal, onProgress } = ask.options;
  const onWait = (): void => onProgress?.(`Waiting for another runoff that downloads from ${ask.spec.repo}`);
  return withLock(ask.cache.lock, { signal, onWait }, () => fetchEach(missing, ask));
}

/** @returns the bytes of what was not in the cache */
async function fetchEach(
  missing: readonly Missing[],
  { spec, hub, cache, commit, options }: FetchAsk,
): Promise<number> {
  const { signal, onProgress } = options;
  const totalBytes = missing.reduce((sum, { file, hasBlob }) => (hasBlob ? sum : sum + file.sizeBytes), 0);
  const progress = transferProgress(totalBytes);
  let finishedBytes = 0;
  let shownAtMs = Number.NEGATIVE_INFINITY;
  const showBytes = (name: string, bytes: number): void => {
    const nowMs = performance.now();
    if (nowMs - shownAtMs < SHOWN_EVERY_MS) return;
    shownAtMs = nowMs;
    onProgress?.(progress.text(name, bytes, nowMs));
  };
  for (const { file } of missing) {
    const blob = cache.blob(file.hash);
    const name = file.path.split('/').at(-1) ?? file.path;
    // Asked again: another runoff may have been faster, and two paths may have one content.
    const isNew = (await fileBytesOf(blob)) !== file.sizeBytes;
    if (isNew) {
      const before = finishedBytes;
      await downloadBlob({
        hub,
        file,
        blob,
        signal,
        what: `${spec.repo}/${file.path}`,
        address: resolveUrl(hub, { repo: spec.repo, commit, path: file.path }),
        onBytes: (bytes) => showBytes(name, before + bytes),
        onPhase: (phase) => (phase === 'check' ? onProgress?.(`Checking ${name}`) : undefined),
      });
      finishedBytes += file.sizeBytes;
    }
    await linkIntoSnapshot({ blob, pointer: cache.pointer(commit, file.path), isNew, symlinks: hub.settings.symlinks });
  }
  return finishedBytes;
}

function describe({
  spec,
  cache,
  commit,
  choice,
  sha256,
  downloadedBytes,
}: {
  readonly spec: HubSpec;
  readonly cache: RepoCache;
  readonly commit: string;
  readonly choice: Choice<ListedFile>;
  readonly sha256: string | null;
  readonly downloadedBytes: number;
}): HubModel {
  const weights = choice.weights.map(({ path }) => cache.pointer(commit, path));
  const wanted = choice.kind === 'gguf' ? (choice.weights[0]?.path ?? null) : 'safetensors';
  return {
    kind: choice.kind,
    path: choice.kind === 'gguf' ? (weights[0] ?? '') : cache.snapshot(commit),
    weights,
    fileBytes: choice.weights.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    sha256,
    pinned: formatHubSpec({ repo: spec.repo, revision: commit, wanted }),
    downloadedBytes,
    warnings: [],
  };
}
