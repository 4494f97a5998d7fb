const NEWLINE = 0x0a;

/** Cuts a byte stream into lines. A line over the limit is reported once and nothing is read after it. */
export class LineReader {
  readonly #bytesMax: number;
  #parts: Buffer[] = [];
  #bytes = 0;
  #overflown = false;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get overflown(): boolean {
    return this.#overflown;
  }

  /** Complete lines, without their line ends. */
  push(chunk: Buffer): string[] {
    const lines: string[] = [];
    let rest = chunk;
    for (let at = rest.indexOf(NEWLINE); at >= 0 && !this.#overflown; at = rest.indexOf(NEWLINE)) {
      this.#keep(rest.subarray(0, at));
      rest = rest.subarray(at + 1);
      if (!this.#overflown) lines.push(this.#take());
    }
    this.#keep(rest);
    return lines;
  }

  /** What came after the last line end. */
  rest(): string {
    return this.#take();
  }

  #keep(bytes: Buffer): void {
    if (this.#overflown || bytes.length === 0) return;
    this.#bytes += bytes.length;
    this.#parts.push(bytes);
    if (this.#bytes <= this.#bytesMax) return;
    this.#overflown = true;
    this.#parts = [];
    this.#bytes = 0;
  }

  #take(): string {
    const line = Buffer.concat(this.#parts).toString('utf8');
    this.#parts = [];
    this.#bytes = 0;
    return line.endsWith('\r') ? line.slice(0, -1) : line;
  }
}
