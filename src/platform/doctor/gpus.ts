/** Pure: which GPUs there are, and whether programs can use them. */
import type { Gpu } from '../../core/doctor/facts.ts';

/** PCI vendor ids: https://pci-ids.ucw.cz (2026-11-25). Others are adapters of virtual machines. */
const VENDORS: Readonly<Record<string, Gpu['vendor']>> = { '0x10de': 'nvidia', '0x1002': 'amd', '0x8086': 'intel' };
/** Display controllers, and processing accelerators without a screen. */
const GPU_CLASSES = /^0x(03|12)/;
/** Where every Intel processor with graphics shows them. */
const INTEL_INTEGRATED = /(^|:)00:02\.0$/;

export interface PciDevice {
  /** `0000:01:00.0`. */
  readonly address: string;
  readonly vendor: string;
  readonly class: string;
}

export interface LinuxGpuFacts {
  readonly pci: readonly PciDevice[];
  /** Output of `nvidia-smi -L`; null: it is missing or fails. */
  readonly nvidiaSmi: string | null;
  /** /dev/nvidiactl; null: it does not exist. */
  readonly nvidiaDevice: boolean | null;
  /** Render nodes by PCI vendor id, with the right to use them. */
  readonly renderNodes: readonly { readonly vendor: string; readonly accessible: boolean }[];
}

export function linuxGpus({ pci, nvidiaSmi, nvidiaDevice, renderNodes }: LinuxGpuFacts): Gpu[] {
  const named = nvidiaNames(nvidiaSmi).map((name): Gpu => ({
    vendor: 'nvidia',
    name,
    driver: 'works',
    integrated: false,
  }));
  const onBus = pci.flatMap((device): Gpu[] => {
    const vendor = VENDORS[device.vendor];
    if (vendor === undefined || !GPU_CLASSES.test(device.class)) return [];
    // Named with its model above. WSL shows it there only.
    if (vendor === 'nvidia' && named.length > 0) return [];
    const driver =
      vendor === 'nvidia'
        ? nvidiaDriver(nvidiaDevice)
        : renderDriver(renderNodes.filter((node) => node.vendor === device.vendor));
    return [{ vendor, name: null, driver, integrated: vendor === 'intel' && INTEL_INTEGRATED.test(device.address) }];
  });
  return [...named, ...onBus];
}

/** nvidia-smi is part of the driver's packages, but not of every container that gets the device. */
function nvidiaDriver(device: boolean | null): Gpu['driver'] {
  if (device === null) return 'missing';
  return device ? 'unknown' : 'no-access';
}

function renderDriver(nodes: readonly { readonly accessible: boolean }[]): Gpu['driver'] {
  if (nodes.length === 0) return 'missing';
  return nodes.some(({ accessible }) => accessible) ? 'works' : 'no-access';
}

/** `GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-…)`, one line for each. */
export function nvidiaNames(text: string | null): string[] {
  return [...(text ?? '').matchAll(/^GPU \d+: (.+?)(?: \(UUID: .*\))?$/gm)].flatMap(([, name]) =>
    name === undefined ? [] : [name],
  );
}

/** Win32_VideoController: `ConfigManagerErrorCode` 0 is a device that works; Microsoft's basic adapter is no driver. */
export interface VideoController {
  readonly name: string | null;
  readonly maker: string | null;
  readonly error: number | null;
}

const MAKERS: readonly (readonly [RegExp, Gpu['vendor']])[] = [
  [/nvidia/i, 'nvidia'],
  [/advanced micro devices|\bamd\b|\bati\b/i, 'amd'],
  [/intel/i, 'intel'],
];

export function windowsGpus(controllers: readonly VideoController[]): Gpu[] {
  return controllers.flatMap(({ name, maker, error }): Gpu[] => {
    const vendor = MAKERS.find(([pattern]) => pattern.test(`${maker ?? ''} ${name ?? ''}`))?.[1];
    if (vendor === undefined) return [];
    const driver = error === null ? 'unknown' : error === 0 ? 'works' : 'missing';
    // Intel's separate cards are all called Arc with a letter and a number.
    const integrated = vendor === 'intel' && !/\barc\b.*\b[ab]\d{3}/i.test(name ?? '');
    return [{ vendor, name, driver, integrated }];
  });
}

/** Every Apple silicon machine has a GPU with Metal; of Intel Macs nothing is told. */
export function macGpus(nativeArch: string | null): Gpu[] | null {
  if (nativeArch !== 'arm64') return null;
  return [{ vendor: 'apple', name: null, driver: 'works', integrated: false }];
}
