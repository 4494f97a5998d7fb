import { AppError } from '../core/errors.ts';

/** Values of `--engine-path ID=PATH`. @throws AppError `usage` for one without an id. */
export function enginePaths(given: readonly string[] = []): Map<string, string> {
  return new Map(
    given.map((text) => {
      const at = text.indexOf('=');
      if (at <= 0)
        throw new AppError('usage', `--engine-path ${text}: expected ID=PATH, e.g. llama-server=/opt/llama-server`);
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  );
}
