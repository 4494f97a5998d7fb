/** What kind of program a file starts with, from its first 8 KiB. */

export type Architecture = 'x86_64' | 'aarch64';

export interface ExecutableFacts {
  /** `ape` runs on every system; the others on one. */
  readonly format: 'ape' | 'elf' | 'pe' | 'mach-o';
  /** First bytes of an APE, e.g. `MZqFpD='`; null otherwise. */
  readonly magic: string | null;
  /** Empty when the header does not tell. */
  readonly architectures: readonly Architecture[];
}

/** The APE loader looks no further (ape/specification.md of jart/cosmopolitan). */
export const HEAD_BYTES = 8_192;

/** Windows-capable, not Windows-capable, debug. */
const APE_MAGICS = ["MZqFpD='", "jartsr='", "APEDBG='"];
/** e_machine of the ELF format. */
const ELF_MACHINES: Readonly<Record<number, Architecture>> = { 62: 'x86_64', 183: 'aarch64' };
/** Machine of the PE format. */
const PE_MACHINES: Readonly<Record<number, Architecture>> = { 0x8664: 'x86_64', 0xaa64: 'aarch64' };
/** cputype of the Mach-O format. */
const MACH_MACHINES: Readonly<Record<number, Architecture>> = { 0x0100_0007: 'x86_64', 0x0100_000c: 'aarch64' };
const ELF_MAGIC = '\u007fELF';
const MACHINE_OFFSET = 18;
const MACH_64 = 0xfeed_facf;
const MACH_UNIVERSAL = 0xcafe_babe;
/** More than two make no sense; the number is also the version of a Java class file. */
const MACH_SLICES_MAX = 8;

/** Pure: null when these bytes start no program. @param head the first bytes of the file, up to 8 KiB */
export function readExecutable(head: Buffer): ExecutableFacts | null {
  const magic = head.toString('latin1', 0, 8);
  if (APE_MAGICS.includes(magic)) return { format: 'ape', magic, architectures: apeArchitectures(head) };
  if (head.length < 64) return null;
  if (magic.startsWith(ELF_MAGIC)) return native('elf', [ELF_MACHINES[head.readUInt16LE(MACHINE_OFFSET)]]);
  if (magic.startsWith('MZ')) return readPe(head);
  if (head.readUInt32LE(0) === MACH_64) return native('mach-o', [MACH_MACHINES[head.readUInt32LE(4)]]);
  const slices = head.readUInt32BE(4);
  if (head.readUInt32BE(0) === MACH_UNIVERSAL && slices <= MACH_SLICES_MAX) {
    return native(
      'mach-o',
      Array.from({ length: slices }, (_, i) => MACH_MACHINES[head.readUInt32BE(8 + 20 * i)]),
    );
  }
  return null;
}

function native(format: ExecutableFacts['format'], found: readonly (Architecture | undefined)[]): ExecutableFacts {
  return { format, magic: null, architectures: found.filter((item) => item !== undefined) };
}

function readPe(head: Buffer): ExecutableFacts | null {
  const at = head.readUInt32LE(0x3c);
  if (at + 6 > head.length || head.toString('latin1', at, at + 4) !== 'PE\0\0') return null;
  return native('pe', [PE_MACHINES[head.readUInt16LE(at + 4)]]);
}

/** The shell script at the start prints one ELF header per architecture: `printf '\177ELF\2\1...'`. */
function apeArchitectures(head: Buffer): Architecture[] {
  const found = new Set<Architecture>();
  for (const [, text = ''] of head.toString('latin1', 0, HEAD_BYTES).matchAll(/printf '([^']*)'/g)) {
    const header = Buffer.from(unescapeOctal(text), 'latin1');
    if (header.length < MACHINE_OFFSET + 2 || header.toString('latin1', 0, 4) !== ELF_MAGIC) continue;
    const machine = ELF_MACHINES[header.readUInt16LE(MACHINE_OFFSET)];
    if (machine !== undefined) found.add(machine);
  }
  return [...found];
}

function unescapeOctal(text: string): string {
  return text.replaceAll(/\\([0-7]{1,3})/g, (_, digits: string) =>
    String.fromCodePoint(Number.parseInt(digits, 8) & 0xff),
  );
}
