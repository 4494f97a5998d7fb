import type { ProcessRow } from './process-row.ts';

export const PS_ARGS = ['-axo', 'pid=,ppid=,pgid=,rss=,time='] as const;

const LINE = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+([\d:.-]+)\s*$/;
const KIB = 1024;

/** Pure: the output of `ps -axo pid=,ppid=,pgid=,rss=,time=`; rss is KiB, time is [days-][hours:]minutes:seconds. */
export function parsePs(text: string): ProcessRow[] {
  return text.split('\n').flatMap((line) => {
    const fields = LINE.exec(line);
    if (fields === null) return [];
    const [, pid, parentPid, groupPid, rss, time = ''] = fields;
    return {
      pid: Number(pid),
      parentPid: Number(parentPid),
      groupPid: Number(groupPid),
      cpuMs: parsePsTime(time),
      residentBytes: Number(rss) * KIB,
      peakResidentBytes: null,
      privateBytes: null,
    };
  });
}

function parsePsTime(text: string): number {
  const [clock = '', days = '0'] = text.split('-').reverse();
  const seconds = clock.split(':').reduce((total, part) => total * 60 + Number(part), 0);
  return Math.round((Number(days) * 86_400 + seconds) * 1_000);
}
