import { readFile } from 'node:fs/promises';
import type { Memory } from '../../core/record.ts';
import { readCommand } from '../process/run-command.ts';
import type { ProcessRow } from '../process-table/process-row.ts';
import { readTree } from '../process-table/process-table.ts';
import { parseLinuxStatus } from './linux.ts';
import type { LinuxStatus } from './linux.ts';
import { parseFootprint } from './macos.ts';
import type { Footprint } from './macos.ts';

/** `footprint` walks the memory map of a large process for a second or two. */
const FOOTPRINT_TIMEOUT_MS = 20_000;
const UNKNOWN: Memory = { peakBytes: null, anonymousBytes: null, fileBackedBytes: null };

/**
 * Memory of an engine's process tree, read from outside: the same for every engine, whatever it reports of itself.
 * Must be read while the engine lives. Sums over processes; pages that two of them share count twice.
 */
export async function readTreeMemory(rootPid: number): Promise<Memory> {
  const tree = await readTree(rootPid);
  if (tree.length === 0) return UNKNOWN;
  switch (process.platform) {
    case 'linux':
      return sumLinux(await Promise.all(tree.map(readStatus)));
    case 'darwin':
      return sumMacos(tree, await Promise.all(tree.map(readFootprint)));
    case 'win32':
      return sumWindows(tree);
    default:
      return UNKNOWN;
  }
}

/** Pure. Peaks of the processes need not fall together: with several processes the sum is an upper bound. */
export function sumLinux(statuses: readonly (LinuxStatus | null)[]): Memory {
  const known = statuses.filter((status) => status !== null);
  if (known.length === 0) return UNKNOWN;
  return {
    peakBytes: sum(known.map(({ peakBytes }) => peakBytes)),
    anonymousBytes: sum(known.map(({ anonymousBytes, sharedBytes }) => anonymousBytes + sharedBytes)),
    fileBackedBytes: sum(known.map(({ fileBytes }) => fileBytes)),
  };
}

/**
 * Pure. macOS keeps no peak of the resident size, and neither of its two figures is everything: resident size lacks GPU
 * memory, footprint lacks mapped model files. The larger one is a lower bound.
 */
export function sumMacos(tree: readonly ProcessRow[], footprints: readonly (Footprint | null)[]): Memory {
  const resident = sum(tree.map(({ residentBytes }) => residentBytes ?? 0));
  const known = footprints.filter((footprint) => footprint !== null);
  if (known.length === 0) return { ...UNKNOWN, peakBytes: resident };
  return {
    peakBytes: Math.max(resident, sum(known.map(({ peakBytes }) => peakBytes))),
    anonymousBytes: sum(known.map(({ nowBytes }) => nowBytes)),
    fileBackedBytes: null,
  };
}

/** Pure. Private bytes are committed, not resident: what is file-backed cannot be told from them. */
export function sumWindows(tree: readonly ProcessRow[]): Memory {
  return {
    peakBytes: sum(tree.map(({ peakResidentBytes }) => peakResidentBytes ?? 0)),
    anonymousBytes: sum(tree.map(({ privateBytes }) => privateBytes ?? 0)),
    fileBackedBytes: null,
  };
}

async function readStatus({ pid }: ProcessRow): Promise<LinuxStatus | null> {
  return parseLinuxStatus(await readFile(`/proc/${pid}/status`, 'utf8').catch(() => ''));
}

async function readFootprint({ pid }: ProcessRow): Promise<Footprint | null> {
  return parseFootprint((await readCommand('footprint', ['-p', String(pid)], FOOTPRINT_TIMEOUT_MS)) ?? '');
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
