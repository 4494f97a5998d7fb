/** What `footprint -p PID` says, in bytes: dirty, compressed and GPU memory, without clean mapped files. */
export interface Footprint {
  readonly nowBytes: number;
  readonly peakBytes: number;
}

const UNITS: Readonly<Record<string, number>> = { B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3, TB: 1024 ** 4 };

/** Pure: the auxiliary data at the end of `footprint` (`phys_footprint: 1234 MB`). Null when it is not there. */
export function parseFootprint(text: string): Footprint | null {
  const now = sizeAfter(text, 'phys_footprint');
  const peak = sizeAfter(text, 'phys_footprint_peak');
  return now === null || peak === null ? null : { nowBytes: now, peakBytes: peak };
}

function sizeAfter(text: string, name: string): number | null {
  const fields = new RegExp(`^\\s*${name}:\\s+([\\d.]+)\\s+([KMGT]?B)`, 'm').exec(text);
  const unit = UNITS[fields?.[2] ?? ''];
  return fields === null || unit === undefined ? null : Math.round(Number(fields[1]) * unit);
}
