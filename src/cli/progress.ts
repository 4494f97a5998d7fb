/** The live view. On a terminal one status line is repainted; elsewhere only the lines that stay are printed. */
import type { Ui } from '../app/ui.ts';

/** Repainting steals time from the engine: seen, a renderer at 10 Hz took 8% of a core. */
const REPAINT_MS = 1_000;
const CLEAR_LINE = '\r\u001B[2K';

export function terminalUi(stream: NodeJS.WriteStream): Ui {
  if (!stream.isTTY) return plainUi(stream);
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

/** Without a terminal a status is printed once when it changes in kind (its text up to the first digit). */
function plainUi(stream: NodeJS.WritableStream): Ui {
  let last = '';
  return {
    line: (text) => void stream.write(`${text}\n`),
    status(text) {
      const kind = text.split(/[\d(]/)[0] ?? text;
      if (kind === last) return;
      last = kind;
      stream.write(`${text}\n`);
    },
    done() {},
  };
}
