import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { findOnPath } from '../process/find-on-path.ts';
import { readCommand } from '../process/run-command.ts';
import type { Accelerator } from './node-binaries.ts';

/** nvidia-smi talks to the driver; it takes seconds when the driver sleeps. */
const NVIDIA_TIMEOUT_MS = 15_000;
const ICD_FOLDERS = ['/usr/share/vulkan/icd.d', '/etc/vulkan/icd.d', '/usr/local/share/vulkan/icd.d'];
/** A Vulkan driver that computes on the CPU: no GPU. */
const SOFTWARE_ICD = /lvp|lavapipe|llvmpipe|swiftshader/i;

/** A GPU that prebuilt binaries exist for; macOS needs none of this, Metal is part of its only binary. */
export async function findAccelerator(): Promise<Accelerator | null> {
  if (process.arch !== 'x64' || (process.platform !== 'linux' && process.platform !== 'win32')) return null;
  if (hasNvidia(await listNvidia())) return 'cuda';
  return hasVulkan(await listVulkanDrivers()) ? 'vulkan' : null;
}

/** Pure: `nvidia-smi -L` prints one line per GPU; on machines with the tool but no GPU it fails or prints an excuse. */
export function hasNvidia(text: string | null): boolean {
  return text !== null && /^GPU \d+:/m.test(text);
}

/** Pure: names of driver manifests. */
export function hasVulkan(names: readonly string[]): boolean {
  return names.some((name) => name.endsWith('.json') && !SOFTWARE_ICD.test(name));
}

async function listNvidia(): Promise<string | null> {
  const program = findOnPath('nvidia-smi');
  return program === null ? null : readCommand(program, ['-L'], NVIDIA_TIMEOUT_MS);
}

async function listVulkanDrivers(): Promise<string[]> {
  if (process.platform === 'win32') {
    const loader = join(process.env['SystemRoot'] ?? 'C:\\Windows', 'System32');
    const names = await readdir(loader).catch((): string[] => []);
    // GPU drivers bring the loader; plain Windows has none.
    return names.includes('vulkan-1.dll') ? ['vulkan-1.json'] : [];
  }
  // A manifest without a render node: the packages are installed, the GPU is not there (containers, servers).
  const devices = await readdir('/dev/dri').catch((): string[] => []);
  if (!devices.some((name) => name.startsWith('renderD'))) return [];
  return (await Promise.all(ICD_FOLDERS.map((folder) => readdir(folder).catch((): string[] => [])))).flat();
}
