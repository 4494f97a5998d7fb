/** Recorded on Linux 6.8; macOS and Windows from manual pages and published outputs: vm_stat(1), pmset(1), CIM classes. */
import { describe, expect, test } from 'vitest';
import {
  linuxConditions,
  macosConditions,
  parseMacSwapIns,
  parsePressureTotal,
  parseWindowsConditions,
  UNKNOWN_CONDITIONS,
} from '../../../src/platform/conditions/parse.ts';
import { pressureBetween, readConditions, readPressure } from '../../../src/platform/conditions/read-conditions.ts';

describe('Linux', () => {
  const PRESSURE = `some avg10=70.99 avg60=36.26 avg300=12.60 total=73327995
full avg10=0.00 avg60=0.00 avg300=0.00 total=0
`;

  test('pressure: microseconds that some program waited', () => {
    expect(parsePressureTotal(PRESSURE)).toBe(73_327_995);
    expect(parsePressureTotal('')).toBeNull();
  });

  test('pressure between two readings, as shares', () => {
    const before = { cpu: 1_000_000, io: 5_000, memory: 0 };
    const after = { cpu: 1_060_000, io: 5_000, memory: 900_000 };
    expect(pressureBetween(before, after, 300)).toEqual({ cpu: 0.2, io: 0, memory: 1 });
    expect(pressureBetween(null, after, 300)).toBeNull();
    expect(pressureBetween(before, after, 0)).toBeNull();
  });

  test('throttle counts, power and swap', () => {
    const facts = {
      throttles: { core: 7, package: 2 },
      supplies: [
        { type: 'Mains\n', online: '0\n', status: '' },
        { type: 'Battery\n', online: '', status: 'Discharging\n' },
      ],
      vmstat: 'pgpgin 100\npswpin 512\npswpout 9\n',
    };
    expect(linuxConditions(facts)).toEqual({ throttleCount: 9, limited: null, power: 'battery', swapInPages: 512 });
    expect(linuxConditions({ throttles: null, supplies: [], vmstat: '' })).toEqual(UNKNOWN_CONDITIONS);
  });

  test.skipIf(process.platform !== 'linux')('this machine answers', async () => {
    const { swapInPages } = await readConditions();
    expect(swapInPages).toBeGreaterThanOrEqual(0);
    const pressure = await readPressure();
    if (pressure !== null) expect(Object.keys(pressure)).toEqual(['cpu', 'io', 'memory']);
  });
});

test('macOS: heat, power and swap', () => {
  const texts = {
    therm: 'Note: No thermal warning level has been recorded\n\tCPU_Speed_Limit \t= 62\n',
    battery: "Now drawing from 'AC Power'\n -InternalBattery-0 (id=1)\t81%; charging; 0:51 remaining\n",
    vmStat:
      'Mach Virtual Memory Statistics: (page size of 16384 bytes)\nSwapins:                               1234.\nSwapouts:                              5678.\n',
  };
  expect(macosConditions(texts)).toEqual({ throttleCount: null, limited: true, power: 'ac', swapInPages: 1_234 });
  expect(macosConditions({ therm: '', battery: '', vmStat: '' })).toEqual(UNKNOWN_CONDITIONS);
  expect(parseMacSwapIns('Swapins: none')).toBeNull();
});

test('Windows: performance limit, battery and pages read', () => {
  const answer = (value: object): string => JSON.stringify(value);
  expect(parseWindowsConditions(answer({ pagesInput: '913442', performanceLimit: 78, batteries: [2] }))).toEqual({
    throttleCount: null,
    limited: true,
    power: 'ac',
    swapInPages: 913_442,
  });
  expect(parseWindowsConditions(answer({ pagesInput: null, performanceLimit: 0, batteries: [1] }))).toEqual({
    throttleCount: null,
    limited: null,
    power: 'battery',
    swapInPages: null,
  });
  expect(parseWindowsConditions(answer({ pagesInput: 1, performanceLimit: 100, batteries: [] })).limited).toBe(false);
  expect(parseWindowsConditions('')).toEqual(UNKNOWN_CONDITIONS);
  expect(parseWindowsConditions('{"pagesInput":-1}')).toEqual(UNKNOWN_CONDITIONS);
});
