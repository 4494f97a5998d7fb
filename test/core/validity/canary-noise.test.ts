import { describe, expect, test } from 'vitest';
import type { RunEvent } from '../../../src/core/record.ts';
import { canaryNoise, judgeBlock } from '../../../src/core/validity/machine-checks.ts';

/** One look; `speed` 1 is the machine at rest. */
function look(speed: number): RunEvent {
  return {
    type: 'machine-check',
    elapsedMs: 0,
    canary: { readBytesPerS: 20e9 * speed, flopsPerS: 100e9 * speed, readMs: 150, multiplyAddMs: 150 },
    conditions: { throttleCount: null, limited: null, power: 'unknown', swapInPages: 0 },
    pressure: null,
    costMs: 300,
  };
}

function start(engine: string): RunEvent {
  return { type: 'cell-start', engine, block: 0, attempt: 0, elapsedMs: 0 };
}

const SESSION: RunEvent = { type: 'session', at: '2026-11-25T00:00:00Z', resumed: false };
/** Looks at rest of a shared virtual machine: 150 ms are short, and a stall takes a quarter of one. */
const RESTLESS = [0.95, 1.05, 0.99, 1.06, 0.75, 1.01, 0.94, 1.03].map(look);
const STEADY = [0.99, 1, 1.01, 1, 0.99, 1.01, 1, 1].map(look);

function block(calibration: readonly RunEvent[], speeds: readonly [number, number, number]): RunEvent[] {
  const [first, between, last] = speeds;
  return [SESSION, ...calibration, look(first), start('alpha'), look(between), start('beta'), look(last)];
}

describe('the noise of the canary itself', () => {
  test('is the robust spread of the looks at rest: one stall does not count', () => {
    expect(canaryNoise([SESSION, ...RESTLESS])).toBeCloseTo(1.4826 * 0.0488, 2);
    expect(canaryNoise([SESSION, ...STEADY])).toBeLessThan(0.012);
  });

  test('is unknown, and taken for none, with few looks', () => {
    expect(canaryNoise([SESSION, ...RESTLESS.slice(0, 4)])).toBe(0);
    expect(canaryNoise([])).toBe(0);
  });

  test('counts looks before the first process of the session only', () => {
    const later = [SESSION, ...STEADY, start('alpha'), ...[0.5, 1, 0.5, 1, 0.5, 1].map(look)];
    expect(canaryNoise(later)).toBeLessThan(0.012);
  });
});

describe('a block is judged by what the canary can tell', () => {
  test('a change of 15% within it is one on a steady machine, and none on a restless one', () => {
    const speeds = [1, 1, 0.7] as const;
    expect(judgeBlock(block(STEADY, speeds)).disturbances.map(({ kind }) => kind)).toEqual(['canary']);
    expect(judgeBlock(block(RESTLESS, speeds)).disturbances).toEqual([]);
  });

  test('half the speed is a disturbance everywhere', () => {
    const speeds = [1, 0.5, 0.5] as const;
    expect(judgeBlock(block(RESTLESS, speeds)).disturbances.map(({ kind }) => kind)).toEqual(['canary']);
  });
});
