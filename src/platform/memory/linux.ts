/** What /proc/<pid>/status says about memory, in bytes. */
export interface LinuxStatus {
  readonly peakBytes: number;
  readonly anonymousBytes: number;
  readonly fileBytes: number;
  readonly sharedBytes: number;
}

const KIB = 1024;

/** Pure. Null for kernel threads and zombies, which have no memory lines. */
export function parseLinuxStatus(text: string): LinuxStatus | null {
  const bytesOf = (name: string): number | null => {
    const kibibytes = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1];
    return kibibytes === undefined ? null : Number(kibibytes) * KIB;
  };
  const peakBytes = bytesOf('VmHWM');
  if (peakBytes === null) return null;
  return {
    peakBytes,
    anonymousBytes: bytesOf('RssAnon') ?? 0,
    fileBytes: bytesOf('RssFile') ?? 0,
    sharedBytes: bytesOf('RssShmem') ?? 0,
  };
}
