/**
 * Which prebuilt binaries of node-llama-cpp a machine gets. A plain install takes all that fit the system, CUDA and
 * Vulkan included: 737 MB, of which one binary of 30 MB is used. So optional dependencies are left out (--omit=optional)
 * and the binaries that are needed become ordinary ones, with the versions and hashes of the committed lock file.
 */
import { z } from 'zod';
import { assert } from '../../core/assert.ts';

export type Accelerator = 'cuda' | 'vulkan';

export interface NodeMachine {
  readonly platform: NodeJS.Platform;
  readonly arch: string;
  /** Settled before: null when the GPU is to stay off or none is there. */
  readonly accelerator: Accelerator | null;
}

export interface NodeBinaries {
  readonly variant: 'cpu' | 'metal' | Accelerator;
  readonly packages: readonly string[];
}

/** The CPU binary of each system. A Mac with Apple silicon has one with Metal only; the GPU is turned off by layers there. */
const CPU_BINARIES: Readonly<Record<string, string>> = {
  'linux-x64': 'linux-x64',
  'linux-arm64': 'linux-arm64',
  'linux-arm': 'linux-armv7l',
  'linux-riscv64': 'linux-riscv64',
  'darwin-arm64': 'mac-arm64-metal',
  'darwin-x64': 'mac-x64',
  'win32-x64': 'win-x64',
  'win32-arm64': 'win-arm64',
};

const GPU_BINARIES: Readonly<Record<string, Readonly<Record<Accelerator, readonly string[]>>>> = {
  'linux-x64': { cuda: ['linux-x64-cuda', 'linux-x64-cuda-ext'], vulkan: ['linux-x64-vulkan'] },
  'win32-x64': { cuda: ['win-x64-cuda', 'win-x64-cuda-ext'], vulkan: ['win-x64-vulkan'] },
};

/** Pure. Null: there is no binary for this system. The CPU binary is always there, so that `--gpu off` works too. */
export function chooseNodeBinaries({ platform, arch, accelerator }: NodeMachine): NodeBinaries | null {
  const system = `${platform}-${arch}`;
  const cpu = CPU_BINARIES[system];
  if (cpu === undefined) return null;
  const gpu = accelerator === null ? undefined : GPU_BINARIES[system]?.[accelerator];
  const scoped = [cpu, ...(gpu ?? [])].map((name) => `@node-llama-cpp/${name}`);
  if (gpu !== undefined && accelerator !== null) return { variant: accelerator, packages: scoped };
  return { variant: cpu.endsWith('-metal') ? 'metal' : 'cpu', packages: scoped };
}

const packageSchema = z.looseObject({ dependencies: z.record(z.string(), z.string()) });
const lockSchema = z.looseObject({
  packages: z.record(z.string(), z.looseObject({ version: z.string().optional(), optional: z.boolean().optional() })),
});

/** Pure: the committed package.json and lock file with the chosen binaries as ordinary dependencies. */
export function withBinaries(
  files: { readonly packageJson: string; readonly lock: string },
  packages: readonly string[],
): { packageJson: string; lock: string } {
  const project = packageSchema.parse(JSON.parse(files.packageJson));
  const lock = lockSchema.parse(JSON.parse(files.lock));
  const dependencies = { ...project.dependencies };
  for (const name of packages) {
    const entry = lock.packages[`node_modules/${name}`];
    assert(entry?.version !== undefined, `the lock file has ${name}`);
    dependencies[name] = entry.version;
    delete entry.optional;
  }
  lock.packages[''] = { ...lock.packages[''], dependencies };
  return {
    packageJson: `${JSON.stringify({ ...project, dependencies }, null, 2)}\n`,
    lock: `${JSON.stringify(lock, null, 2)}\n`,
  };
}
