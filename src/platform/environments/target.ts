/** Where a managed environment lies on this machine, what it consists of, and whether it can be made here. */
import { createHash } from 'node:crypto';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { findAccelerator } from './accelerator.ts';
import { buildNode } from './build-node.ts';
import { buildPython, pythonRuntime } from './build-python.ts';
import type { BuildContext } from './build-step.ts';
import { missingCompiler, readCompilerFacts } from './compiler.ts';
import { thisPlatform, unsupportedReason } from './definition.ts';
import type { Definition } from './definition.ts';
import type { MarkerPlace } from './marker.ts';
import { chooseNodeBinaries } from './node-binaries.ts';
import type { NodeBinaries } from './node-binaries.ts';
import { findNpmCli } from './npm-command.ts';
import { searchPython } from './python.ts';

/** Where it lies, what runs it, and the hash that its marker must carry. */
export interface Place extends MarkerPlace {
  /** What GPU binaries add to the definition's sizes. */
  readonly gpuBytes: number;
  /** Of node environments. */
  readonly binaries: NodeBinaries | null;
}

export type Target =
  /** `build` answers with the installed packages. */
  | { readonly state: 'possible'; readonly build: (context: BuildContext) => Promise<Record<string, string>> }
  | { readonly state: 'impossible'; readonly reason: string; readonly nextStep: string };

/** Folder names that an environment may have: GPU binaries lie beside the ones without. */
export function folderNames(id: string): string[] {
  return [id, `${id}-cuda`, `${id}-vulkan`];
}

export async function placeOf(definition: Definition, folder: string, gpu: 'off' | 'auto'): Promise<Place> {
  const { platform, arch } = process;
  const accelerator = definition.kind === 'node' && gpu === 'auto' ? await findAccelerator() : null;
  const binaries = definition.kind === 'node' ? chooseNodeBinaries({ platform, arch, accelerator }) : null;
  const variant = binaries?.variant ?? 'cpu';
  const onGpu = variant === 'cuda' || variant === 'vulkan' ? variant : null;
  const name = onGpu === null ? definition.id : `${definition.id}-${onGpu}`;
  const hash = createHash('sha256').update(JSON.stringify([definition.hash, platform, arch, binaries, ...compiledFor(definition)])).digest('hex');
  const root = join(folder, name);
  const runtime = definition.kind === 'node' ? process.execPath : pythonRuntime(root, platform);
  const gpuBytes = definition.kind === 'node' && onGpu !== null ? definition.gpuBytes[onGpu] : 0;
  return { root, runtime, hash, binaries, gpuBytes };
}

/** A compiled library uses what this very processor has: in a home folder that moves to another one, it may crash. */
function compiledFor(definition: Definition): string[] {
  return definition.kind === 'python' && definition.compile !== undefined ? [cpus()[0]?.model ?? 'unknown'] : [];
}

/** Starts programs (Python candidates): asked only when the environment is not there. */
export async function targetOf(definition: Definition, { binaries }: Place): Promise<Target> {
  const unsupported = unsupportedReason(definition, thisPlatform());
  if (unsupported !== null) return { state: 'impossible', ...unsupported };
  if (definition.kind === 'python') {
    const search = await searchPython(definition);
    if (search.state === 'missing') return { state: 'impossible', reason: search.reason, nextStep: search.nextStep };
    const missing = definition.compile === undefined ? null : missingCompiler(await readCompilerFacts(), definition.title);
    if (missing !== null) return { state: 'impossible', ...missing };
    return { state: 'possible', build: (context) => buildPython(context, definition, search.python.path) };
  }
  const npmCli = findNpmCli();
  if (npmCli === null) {
    return {
      state: 'impossible',
      reason: 'npm is not found, neither beside this Node.js nor on PATH',
      nextStep: 'Install npm (Debian/Ubuntu: sudo apt install npm), or Node.js from nodejs.org, which brings it.',
    };
  }
  if (binaries === null) {
    const reason = `${definition.title} has no binary for ${process.platform}-${process.arch}`;
    return { state: 'impossible', reason, nextStep: 'Leave this engine out with --engine.' };
  }
  return { state: 'possible', build: (context) => buildNode(context, definition, { binaries, npmCli }) };
}
