import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { buildCompiled } from './build-compiled.ts';
import { runStep } from './build-step.ts';
import type { BuildContext } from './build-step.ts';
import { sizesOf } from './definition.ts';
import type { Definition } from './definition.ts';
import { placeSource } from './place-source.ts';

const PACKAGES_CODE = `
import importlib.metadata, json
print(json.dumps({d.metadata["Name"].lower().replace("_", "-"): d.version for d in importlib.metadata.distributions()}))
`;

/** As every step of an installation; gigabytes get the time that a line of 5 Mbit/s needs. */
const INSTALL_TIMEOUT_MS = 30 * 60_000;
const SLOW_BYTES_PER_MS = 600;

type PythonDefinition = Extract<Definition, { kind: 'python' }>;

export function pythonRuntime(root: string, platform: NodeJS.Platform): string {
  return platform === 'win32' ? join(root, 'Scripts', 'python.exe') : join(root, 'bin', 'python');
}

/**
 * A virtual environment in place (they cannot be moved), filled with exactly the listed packages; where the definition
 * says so, the engine itself is compiled into it.
 * @returns installed packages with their versions
 */
export async function buildPython(context: BuildContext, definition: PythonDefinition, python: string): Promise<Record<string, string>> {
  const { root, title, onProgress } = context;
  await mkdir(root, { recursive: true });
  onProgress(`${title}: making a Python environment`);
  await runStep(context, { what: 'making a Python environment', command: python, args: ['-I', '-m', 'venv', root] });
  const runtime = pythonRuntime(root, process.platform);
  const requirements = join(definition.folder, 'requirements.txt');
  await runStep(context, {
    what: 'pip install',
    command: runtime,
    // Wheels only: a source build would be another engine than the one that we name, if it builds at all.
    args: [
      '-I', '-m', 'pip', 'install', '--no-input', '--disable-pip-version-check',
      ...(definition.resolvesDependencies === true ? [] : ['--no-deps']),
      '--only-binary', ':all:', '--progress-bar', 'off', '--requirement', requirements,
    ],
    timeoutMs: Math.max(INSTALL_TIMEOUT_MS, sizesOf(definition, process).downloadBytes / SLOW_BYTES_PER_MS),
  });
  const compiled = await buildCompiled(context, definition, runtime);
  const placed = await placeSource(context, definition, runtime);
  onProgress(`${title}: checking`);
  await runStep(context, { what: 'the check', command: runtime, args: ['-I', '-c', definition.check] });
  const list = await runStep({ ...context, onProgress: () => {} }, { what: 'listing', command: runtime, args: ['-I', '-c', PACKAGES_CODE] });
  return { ...z.record(z.string(), z.string()).parse(JSON.parse(list)), ...compiled, ...placed };
}
