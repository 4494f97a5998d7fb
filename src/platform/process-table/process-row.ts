/** One process, as far as its operating system tells. Sizes in bytes, times in milliseconds; null: not told. */
export interface ProcessRow {
  readonly pid: number;
  readonly parentPid: number;
  /** Process group; null on Windows. */
  readonly groupPid: number | null;
  /** User and system time, that of finished children included where the system adds it up. */
  readonly cpuMs: number;
  readonly residentBytes: number | null;
  readonly peakResidentBytes: number | null;
  readonly privateBytes: number | null;
}

/**
 * Pure: a process with all its descendants. An engine leads its own process group, so members of the group whose
 * parent has ended (and which init has adopted) belong to it too.
 */
export function treeOf(rows: readonly ProcessRow[], rootPid: number): ProcessRow[] {
  const children = Map.groupBy(rows, (row) => row.parentPid);
  const found = new Map<number, ProcessRow>();
  const waiting = rows.filter((row) => row.pid === rootPid || row.groupPid === rootPid);
  for (let row = waiting.pop(); row !== undefined; row = waiting.pop()) {
    if (found.has(row.pid)) continue;
    found.set(row.pid, row);
    waiting.push(...(children.get(row.pid) ?? []));
  }
  return [...found.values()];
}
