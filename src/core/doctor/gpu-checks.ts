/** The silent fall back to the CPU: a GPU is there, and nobody uses it. */
import type { DoctorFacts, EngineLook, Gpu } from './facts.ts';
import { ok, unknown, warning } from './finding.ts';
import type { Finding } from './finding.ts';

const VENDOR_NAMES: Readonly<Record<Gpu['vendor'], string>> = {
  nvidia: 'NVIDIA',
  amd: 'AMD',
  intel: 'Intel',
  apple: 'Apple',
};

/** A GPU whose driver is missing or closed to this user computes for nobody. */
export function checkGpuDriver({ gpus, host }: DoctorFacts): Finding[] {
  if (gpus === null) return [unknown('gpu-driver', 'GPUs: the system does not tell')];
  if (gpus.length === 0) return [ok('gpu-driver', 'no GPU')];
  return gpus.map((gpu) => {
    const name = nameOf(gpu);
    if (gpu.driver === 'works') return ok('gpu-driver', `${name} with its driver`);
    if (gpu.driver === 'unknown') return unknown('gpu-driver', `the driver of ${name}: nothing tells whether it works`);
    return warning('gpu-driver', gpu.driver === 'missing' ? noDriver(gpu, name, host) : noAccess(name));
  });
}

function noDriver(
  { vendor }: Gpu,
  name: string,
  { platform, wsl }: DoctorFacts['host'],
): { what: string; why: string; remedy: string } {
  return {
    what: `${upperFirst(name)} is there, but its driver is not loaded.`,
    why: 'Engines look for the driver, find none, and compute on the CPU without an error.',
    remedy: platform === 'win32' || wsl ? WINDOWS_DRIVERS[vendor] : LINUX_DRIVERS[vendor],
  };
}

const WINDOWS_DRIVERS: Readonly<Record<Gpu['vendor'], string>> = {
  nvidia: 'Install the driver on Windows (it serves WSL, too): https://www.nvidia.com/drivers. Then check: nvidia-smi',
  amd: 'Install the driver on Windows: https://www.amd.com/support',
  intel: 'Install the driver on Windows: https://www.intel.com/content/www/us/en/download-center/home.html',
  apple: 'Update macOS.',
};
const LINUX_DRIVERS: Readonly<Record<Gpu['vendor'], string>> = {
  nvidia: 'Ubuntu: sudo ubuntu-drivers install, restart, then check: nvidia-smi. In a container: docker run --gpus all',
  amd: 'Load the kernel driver: sudo modprobe amdgpu. In a container: docker run --device /dev/kfd --device /dev/dri',
  intel: 'Debian and Ubuntu: sudo apt install mesa-vulkan-drivers. In a container: docker run --device /dev/dri',
  apple: 'Update the kernel.',
};

function noAccess(name: string): { what: string; why: string; remedy: string } {
  return {
    what: `${upperFirst(name)} has its driver, but this user may not open its device.`,
    why: 'Engines cannot use it and compute on the CPU without an error.',
    remedy: 'sudo usermod -aG render,video $USER, then log in again',
  };
}

/** An engine that stays on the CPU beside a GPU that works. */
export function checkCpuFallback({ gpus, engines }: DoctorFacts): Finding[] {
  const working = (gpus ?? []).filter(({ driver, integrated }) => driver === 'works' && !integrated);
  if (working.length === 0) return [];
  const names = working.map(nameOf).join(' and ');
  const able = engines.filter(({ state, isLlama }) => state !== 'unavailable' && isLlama);
  const onCpu = able.filter(({ device }) => device === 'cpu');
  const untold = able.filter(({ device }) => device === 'unknown');
  const onGpu = able.filter(({ device }) => device !== 'cpu' && device !== 'unknown');
  return [
    ...(onGpu.length === 0 ? [] : [ok('cpu-fallback', onGpu.map(({ id, device }) => `${id} on ${device}`).join(', '))]),
    ...untold.map(({ id }) =>
      unknown(
        'cpu-fallback',
        `whether ${id} uses ${names}: it tells after loading a model; every report names the device`,
      ),
    ),
    ...onCpu.map((engine) => fallback(engine, names)),
  ];
}

function fallback({ id, ownProgram }: EngineLook, names: string): Finding {
  return warning('cpu-fallback', {
    what: `${upperFirst(names)} works here, but ${id} will compute on the CPU.`,
    why: 'Its build has no code for this GPU. It says so in its log only: the figures would be those of the CPU, several times slower, beside engines that use the GPU.',
    remedy:
      ownProgram === null && id === 'llama-cpp'
        ? `Let it be installed with the GPU's code: runoff engines remove ${id}, then runoff engines install ${id}. To measure CPUs on purpose: runoff run --gpu off`
        : `Give it a build for the GPU: runoff run --engine-path ${id}=PATH (llama.cpp with CUDA, Vulkan or ROCm). To measure CPUs on purpose: runoff run --gpu off`,
  });
}

function nameOf({ vendor, name }: Gpu): string {
  const label = VENDOR_NAMES[vendor];
  return name === null ? `an ${label} GPU` : name.toLowerCase().includes(vendor) ? name : `${label} ${name}`;
}

function upperFirst(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
