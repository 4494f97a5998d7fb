/** The live view. On a terminal one status line is repainted; elsewhere only the lines that stay are printed. */
import type { Ui } from '../app/ui.ts';

/** Repainting steals time from the engine: seen, a renderer at 10 Hz took 8% of a core. */
const REPAINT_MS = 1_000;
const CLEAR_LINE = '\r\u001B[2K';

export function terminalUi(stream: NodeJS.WriteStream): Ui {
  if (!stream.isTTY) return plainUi(stream, () => performance.now());
  let paintedAtMs = Number.NEGATIVE_INFINITY;
  let painted = '';
  let wanted = '';
  let timer: NodeJS.Timeout | null = null;
  const paint = (): void => {
    timer = null;
    if (wanted === painted) return;
    paintedAtMs = performance.now();
    painted = wanted;
    stream.write(CLEAR_LINE + wanted.slice(0, Math.max(20, stream.columns - 1)));
  };
  const clear = (): void => {
    if (timer !== null) clearTimeout(timer);
    timer = null;
    if (painted !== '') stream.write(CLEAR_LINE);
    painted = '';
    wanted = '';
  };
  return {
    line(text) {
      clear();
      stream.write(`${text}\n`);
    },
    status(text) {
      wanted = text.replaceAll(/\s+/g, ' ');
      const waitMs = REPAINT_MS - (performance.now() - paintedAtMs);
      if (waitMs <= 0) paint();
      else timer ??= setTimeout(paint, waitMs);
    },
    done: clear,
  };
}

/** A log that says nothing for longer looks stuck: a compilation takes ten minutes. */
const PLAIN_REPEAT_MS = 30_000;

/** Without a terminal a status is printed when its first part changes in more than its numbers, and else now and then. */
export function plainUi(stream: Pick<NodeJS.WritableStream, 'write'>, nowMs: () => number): Ui {
  let lastKind = '';
  let printedAtMs = Number.NEGATIVE_INFINITY;
  return {
    line: (text) => void stream.write(`${text}\n`),
    status(text) {
      const kind = (text.split(' · ')[0] ?? text).replaceAll(/\d+/g, '#');
      if (kind === lastKind && nowMs() - printedAtMs < PLAIN_REPEAT_MS) return;
      lastKind = kind;
      printedAtMs = nowMs();
      stream.write(`${text}\n`);
    },
    done() {},
  };
}
