/** Numbers as people read them. Every format prints the same digits, so they are made here once. */

const SIGNIFICANT_DIGITS = 3;
const KIB = 1_024;
const MIB = KIB * KIB;
const GIB = KIB * MIB;
const SECOND_MS = 1_000;
/** From ten minutes on, seconds say more than anybody wants to know. */
const MINUTES_FROM_MS = 600_000;

/** A value and its interval, in one unit; `interval` is null where there are too few blocks for one. */
export interface Quantity {
  readonly value: string;
  readonly unit: string;
  /** `3.18-3.25`, in the unit of the value. */
  readonly interval: string | null;
}

export interface Estimate {
  readonly estimate: number;
  readonly low: number | null;
  readonly high: number | null;
  readonly unit: 'ms' | 'tokens/s' | 'bytes';
}

export function quantity(input: Estimate): Quantity {
  const { divisor, unit } = scaleOf(input);
  const show = (value: number): string => digits(value / divisor);
  const interval = input.low === null || input.high === null ? null : `${show(input.low)}-${show(input.high)}`;
  return { value: show(input.estimate), unit, interval };
}

/** The unit that a value of this size is shown in. */
export function scaleOf({ estimate, unit }: Pick<Estimate, 'estimate' | 'unit'>): { divisor: number; unit: string } {
  if (unit === 'tokens/s') return { divisor: 1, unit: 'tok/s' };
  if (unit === 'bytes') return estimate >= GIB ? { divisor: GIB, unit: 'GiB' } : { divisor: MIB, unit: 'MiB' };
  if (estimate >= MINUTES_FROM_MS) return { divisor: 60 * SECOND_MS, unit: 'min' };
  return estimate >= SECOND_MS ? { divisor: SECOND_MS, unit: 's' } : { divisor: 1, unit: 'ms' };
}

/** Three significant digits, thousands separated: `0.512`, `45.2`, `1,230`. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return '–';
  if (value === 0) return '0';
  const magnitude = Math.floor(Math.log10(Math.abs(Number(value.toPrecision(SIGNIFICANT_DIGITS)))));
  const decimals = Math.min(6, Math.max(0, SIGNIFICANT_DIGITS - 1 - magnitude));
  const rounded = Number(value.toPrecision(SIGNIFICANT_DIGITS));
  // Not toLocaleString: Node loads its tables of languages for it, which takes 20 ms of a command.
  const [whole = '', fraction] = rounded.toFixed(decimals).split('.');
  const grouped = whole.replaceAll(/\B(?=(?:\d{3})+$)/g, ',');
  return fraction === undefined ? grouped : `${grouped}.${fraction}`;
}

export function duration(ms: number): string {
  const { value, unit } = quantity({ estimate: ms, low: null, high: null, unit: 'ms' });
  return `${value} ${unit}`;
}

export function bytes(count: number): string {
  const { value, unit } = quantity({ estimate: count, low: null, high: null, unit: 'bytes' });
  return `${value} ${unit}`;
}

/** A ratio above 1 as the excess: 1.058 is `5.8%`, 2.31 is `a factor of 2.31`. */
export function excess(value: number): string {
  const above = (value - 1) * 100;
  return above >= 100 ? `a factor of ${digits(value)}` : `${Number(above.toFixed(above < 10 ? 1 : 0))}%`;
}

/** `95%`, `99.17%`: confidence with the decimals it needs, at most two. */
export function percent(share: number): string {
  return `${Number((share * 100).toFixed(2))}%`;
}

/** `1 block`, `3 blocks`. */
export function count(amount: number, noun: string): string {
  return `${amount.toLocaleString('en-US')} ${noun}${amount === 1 ? '' : 's'}`;
}
