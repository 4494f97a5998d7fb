/** Facts of a machine that explain its speed. */
import { z } from 'zod';

const SHORT_TEXT = z.string().max(2_000);
const COUNT = z.int().nonnegative();

export const machineSchema = z.object({
  os: SHORT_TEXT,
  kernel: SHORT_TEXT,
  cpu: SHORT_TEXT,
  physicalCores: z.int().positive(),
  logicalCores: z.int().positive(),
  memoryBytes: COUNT,
  hypervisor: SHORT_TEXT.nullable(),
  governor: SHORT_TEXT.nullable(),
  power: z.enum(['ac', 'battery', 'unknown']),
  node: SHORT_TEXT,
  /** Of all last-level caches together; null where the system does not tell, absent in older records. */
  cacheBytes: COUNT.nullable().optional(),
});
