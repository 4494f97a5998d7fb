import { z } from 'zod';

/** One start of powershell for everything: it takes a second or two. */
export const MACHINE_QUERY =
  '$c=@(Get-CimInstance Win32_Processor); $s=Get-CimInstance Win32_ComputerSystem; $b=@(Get-CimInstance Win32_Battery); ' +
  '$p=Get-CimInstance -Namespace root/cimv2/power Win32_PowerPlan -ErrorAction SilentlyContinue | Where-Object IsActive; ' +
  '[pscustomobject]@{cores=($c | Measure-Object NumberOfCores -Sum).Sum; cpu=$c[0].Name; manufacturer=$s.Manufacturer; ' +
  'model=$s.Model; batteries=@($b | ForEach-Object { [int]$_.BatteryStatus }); plan=$p.ElementName} | ConvertTo-Json -Compress';

const answerSchema = z.object({
  cores: z.number().int().positive().nullable(),
  cpu: z.string().nullable(),
  manufacturer: z.string().nullable(),
  model: z.string().nullable(),
  batteries: z.array(z.number()).nullable(),
  plan: z.union([z.string(), z.array(z.string()).transform((names) => names[0] ?? null)]).nullable(),
});

export interface WindowsMachine {
  readonly physicalCores: number | null;
  readonly cpu: string | null;
  readonly hypervisor: string | null;
  readonly power: 'ac' | 'battery' | 'unknown';
  readonly governor: string | null;
}

const VIRTUAL = /Virtual|VMware|KVM|QEMU|Xen|Parallels|HVM domU|Google Compute/i;
/** BatteryStatus 1: discharging. All others are on mains in one way or another. */
const DISCHARGING = 1;

/** Pure: the answer to MACHINE_QUERY. Null: not such an answer. */
export function parseWindowsMachine(text: string): WindowsMachine | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  const answer = answerSchema.safeParse(value).data;
  if (answer === undefined) return null;
  const label = [answer.manufacturer, answer.model]
    .filter((part) => part !== null)
    .join(' ')
    .trim();
  const batteries = answer.batteries ?? [];
  return {
    physicalCores: answer.cores,
    cpu: answer.cpu?.trim() ?? null,
    // Amazon's guests are called by instance type only.
    hypervisor: VIRTUAL.test(label) || (label.startsWith('Amazon EC2') && !label.includes('.metal')) ? label : null,
    power: batteries.includes(DISCHARGING) ? 'battery' : 'ac',
    governor: answer.plan,
  };
}
