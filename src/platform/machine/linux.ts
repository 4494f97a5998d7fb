/** Pure readers of what Linux says about its machine. */

export interface Topology {
  /** CPUs that this process may run on, by the numbers of the kernel; null: all of them. */
  readonly allowedCpus: readonly number[] | null;
  /** One entry per logical CPU. */
  readonly cpus: readonly { readonly cpu: number; readonly packageId: number; readonly coreId: number }[];
}

/** Ranges like `0-3,8,10-11`. More CPUs than any machine has are nonsense. */
const CPUS_MAX = 65_536;

/** Distinct cores among the CPUs that we may use; null when the topology is not told. */
export function countPhysicalCores({ allowedCpus, cpus }: Topology): number | null {
  const usable = allowedCpus === null ? cpus : cpus.filter(({ cpu }) => allowedCpus.includes(cpu));
  const cores = new Set(usable.map(({ packageId, coreId }) => `${packageId}:${coreId}`));
  return cores.size === 0 ? null : cores.size;
}

/** /proc/cpuinfo of x86: `physical id` and `core id`. Empty on arm64, where /sys knows. */
export function parseCpuinfoTopology(text: string): Topology['cpus'] {
  return text.split(/\n\n+/).flatMap((block) => {
    const cpu = numberAfter(block, 'processor');
    const packageId = numberAfter(block, 'physical id');
    const coreId = numberAfter(block, 'core id');
    return cpu === null || packageId === null || coreId === null ? [] : { cpu, packageId, coreId };
  });
}

/** `Cpus_allowed_list` of /proc/self/status: what cpusets, containers and taskset leave. */
export function parseAllowedCpus(status: string): number[] | null {
  const list = /^Cpus_allowed_list:\s*([\d,-]+)$/m.exec(status)?.[1];
  if (list === undefined) return null;
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: Math.min(CPUS_MAX, Math.max(0, last - first + 1)) }, (_, index) => first + index);
  });
}

/** x86 has `model name`; ARM boards `Model` or `Hardware`, ARM servers neither. */
export function parseCpuModel(cpuinfo: string): string | null {
  for (const name of ['model name', 'Model', 'Hardware', 'uarch']) {
    const value = new RegExp(`^${name}\\s*:\\s*(.+)$`, 'm').exec(cpuinfo)?.[1]?.trim();
    if (value !== undefined && value !== '') return value;
  }
  return null;
}

/** Names that hypervisors give themselves in the DMI tables. */
const VENDORS =
  /QEMU|KVM|VMware|innotek|VirtualBox|Xen|Amazon EC2|Google Compute|Google|Parallels|Bochs|OpenStack|DigitalOcean|Hetzner|Firecracker|Apple Virtualization|Nutanix|oVirt|Alibaba|Red Hat/i;

/**
 * The hypervisor under us, or null on bare metal. x86 guests carry the `hypervisor` flag; ARM guests show only in the DMI
 * tables. Microsoft builds laptops too: there the flag decides.
 */
export function findHypervisor(facts: {
  cpuinfo: string;
  vendor: string;
  product: string;
  kernel: string;
}): string | null {
  const { cpuinfo, vendor, product, kernel } = facts;
  if (/microsoft.*wsl|wsl2/i.test(kernel)) return 'WSL 2 (Hyper-V)';
  const flagged = /^flags\s*:.*\bhypervisor\b/m.test(cpuinfo);
  const label = [vendor, product]
    .map((text) => text.trim())
    .filter((text) => text !== '')
    .join(' ');
  if (!flagged && !VENDORS.test(label)) return null;
  // Amazon's and Google's bare-metal machines carry the vendor's name without the flag.
  if (!flagged && /\.metal|bare ?metal/i.test(label)) return null;
  return label === '' ? 'unknown hypervisor' : label;
}

export interface PowerSupply {
  readonly type: string;
  readonly online: string;
  readonly status: string;
}

/** /sys/class/power_supply: mains wins, then a discharging battery. Without any entry it may be a guest on a laptop. */
export function readPowerSupplies(supplies: readonly PowerSupply[]): 'ac' | 'battery' | 'unknown' {
  const sources = supplies.filter(({ type }) => /^(Mains|USB)/.test(type));
  if (sources.some(({ online }) => online.trim() === '1')) return 'ac';
  const batteries = supplies.filter(({ type }) => type.trim() === 'Battery');
  if (batteries.some(({ status }) => status.trim() === 'Discharging')) return 'battery';
  return batteries.length > 0 || supplies.length === 0 ? 'unknown' : 'ac';
}

/** `PRETTY_NAME` of /etc/os-release. */
export function parseOsRelease(text: string): string | null {
  return /^PRETTY_NAME="?([^"\n]+)"?$/m.exec(text)?.[1] ?? null;
}

function numberAfter(block: string, name: string): number | null {
  const value = new RegExp(`^${name}\\s*:\\s*(\\d+)$`, 'm').exec(block)?.[1];
  return value === undefined ? null : Number(value);
}
