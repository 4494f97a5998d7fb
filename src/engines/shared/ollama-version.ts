/** Versions of Ollama and what came with them. Release numbers from the tags of https://github.com/ollama/ollama. */

/** Log-probabilities (pull request 12899); 0.12.6 brought `truncate: false`. */
const NEEDED = [0, 12, 11] as const;
/** llama.cpp's server as the only runner (pull request 16031): /api/create writes a copy of the file. */
const REWRITES = [0, 30, 0] as const;

export const NEEDED_VERSION = NEEDED.join('.');

/** Older ones cut a prompt silently, and nothing shows whether they read it. */
export function isTooOld(version: string): boolean {
  return isBefore(version, NEEDED);
}

/** Whether a model that is made from a file gets a rewritten copy, with a SHA-256 of its own. */
export function rewritesFiles(version: string): boolean {
  return !isBefore(version, REWRITES);
}

/**
 * Pure: what `ollama --version` says of the program itself. Without a server it warns and then names the client's
 * version; with one it names the server's, and the client's only where they differ (cmd/cmd.go).
 */
export function parseVersion(output: string): string | null {
  const client = /client version is v?(\S+)/.exec(output)?.[1];
  return client ?? /ollama version(?: is)? v?(\d\S*)/.exec(output)?.[1] ?? null;
}

/** A build from source calls itself 0.0.0 and is as new as its source. */
function isBefore(version: string, other: readonly [number, number, number]): boolean {
  const match = /^v?(\d{1,6})\.(\d{1,6})\.(\d{1,6})/.exec(version);
  if (match === null) return false;
  const parts = match.slice(1).map(Number);
  if (parts.every((part) => part === 0)) return false;
  const difference = parts.map((part, index) => part - (other[index] ?? 0)).find((value) => value !== 0);
  return (difference ?? 0) < 0;
}
