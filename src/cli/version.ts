import { readFileSync } from 'node:fs';

/** From package.json, which lies two folders above this file in the source tree and in the package alike. */
export function runoffVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
