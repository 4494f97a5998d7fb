/** What pip says that a waiting person wants to know; null for the rest (paths, mirrors, warnings about root). */
export function pipStep(line: string): string | null {
  const match = /^\s*(Collecting|Downloading|Using cached|Installing collected packages)\b:?\s*(\S+)?(?:.*?(\(\d[\d.]* [kMG]B\)))?/.exec(line);
  if (match === null) return null;
  const [, what, subject, size] = match;
  if (what === 'Installing collected packages') return 'unpacking';
  const name = subject?.split('/').at(-1)?.split(/[-=]{1,2}\d/)[0] ?? '';
  return `${what?.toLowerCase()} ${name}${size === undefined ? '' : ` ${size}`}`;
}
