/** IEEE half precision and bfloat16 to and from float32, through tables where a loop would call them millions of times. */

let table: Float32Array | null = null;

/** float32 value of each of the 65,536 half patterns. 256 KiB, built on first use: arithmetic per call is ten times slower. */
export function halfToFloatTable(): Float32Array {
  if (table !== null) return table;
  table = new Float32Array(65_536);
  for (let bits = 0; bits < 65_536; bits++) table[bits] = halfToFloat(bits);
  return table;
}

export function halfToFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const scratchFloat = new Float32Array(1);
const scratchBits = new Uint32Array(scratchFloat.buffer);

/** Round to nearest, ties to even, as the F16C instructions and ggml do. */
export function floatToHalf(value: number): number {
  scratchFloat[0] = value;
  const bits = scratchBits[0] as number;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fff_ffff;
  if (magnitude > 0x7f80_0000) return sign | 0x7e00;
  // 65,520 and above round to infinity.
  if (magnitude >= 0x477f_f000) return sign | 0x7c00;
  if (magnitude < 0x3880_0000) return sign | roundToEven(Math.abs(scratchFloat[0]) * 2 ** 24);
  const rebased = magnitude - 0x3800_0000;
  const half = rebased >>> 13;
  const rest = rebased & 0x1fff;
  const up = rest > 0x1000 || (rest === 0x1000 && (half & 1) === 1);
  return sign | (half + (up ? 1 : 0));
}

function roundToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}

/** True when the value survives a trip through the format; NaN does, as NaN: payloads are nobody's promise. */
export function isExactHalf(value: number): boolean {
  return Object.is(halfToFloat(floatToHalf(value)), value);
}
