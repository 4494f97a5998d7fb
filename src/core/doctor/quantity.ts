/** Sizes as the findings print them. Decimal units, as file managers and disks count. */

/** `850 MB`, `3.2 GB`. */
export function bytesText(bytes: number): string {
  return bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

/** Exact, for bytes that are missing: `51,726,752 bytes`. */
export function exactBytes(bytes: number): string {
  return `${count(bytes)} bytes`;
}

/** `131,072`. */
export function count(value: number): string {
  return String(Math.round(value)).replaceAll(/\B(?=(\d{3})+$)/g, ',');
}

/** `12%`, `0.4%`, `0%`. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)}%`;
}

/** A path as a command line takes it on the system that the command is for. */
export function quoted(path: string): string {
  return /^[\w@%+=:,./\\-]+$/.test(path) ? path : path.includes('"') ? `'${path}'` : `"${path}"`;
}
