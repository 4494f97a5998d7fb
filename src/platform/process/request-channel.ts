import type { WorkerRequest } from '../../core/engine.ts';
import { AppError } from '../../core/errors.ts';
import { ByteTail, lastLines } from './byte-tail.ts';
import { LineReader } from './line-reader.ts';
import { encodeRequest, LINE_BYTES_MAX, NOISE_BYTES_MAX, NOISE_LINES_MAX, readReply } from './protocol.ts';

/** Noise shown in messages: enough to recognise who is talking. */
const NOISE_KEPT_BYTES = 4 * 1024;
const NOISE_SHOWN_LINES = 5;
/** Longest timer that Node keeps. */
const TIMER_MS_MAX = 2 ** 31 - 1;

interface Pending {
  readonly method: string;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: AppError) => void;
  readonly timer: NodeJS.Timeout;
}

export interface ChannelPorts {
  readonly write: (line: string) => void;
  /** Called once, when the worker can no longer be trusted: it must be killed. */
  readonly onBroken: (error: AppError) => void;
}

/** Requests under way and their replies: the worker protocol, without processes and files. */
export class RequestChannel {
  readonly #ports: ChannelPorts;
  readonly #pending = new Map<number, Pending>();
  readonly #reader = new LineReader(LINE_BYTES_MAX);
  readonly #noise = new ByteTail(NOISE_KEPT_BYTES);
  #noiseLines = 0;
  #lastId = 0;
  #closedBy: AppError | null = null;

  constructor(ports: ChannelPorts) {
    this.#ports = ports;
  }

  /** @throws AppError `engine-timeout`, `engine-protocol`, `engine-died`, or `engine-request-failed` with the worker's reason. */
  request(message: WorkerRequest, timeoutMs: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#closedBy !== null) return reject(this.#closedBy);
      const id = ++this.#lastId;
      const timer = setTimeout(
        () => this.#break(this.#timeout(message.method, timeoutMs)),
        Math.min(timeoutMs, TIMER_MS_MAX),
      );
      this.#pending.set(id, { method: message.method, resolve, reject, timer });
      this.#ports.write(encodeRequest(id, message));
    });
  }

  /** Bytes of the reply channel. */
  receive(chunk: Buffer): void {
    if (this.#closedBy !== null) return;
    for (const line of this.#reader.push(chunk)) this.#receiveLine(line);
    if (this.#reader.overflown) {
      this.#break(new AppError('engine-protocol', `the engine sent a line of more than ${LINE_BYTES_MAX} bytes`, HINT));
    }
  }

  /** Ends every request under way, and every later one, with this error. */
  close(error: AppError): void {
    this.#closedBy ??= error;
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(this.#closedBy);
    }
    this.#pending.clear();
  }

  /** What waits for an answer, for error messages; null when nothing does. */
  get waitingFor(): string | null {
    return this.#pending.values().next().value?.method ?? null;
  }

  noiseTail(): string {
    return lastLines(this.#noise.text(), NOISE_SHOWN_LINES);
  }

  #receiveLine(line: string): void {
    const reply = readReply(line, (id) => this.#pending.has(id));
    if (reply.kind === 'noise') return this.#receiveNoise(line);
    const pending = this.#pending.get(reply.id);
    this.#pending.delete(reply.id);
    clearTimeout(pending?.timer);
    if (reply.kind === 'result') return pending?.resolve(reply.result);
    pending?.reject(
      new AppError('engine-request-failed', `the engine refused ${pending.method}: ${reply.message}`, {
        context: { workerCode: reply.code },
      }),
    );
  }

  #receiveNoise(line: string): void {
    this.#noise.push(Buffer.from(`${line}\n`));
    this.#noiseLines += 1;
    if (this.#noiseLines <= NOISE_LINES_MAX && this.#noise.totalBytes <= NOISE_BYTES_MAX) return;
    const size = `${this.#noiseLines} lines (${this.#noise.totalBytes} bytes)`;
    this.#break(
      new AppError('engine-protocol', `the engine sent ${size} that are no replies, last:\n${this.noiseTail()}`, HINT),
    );
  }

  #break(error: AppError): void {
    if (this.#closedBy !== null) return;
    this.close(error);
    this.#ports.onBroken(error);
  }

  #timeout(method: string, timeoutMs: number): AppError {
    const noise = this.noiseTail();
    const detail = noise === '' ? '' : `; it sent no reply but:\n${noise}`;
    return new AppError(
      'engine-timeout',
      `the engine did not answer ${method} within ${Math.round(timeoutMs)} ms${detail}`,
    );
  }
}

const HINT = { hint: 'Something else writes to the reply channel: report this with the output of --verbose.' };
