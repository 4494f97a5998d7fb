/** Pure readers of what macOS says about its machine. */

/** `sysctl hw.physicalcpu machdep.cpu.brand_string kern.hv_vmm_present`, one `name: value` a line. */
export function parseSysctl(text: string): Map<string, string> {
  return new Map(
    text.split('\n').flatMap((line) => {
      const at = line.indexOf(': ');
      return at < 0 ? [] : [[line.slice(0, at).trim(), line.slice(at + 2).trim()] as const];
    }),
  );
}

/** `pmset -g batt`; Macs without a battery say that they draw from AC. */
export function parsePmset(text: string): 'ac' | 'battery' | 'unknown' {
  const source = /Now drawing from '([^']+)'/.exec(text)?.[1];
  if (source === undefined) return 'unknown';
  return source.startsWith('AC') ? 'ac' : 'battery';
}

/** `pmset -g`: low-power mode halves the speed; there is no other governor. */
export function parseLowPowerMode(text: string): string | null {
  const value = /^\s*lowpowermode\s+(\d)/m.exec(text)?.[1];
  if (value === undefined) return null;
  return value === '1' ? 'low power mode' : 'automatic';
}

/** `sw_vers -productVersion`. */
export function describeMacos(version: string | null): string {
  return version === null || version.trim() === '' ? 'macOS' : `macOS ${version.trim()}`;
}
