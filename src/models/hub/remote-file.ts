/** Parts of files on the hub, read by range requests: for headers, whose files are gigabytes. */
import { AppError } from '../../core/errors.ts';
import { locate } from './download-blob.ts';
import type { KeptReads } from './kept-reads.ts';
import { readRange, type Source } from './read-range.ts';
import { resolveUrl, type RepoFile } from './repository.ts';
import { withRetries, type Hub } from './request.ts';

export interface RemotePlace {
  readonly hub: Hub;
  readonly repo: string;
  readonly commit: string;
  /** Of everything that is looked at together. */
  readonly budget: ByteBudget;
  readonly kept: KeptReads;
  /** What to end with instead of asking the hub; null where it may be asked. */
  readonly refusal: AppError | null;
  readonly signal?: AbortSignal | undefined;
}

/** A header that claims to be longer than this is refused before it is fetched. */
export class ByteBudget {
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** @throws AppError `model-unsupported` */
  spend(bytes: number, what: string): void {
    this.#bytes += bytes;
    if (this.#bytes <= this.#bytesMax) return;
    throw new AppError(
      'model-unsupported',
      `${what}: more than ${this.#bytesMax >> 20} MiB would have to be read for its header`,
      {
        hint: 'Fetch the model itself (runoff models pull) and name its path.',
      },
    );
  }
}

export class RemoteFile {
  /** Repository and path. */
  readonly what: string;
  readonly sizeBytes: number;
  readonly #place: RemotePlace;
  readonly #file: RepoFile;
  #source: Source | null = null;

  constructor(place: RemotePlace, file: RepoFile) {
    this.#place = place;
    this.#file = file;
    this.what = `${place.repo}/${file.path}`;
    this.sizeBytes = file.sizeBytes;
  }

  /**
   * The bytes from `start` up to `end`. A connection that breaks off is taken up where it did; nothing comes twice.
   * @throws AppError as `callHub`; `download-failed` where the server sends whole files only
   */
  async read(start: number, end: number): Promise<Buffer> {
    const { hub, repo, commit, signal, budget, kept, refusal } = this.#place;
    budget.spend(end - start, this.what);
    const key = { repo, commit, what: `${this.#file.path} ${start}-${end}` };
    const before = await kept.bytes(key);
    if (before?.length === end - start) return before;
    if (refusal !== null) throw refusal;
    const chunks: Uint8Array[] = [];
    let haveBytes = 0;
    this.#source ??= await this.#locate();
    await withRetries(hub, { signal }, async () => {
      const range = { start: start + haveBytes, end };
      if (range.start >= end) return;
      try {
        const source = (this.#source ??= await this.#locate());
        await readRange(hub, { source, range, sizeBytes: this.sizeBytes, signal }, async (chunk) => {
          chunks.push(chunk);
          haveBytes += chunk.byteLength;
        });
      } catch (error) {
        if (!(error instanceof AppError)) throw error;
        if (error.context['expired'] === true) this.#source = null;
        throw error.context['rangesIgnored'] === true ? wholeFilesOnly(error) : error;
      }
    });
    const bytes = Buffer.concat(chunks);
    await kept.keep(key, bytes);
    return bytes;
  }

  #locate(): Promise<Source> {
    const { hub, repo, commit, signal } = this.#place;
    const file = this.#file;
    return locate({ hub, file, what: this.what, signal, address: resolveUrl(hub, { repo, commit, path: file.path }) });
  }
}

function wholeFilesOnly(cause: AppError): AppError {
  return new AppError('download-failed', `${cause.message}, so its header cannot be read without the whole file`, {
    hint: 'Fetch the model itself (runoff models pull) and name its path.',
    cause,
  });
}
