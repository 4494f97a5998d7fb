/** Byte-level BPE's alphabet: one printable character for each of the 256 bytes (GPT-2's table). */

/** Bytes that print stand for themselves, the others follow from U+0100 on. */
const BYTE_OF: ReadonlyMap<string, number> = byteTable();

function byteTable(): Map<string, number> {
  const table = new Map<string, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const prints = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    table.set(String.fromCodePoint(prints ? byte : next++), byte);
  }
  return table;
}

/** Null for a text with a character outside of the alphabet: it stands for itself. */
export function byteLevelBytes(token: string): Buffer | null {
  const bytes: number[] = [];
  for (const character of token) {
    const byte = BYTE_OF.get(character);
    if (byte === undefined) return null;
    bytes.push(byte);
  }
  return Buffer.from(bytes);
}

const DECODER = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The text of a token; null for one that is not a whole number of characters. */
export function byteLevelText(token: string): string | null {
  const bytes = byteLevelBytes(token);
  if (bytes === null) return token;
  try {
    return DECODER.decode(bytes);
  } catch {
    return null;
  }
}
