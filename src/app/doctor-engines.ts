/** What the doctor looks at in an engine, without starting it. */
import { join } from 'node:path';
import { z } from 'zod';
import { parseLlamaBuild } from '../core/doctor/architectures.ts';
import type { EngineLook } from '../core/doctor/facts.ts';
import type { AvailableEngine, Detection, Device, Engine } from '../core/engine.ts';
import { readText } from '../platform/doctor/read-text.ts';
import { DEFINITIONS_FOLDER, loadDefinition } from '../platform/environments/definition.ts';
import { cacheFolder } from '../platform/folders.ts';
import { isUrl, lookAtEngine } from './prepare-engines.ts';
import type { EnginePlaces } from './prepare-engines.ts';

/** @throws AppError `usage` for an unknown id */
export async function lookAtEngineForDoctor(spec: string, places: EnginePlaces): Promise<EngineLook> {
  const { engine, detection } = await lookAtEngine(spec, places);
  const found = detection.state === 'available' ? detection : null;
  const managed = found !== null && found.location.startsWith(join(cacheFolder(), 'environments'));
  return {
    id: engine.id,
    state: detection.state,
    ...whyNot(detection),
    version: found?.build.version ?? null,
    downloadBytes: detection.state === 'installable' ? detection.downloadBytes : 0,
    device:
      found === null ? 'unknown' : expectedDevice(found, { managed, platform: process.platform, arch: process.arch }),
    llamaBuild: found === null ? null : await llamaBuildOf(found),
    isLlama: engine.modelFormat === 'gguf',
    convertsModel: engine.modelFormat === 'mlx',
    needsPython: await needsPython(engine),
    ownProgram: found === null || managed || isUrl(found.location) ? null : found.location,
  };
}

function whyNot(detection: Detection): Pick<EngineLook, 'reason' | 'nextStep'> {
  if (detection.state !== 'unavailable') return { reason: null, nextStep: null };
  return { reason: detection.reason, nextStep: detection.nextStep };
}

async function needsPython({ environment }: Engine): Promise<boolean> {
  if (environment === null) return false;
  return (await loadDefinition(DEFINITIONS_FOLDER, environment)).kind === 'python';
}

/**
 * Pure: where it will compute. Managed environments carry the GPU in their name; without one they are builds for the
 * CPU, but for Apple silicon, whose only builds use Metal. A program of the user's own does not tell.
 */
export function expectedDevice(
  { device, location }: Pick<AvailableEngine, 'device' | 'location'>,
  { managed, platform, arch }: { readonly managed: boolean; readonly platform: string; readonly arch: string },
): Device {
  if (device !== 'unknown' || !managed) return device;
  if (/-cuda([\\/]|$)/.test(location)) return 'cuda';
  if (/-vulkan([\\/]|$)/.test(location)) return 'vulkan';
  return platform === 'darwin' && arch === 'arm64' ? 'metal' : 'cpu';
}

const releaseSchema = z.object({ release: z.string().max(100) });

/** Build of the llama.cpp inside, as far as files and versions tell; null where only a loaded engine does. */
async function llamaBuildOf({ build, location }: AvailableEngine): Promise<number | null> {
  if (!build.version.startsWith('node-llama-cpp ')) return buildFromVersion(build.version);
  const text = await readText(join(location, 'node_modules', 'node-llama-cpp', 'llama', 'binariesGithubRelease.json'));
  const release = releaseSchema.safeParse(parseJson(text)).data?.release;
  return release === undefined ? null : parseLlamaBuild(release);
}

/**
 * Pure. `llama-server 6384 (fb15d64)` tells it. xllamacpp's versions end with the build that they were made from, for its
 * releases follow the tags bNNNN: https://github.com/xorbitsai/xllamacpp/pull/182 (2026-11-25).
 */
export function buildFromVersion(version: string): number | null {
  const server = /^llama-server (.+)$/.exec(version)?.[1];
  if (server !== undefined) return parseLlamaBuild(server);
  const wheel = /^xllamacpp \d{4}\.\d{1,2}\.(\d{4,6})$/.exec(version)?.[1];
  return wheel === undefined ? null : Number(wheel);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
