/** Linux recorded on an AMD EPYC guest and an Intel hybrid; macOS and Windows as sysctl(8) and Win32_Processor write them. */
import { expect, test } from 'vitest';
import {
  parseMacCaches,
  parseWindowsCaches,
  readLastLevelCache,
  sumLastLevel,
} from '../../../src/platform/machine/cache-size.ts';

const MIB = 2 ** 20;
const entry = (level: number, type: string, size: string, sharedCpus: string) => ({
  level: `${level}\n`,
  type: `${type}\n`,
  size: `${size}\n`,
  sharedCpus: `${sharedCpus}\n`,
});

test('Linux: the last level, every cache once', () => {
  const core = (cpu: string) => [
    entry(1, 'Data', '32K', cpu),
    entry(1, 'Instruction', '32K', cpu),
    entry(2, 'Unified', '512K', cpu),
    entry(3, 'Unified', '32768K', '0-1'),
  ];
  expect(sumLastLevel([...core('0'), ...core('1')])).toBe(32 * MIB);
});

test('Linux: two groups of cores have two last levels; without any it is not known', () => {
  expect(sumLastLevel([entry(3, 'Unified', '96M', '0-7'), entry(3, 'Unified', '32M', '8-15')])).toBe(128 * MIB);
  expect(sumLastLevel([])).toBeNull();
  expect(sumLastLevel([entry(3, 'Unified', '', '0')])).toBeNull();
});

test('macOS: the third level of Intel; on Apple silicon the hidden cache counts', () => {
  expect(parseMacCaches('hw.l2cachesize: 262144\nhw.l3cachesize: 12582912\n')).toBe(12 * MIB);
  expect(parseMacCaches('hw.optional.arm64: 1\nhw.perflevel0.l2cachesize: 16777216\nhw.l2cachesize: 4194304\n')).toBe(
    96 * MIB,
  );
  expect(parseMacCaches('')).toBeNull();
});

test('Windows: KiB over all sockets', () => {
  expect(parseWindowsCaches('{"l3":65536,"l2":8192}')).toBe(64 * MIB);
  expect(parseWindowsCaches('{"l3":0,"l2":4096}')).toBe(4 * MIB);
  expect(parseWindowsCaches('')).toBeNull();
});

test('this machine answers with a size or with nothing', async () => {
  const bytes = await readLastLevelCache();
  expect(bytes === null || bytes > 100_000).toBe(true);
});
