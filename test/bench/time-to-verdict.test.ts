/** The pure parts of `npm run bench -- time-to-verdict`: a recorded machine, and how often "5 times" errs on it. */
import { describe, expect, test } from 'vitest';
import { recordedMachine } from '../../bench/statistics/machines.ts';
import { cheapest, DESIGNS, errorsOf, FIVE, FIVES } from '../../bench/statistics/repetitions.ts';
import { costCells, oursOn, verdictCosts } from '../../bench/time-to-verdict/costs.ts';

const EFFECT = Math.log(1.3);
/** Five requests of each process, 1 ms apart in the middle of 100. */
const still = (processes: number): number[][] =>
  Array.from({ length: processes }, (_, index) => [98, 99, 100, 101, 102].map((ms) => ms + (index % 2) * 0.5));
/** Each process a tenth slower than the one before. */
const slowing = (processes: number): number[][] =>
  still(processes).map((requests, index) => requests.map((ms) => ms * 1.1 ** index));

describe('a recorded machine', () => {
  test('a run is a stretch of the record, in its order', () => {
    const machine = recordedMachine(slowing(24));
    expect(machine.runsOf(2, 5)).toBe(23);
    const regime = machine.during(3);
    const levels = [0, 1].map((position) => regime.cell(position) + regime.request());
    // 98.5 after 98 with the next process's tenth, since odd processes are half a millisecond slower.
    expect(levels[1]! - levels[0]!).toBeCloseTo(Math.log((98 * 1.1) / 98.5), 10);
  });

  test('a record with fewer than 20 stretches tells nothing', () => {
    expect(recordedMachine(still(24)).runsOf(6, 5)).toBe(0);
    const { wrong } = errorsOf([recordedMachine(still(24))], { processes: 3, repetitions: 5 }, EFFECT);
    expect(wrong).toBeNaN();
  });

  test('more requests than were recorded of a process tell nothing either', () => {
    expect(recordedMachine(still(24)).runsOf(2, 6)).toBe(0);
    expect(errorsOf([recordedMachine(still(24))], { processes: 1, repetitions: 10 }, EFFECT).wrong).toBeNaN();
  });

  test('more requests than a process answered are refused', () => {
    const regime = recordedMachine(still(24)).during(0);
    regime.cell(0);
    for (let request = 0; request < 5; request += 1) regime.request();
    expect(() => regime.request()).toThrow('as many processes and requests');
  });
});

describe('"5 times" on it', () => {
  test('does not err where the machine is still', () => {
    expect(errorsOf([recordedMachine(still(24))], FIVE, EFFECT)).toEqual({ wrong: 0, missed: 0 });
  });

  test('calls the engine faster that came first where the machine slows down', () => {
    expect(errorsOf([recordedMachine(slowing(24))], FIVE, EFFECT)).toEqual({ wrong: 1, missed: 0 });
  });

  test('repeated, it errs as little as is asked for, or never', () => {
    const most = { wrong: 0.01, missed: 0.01 };
    expect(cheapest(FIVES, { machines: [recordedMachine(still(30))], most, effect: EFFECT })).toEqual(FIVE);
    expect(cheapest(FIVES, { machines: [recordedMachine(slowing(30))], most, effect: EFFECT })).toBeNull();
    expect(cheapest(DESIGNS, { machines: [recordedMachine(slowing(30))], most, effect: EFFECT })).toBeNull();
  });
});

test('a table row: errors, costs, and the designs that err no more', () => {
  const machine = recordedMachine(still(60));
  const cells = costCells(verdictCosts([machine], oursOn(machine)));
  // runoff: four blocks of 0.3 + 4 requests of either engine, 39.2; "5 times": 0.3 + 6, 14.4; two of 0.3 + 2: 10.4.
  expect(cells.join(' ')).toBe('0.0% 0.0% 14 0.0% 0.0% 39 2.7x 1 x 5 2.72x 2 x 1 3.77x 2 x 1 3.77x');
});
