/** From what the doctor is asked to look at to a look: a file here, or a model on the hub. */
import type { ModelLook } from '../core/doctor/facts.ts';
import { AppError } from '../core/errors.ts';
import type { HubOptions } from '../models/sources/hub.ts';
import type { Mount } from '../platform/doctor/linux.ts';
import { lookAtHubModel } from './doctor-hub.ts';
import { lookAtModel, modelPath, unreadable } from './doctor-model.ts';

export interface ModelTarget {
  /** Path, or what names it on the hub. */
  readonly name: string;
  look(mounts: readonly Mount[]): Promise<ModelLook>;
}

/**
 * Null: nothing was named and the demonstration model is not in the cache.
 * @throws AppError `model-not-found`, `usage` for a model that is no file; for one on the hub as `runoff models pull`
 */
export async function findModel(spec: string | null, hub: HubOptions): Promise<ModelTarget | null> {
  if (spec?.startsWith('hf:') === true) return onHub(spec, hub);
  const path = modelPath(spec);
  return path === null ? null : atPath(path);
}

function atPath(path: string): ModelTarget {
  return { name: path, look: (mounts) => lookAtModel(path, mounts) };
}

/** Damaged headers and unknown formats are findings; what cannot be had is an error. */
async function onHub(spec: string, hub: HubOptions): Promise<ModelTarget> {
  try {
    const found = await lookAtHubModel(spec, hub);
    return found.kind === 'local' ? atPath(found.path) : { name: found.name, look: async () => found.model };
  } catch (error) {
    const isDamaged =
      error instanceof AppError && (error.code === 'model-invalid' || error.code === 'model-unsupported');
    if (!isDamaged) throw error;
    // No download can be gone on with: the bytes are missing there.
    const there = error.code === 'model-invalid' ? 'The file on the hub is damaged: take another one.' : error.hint;
    const look = { ...unreadable(spec, error), fileBytes: null, missingBytes: null, hint: there ?? null };
    return { name: spec, look: async () => look };
  }
}
