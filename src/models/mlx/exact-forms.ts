/**
 * MLX's affine groups as ggml blocks without a rounding: the same integers, and scales and biases that the block's own
 * fields hold exactly. The opposite of kernels.ts and kernels-super.ts.
 */
import { IQ4_VALUES } from '../gguf/dequantize-small.ts';
import { floatToHalf, isExactHalf } from '../half.ts';
import { commonStep, type IntegerRange } from './common-step.ts';

/** Scale and bias of every 32 weights: a group of 64 or 128 is two or four with the same numbers. */
export interface Groups {
  readonly scales: Float32Array;
  readonly biases: Float32Array;
}

/** Why a group has no place in a form: what cannot be held. */
export type FormFault = 'scale' | 'bias' | 'zero-point' | 'sub-scales' | 'codes';

export interface ExactForm {
  /** ggml's name. */
  readonly type: string;
  readonly groupsPerBlock: 1 | 8;
  readonly blockBytes: number;
  /** Null: the block that starts with this group is held exactly. */
  readonly fault: (groups: Groups, first: number) => FormFault | null;
  /** Codes that exist in the form, where these are not all. */
  readonly hasCode?: (code: number) => boolean;
  /** Writes the block at `at`; its codes start at 32 * first. The block has no fault. */
  readonly write: (block: WrittenBlock) => void;
}

export interface WrittenBlock {
  /** One a byte. */
  readonly codes: Uint8Array;
  readonly groups: Groups;
  readonly first: number;
  readonly out: Uint8Array;
  readonly at: number;
}

const GROUP = 32;
const HALF_GROUP = 16;

/** A block whose zero lies at one code: the bias is minus that many scales. */
function symmetrical(
  zeroPoint: number,
  { type, blockBytes, write }: Pick<ExactForm, 'type' | 'blockBytes' | 'write'>,
): ExactForm {
  return {
    type,
    groupsPerBlock: 1,
    blockBytes,
    fault: ({ scales, biases }, first) => symmetricalFault(zeroPoint, scales[first]!, biases[first]!),
    write: (block) => {
      writeHalf(block.out, block.at, block.groups.scales[block.first]!);
      write(block);
    },
  };
}

function symmetricalFault(zeroPoint: number, scale: number, bias: number): FormFault | null {
  if (!isHalf(scale)) return 'scale';
  return bias === -zeroPoint * scale ? null : 'zero-point';
}

function isHalf(value: number): boolean {
  return Number.isFinite(value) && isExactHalf(value);
}

/** A block that stores its minimum after its scale. */
function withMinimum({ type, blockBytes, write }: Pick<ExactForm, 'type' | 'blockBytes' | 'write'>): ExactForm {
  return {
    type,
    groupsPerBlock: 1,
    blockBytes,
    fault: ({ scales, biases }, first) => (isHalf(scales[first]!) ? (isHalf(biases[first]!) ? null : 'bias') : 'scale'),
    write: (block) => {
      const { out, at, groups, first } = block;
      writeHalf(out, at, groups.scales[first]!);
      writeHalf(out, at + 2, groups.biases[first]!);
      write(block);
    },
  };
}

function writeHalf(out: Uint8Array, at: number, value: number): void {
  const bits = floatToHalf(value);
  out[at] = bits & 255;
  out[at + 1] = bits >>> 8;
}

/** Weight j in the low and weight j + 16 in the high nibble of byte j. */
function nibblesAt(offset: number): ExactForm['write'] {
  return ({ codes, first, out, at }) => {
    const from = GROUP * first;
    for (let j = 0; j < HALF_GROUP; j++) {
      out[at + offset + j] = (codes[from + j]! & 15) | ((codes[from + j + HALF_GROUP]! & 15) << 4);
    }
  };
}

/** A word of fifth bits, then the nibbles. */
function fiveBitsAt(offset: number): ExactForm['write'] {
  const writeNibbles = nibblesAt(offset + 4);
  return (block) => {
    const { codes, first, out, at } = block;
    let high = 0;
    for (let j = 0; j < GROUP; j++) high |= (codes[GROUP * first + j]! >>> 4) << j;
    for (let byte = 0; byte < 4; byte++) out[at + offset + byte] = high >>> (8 * byte);
    writeNibbles(block);
  };
}

function writeBytes({ codes, first, out, at }: WrittenBlock): void {
  for (let j = 0; j < GROUP; j++) out[at + 2 + j] = codes[GROUP * first + j]! ^ 0x80;
}

const NO_INDEX = 255;
/** Place of a code in IQ4's table; the code is the table's value plus 128. */
const IQ4_INDEX = new Uint8Array(256).fill(NO_INDEX);
for (const [index, value] of IQ4_VALUES.entries()) IQ4_INDEX[value + 128] = index;

function hasIq4Code(code: number): boolean {
  return IQ4_INDEX[code] !== NO_INDEX;
}

function writeIq4({ codes, first, out }: WrittenBlock, at: number): void {
  const from = GROUP * first;
  for (let j = 0; j < HALF_GROUP; j++) {
    out[at + j] = IQ4_INDEX[codes[from + j]!]! | (IQ4_INDEX[codes[from + j + HALF_GROUP]!]! << 4);
  }
}

const SUB_GROUPS = 8;
const UNSIGNED_6: IntegerRange = { min: 0, max: 63 };
const SIGNED_6: IntegerRange = { min: -32, max: 31 };

/** Steps of a super-block: half-precision numbers, and 8 integers each. The arrays are used again. */
class SuperScales {
  readonly scales = new Int8Array(SUB_GROUPS);
  readonly minima = new Int8Array(SUB_GROUPS);
  readonly #negated = new Float32Array(SUB_GROUPS);

  scaleStep({ scales }: Groups, first: number, range: IntegerRange): number | null {
    return commonStep(scales.subarray(first, first + SUB_GROUPS), this.scales, range);
  }

  minimumStep({ biases }: Groups, first: number): number | null {
    for (let i = 0; i < SUB_GROUPS; i++) this.#negated[i] = -biases[first + i]!;
    return commonStep(this.#negated, this.minima, UNSIGNED_6);
  }
}

/** Scale, step of the minima, 12 bytes of 6-bit integers, then the codes. */
function kQuant(type: string, blockBytes: number, writeCodes: ExactForm['write']): ExactForm {
  const steps = new SuperScales();
  return {
    type,
    groupsPerBlock: SUB_GROUPS,
    blockBytes,
    fault: (groups, first) =>
      steps.scaleStep(groups, first, UNSIGNED_6) === null || steps.minimumStep(groups, first) === null
        ? 'sub-scales'
        : null,
    write: (block) => {
      const { groups, first, out, at } = block;
      writeHalf(out, at, steps.scaleStep(groups, first, UNSIGNED_6) ?? 0);
      writeHalf(out, at + 2, steps.minimumStep(groups, first) ?? 0);
      for (let j = 0; j < 4; j++) {
        const [scale, minimum] = [steps.scales[j + 4]!, steps.minima[j + 4]!];
        out[at + 4 + j] = steps.scales[j]! | ((scale >>> 4) << 6);
        out[at + 8 + j] = steps.minima[j]! | ((minimum >>> 4) << 6);
        out[at + 12 + j] = (scale & 15) | ((minimum & 15) << 4);
      }
      writeCodes(block);
    },
  };
}

/** 32 bytes hold a group in their low nibbles and the next one in their high nibbles. */
function pairedNibblesAt(offset: number): ExactForm['write'] {
  return ({ codes, first, out, at }) => {
    for (let pair = 0; pair < 4; pair++) {
      const from = GROUP * (first + 2 * pair);
      const to = at + offset + GROUP * pair;
      for (let i = 0; i < GROUP; i++) out[to + i] = (codes[from + i]! & 15) | ((codes[from + GROUP + i]! & 15) << 4);
    }
  };
}

function writeQ5K(block: WrittenBlock): void {
  const { codes, first, out, at } = block;
  for (let i = 0; i < GROUP; i++) {
    let high = 0;
    for (let group = 0; group < SUB_GROUPS; group++) high |= (codes[GROUP * (first + group) + i]! >>> 4) << group;
    out[at + 16 + i] = high;
  }
  pairedNibblesAt(48)(block);
}

function iq4Xs(): ExactForm {
  const steps = new SuperScales();
  return {
    type: 'IQ4_XS',
    groupsPerBlock: SUB_GROUPS,
    blockBytes: 136,
    hasCode: hasIq4Code,
    fault: (groups, first) => {
      if (steps.scaleStep(groups, first, SIGNED_6) === null) return 'sub-scales';
      const { scales, biases } = groups;
      for (let i = first; i < first + SUB_GROUPS; i++) if (biases[i] !== -128 * scales[i]!) return 'zero-point';
      return null;
    },
    write: (block) => {
      const { groups, first, out, at } = block;
      writeHalf(out, at, steps.scaleStep(groups, first, SIGNED_6) ?? 0);
      out.fill(0, at + 2, at + 8);
      for (let group = 0; group < SUB_GROUPS; group++) {
        const stored = steps.scales[group]! + 32;
        out[at + 2 + (group >>> 2)]! |= (stored >>> 4) << (2 * (group & 3));
        out[at + 4 + (group >>> 1)]! |= (stored & 15) << (4 * (group & 1));
        writeIq4({ ...block, first: first + group }, at + 8 + HALF_GROUP * group);
      }
    },
  };
}

/** 2 bits each: weights i, i + 32, i + 64 and i + 96 of 128 in one byte; one scale for 256. */
const TQ2_0: ExactForm = {
  type: 'TQ2_0',
  groupsPerBlock: SUB_GROUPS,
  blockBytes: 66,
  fault: ({ scales, biases }, first) => {
    for (let i = first; i < first + SUB_GROUPS; i++) {
      if (scales[i] !== scales[first]) return 'sub-scales';
      const fault = symmetricalFault(1, scales[i]!, biases[i]!);
      if (fault !== null) return fault;
    }
    return null;
  },
  write: ({ codes, groups, first, out, at }) => {
    out.fill(0, at, at + 64);
    for (let i = 0; i < 8 * GROUP; i++) {
      out[at + 32 * (i >>> 7) + (i & 31)]! |= codes[GROUP * first + i]! << (2 * ((i >>> 5) & 3));
    }
    writeHalf(out, at + 64, groups.scales[first]!);
  },
};

const UP_TO_4_BITS = [
  symmetrical(8, { type: 'Q4_0', blockBytes: 18, write: nibblesAt(2) }),
  withMinimum({ type: 'Q4_1', blockBytes: 20, write: nibblesAt(4) }),
  kQuant('Q4_K', 144, pairedNibblesAt(16)),
];

/** Smallest first; among equals the one that comes back as it was. */
const FORMS: Readonly<Record<number, readonly ExactForm[]>> = {
  2: [TQ2_0, ...UP_TO_4_BITS],
  3: UP_TO_4_BITS,
  4: UP_TO_4_BITS,
  5: [
    symmetrical(16, { type: 'Q5_0', blockBytes: 22, write: fiveBitsAt(2) }),
    withMinimum({ type: 'Q5_1', blockBytes: 24, write: fiveBitsAt(4) }),
    kQuant('Q5_K', 176, writeQ5K),
  ],
  8: [
    {
      ...symmetrical(128, { type: 'IQ4_NL', blockBytes: 18, write: (block) => writeIq4(block, block.at + 2) }),
      hasCode: hasIq4Code,
    },
    symmetrical(128, { type: 'Q8_0', blockBytes: 34, write: writeBytes }),
    iq4Xs(),
  ],
};

/** Forms for affine groups of `bits` in rows of `columns`; none for 6 bits. */
export function exactForms(bits: number, columns: number): readonly ExactForm[] {
  return (FORMS[bits] ?? []).filter(({ groupsPerBlock }) => columns % (GROUP * groupsPerBlock) === 0);
}

export function exactFormNamed(type: string, bits: number): ExactForm | null {
  return FORMS[bits]?.find((form) => form.type === type) ?? null;
}

/**
 * Makes the block that starts with `first` fit, if only because of groups whose codes are all 0: their value is the bias
 * alone, and their scale may be anything. MLX writes such a scale (1e-7) for every group of equal weights.
 */
export function settle(form: ExactForm, { codes, groups, first }: Omit<WrittenBlock, 'out' | 'at'>): FormFault | null {
  const fault = form.fault(groups, first);
  if (fault === null) return null;
  let changed = false;
  for (let group = first; group < first + form.groupsPerBlock; group++) {
    if (groups.scales[group] === 0 || codes.subarray(GROUP * group, GROUP * (group + 1)).some((code) => code !== 0))
      continue;
    groups.scales[group] = 0;
    changed = true;
  }
  return changed ? form.fault(groups, first) : fault;
}
