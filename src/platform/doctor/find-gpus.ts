import { access, constants, readdir } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Gpu } from '../../core/doctor/facts.ts';
import { findOnPath } from '../process/find-on-path.ts';
import { readCommand } from '../process/run-command.ts';
import { linuxGpus } from './gpus.ts';
import type { LinuxGpuFacts, PciDevice } from './gpus.ts';
import { readText } from './read-text.ts';

/** nvidia-smi talks to the driver; it takes seconds when the driver sleeps. */
const NVIDIA_TIMEOUT_MS = 15_000;
/** WSL keeps it outside of PATH. */
const WSL_NVIDIA_SMI = '/usr/lib/wsl/lib/nvidia-smi';
/** Servers have some hundred devices. */
const PCI_DEVICES_MAX = 4_096;

/** @returns null where /sys shows no PCI bus and nvidia-smi nothing: ARM boards, WSL without NVIDIA, some containers */
export async function findLinuxGpus(): Promise<Gpu[] | null> {
  const [pci, nvidiaSmi, nvidiaDevice, renderNodes] = await Promise.all([
    readPciDevices(),
    listNvidia(),
    mayUse('/dev/nvidiactl'),
    readRenderNodes(),
  ]);
  if (pci.length === 0 && nvidiaSmi === null) return null;
  return linuxGpus({ pci, nvidiaSmi, nvidiaDevice, renderNodes });
}

async function listNvidia(): Promise<string | null> {
  const program =
    findOnPath('nvidia-smi') ?? ((await mayUse(WSL_NVIDIA_SMI, constants.X_OK)) === true ? WSL_NVIDIA_SMI : null);
  return program === null ? null : readCommand(program, ['-L'], NVIDIA_TIMEOUT_MS);
}

async function readPciDevices(): Promise<PciDevice[]> {
  const folder = '/sys/bus/pci/devices';
  const names = (await readdir(folder).catch((): string[] => [])).slice(0, PCI_DEVICES_MAX);
  return Promise.all(
    names.map(async (address) => {
      const [vendor = '', kind = ''] = await Promise.all(
        ['vendor', 'class'].map((file) => readText(`${folder}/${address}/${file}`)),
      );
      return { address, vendor: vendor.trim(), class: kind.trim() };
    }),
  );
}

async function readRenderNodes(): Promise<LinuxGpuFacts['renderNodes']> {
  const folder = '/sys/class/drm';
  const names = (await readdir(folder).catch((): string[] => [])).filter((name) => /^renderD\d+$/.test(name));
  const nodes = await Promise.all(
    names.map(async (name) => {
      const accessible = await mayUse(`/dev/dri/${basename(name)}`);
      return { vendor: (await readText(`${folder}/${name}/device/vendor`)).trim(), accessible };
    }),
  );
  // One that the kernel has and the container has not is no device for us.
  return nodes.flatMap(({ vendor, accessible }) => (accessible === null ? [] : [{ vendor, accessible }]));
}

/** Null: there is no such file. */
async function mayUse(path: string, mode = constants.R_OK | constants.W_OK): Promise<boolean | null> {
  try {
    await access(path, mode);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? null : false;
  }
}
