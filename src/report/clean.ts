/**
 * A record is untrusted: an engine may name itself with an escape sequence that rewrites the terminal, or with
 * direction marks that turn a sentence around. Control, format and separator characters become a space.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]+/gu;

function cleanText(text: string): string {
  return text.replace(UNPRINTABLE, ' ');
}

/** A copy of JSON data with every string cleaned, keys included. */
export function cleanStrings<T>(value: T): T {
  return clean(value) as T;
}

function clean(value: unknown): unknown {
  if (typeof value === 'string') return cleanText(value);
  if (Array.isArray(value)) return value.map(clean);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [cleanText(key), clean(entry)]));
}
