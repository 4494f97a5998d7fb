import { describe, expect, test } from 'vitest';
import { digits, excess, quantity } from '../../src/report/numbers.ts';

describe('numbers', () => {
  test.each([
    [0, '0'],
    [0.0512, '0.0512'],
    [0.9996, '1.00'],
    [9.996, '10.0'],
    [45.23, '45.2'],
    [999.6, '1,000'],
    [1_234, '1,230'],
    [-1_234_567, '-1,230,000'],
    [0.000_123_4, '0.000123'],
    [Infinity, '–'],
  ])('%d has three digits: %s', (value, text) => {
    expect(digits(value)).toBe(text);
  });

  test('they are grouped as Intl groups them', () => {
    for (let exponent = -4; exponent < 15; exponent += 0.01) {
      const value = Number((10 ** exponent * 1.000_7).toPrecision(3));
      const text = digits(value);
      const fractionDigits = text.split('.')[1]?.length ?? 0;
      const options = { minimumFractionDigits: fractionDigits, maximumFractionDigits: fractionDigits };
      expect(text).toBe(value.toLocaleString('en-US', options));
    }
  });

  test.each([
    [812, 'ms', '812 ms'],
    [3_210, 'ms', '3.21 s'],
    [134_000, 'ms', '134 s'],
    [1_380_000, 'ms', '23.0 min'],
    [283 * 1_024 ** 2, 'bytes', '283 MiB'],
    [1.31 * 1_024 ** 3, 'bytes', '1.31 GiB'],
    [45.23, 'tokens/s', '45.2 tok/s'],
  ] as const)('%d %s reads %s', (estimate, unit, text) => {
    const { value, unit: shown } = quantity({ estimate, low: null, high: null, unit });
    expect(`${value} ${shown}`).toBe(text);
  });

  test('an interval is in the unit of its estimate', () => {
    expect(quantity({ estimate: 1_010, low: 990, high: 1_030, unit: 'ms' })).toEqual({
      value: '1.01',
      unit: 's',
      interval: '0.990-1.03',
    });
  });

  test.each([
    [1.05, '5%'],
    [1.058, '5.8%'],
    [1.44, '44%'],
    [2.31, 'a factor of 2.31'],
  ])('the ratio %d is beyond by %s', (ratio, text) => {
    expect(excess(ratio)).toBe(text);
  });
});
