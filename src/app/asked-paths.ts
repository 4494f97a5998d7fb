/** What a plan names, before anything is installed: absolute, and there. */
import { existsSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { AppError } from '../core/errors.ts';
import { isAdapterFile } from '../engines/registry.ts';
import { splitLlamafileSpec } from '../models/llamafile/spec.ts';
import type { HubOptions } from '../models/sources/hub.ts';
import { checkSpec, isRemoteSpec } from '../models/sources/resolve-model.ts';
import { findShape } from '../models/synthesize/find-shape.ts';
import { isTwinSpec, parseTwinSpec, twinSpec } from '../models/synthesize/spec.ts';
import { DEFAULT_MODEL } from './plan.ts';
import type { PlanFile } from './plan.ts';
import { isUrl, parseEngineSpec } from './prepare-engines.ts';

/** The record must be readable from any folder. */
export function withAbsolutePaths(asked: PlanFile): PlanFile {
  const { model, engines, prompts } = asked;
  return {
    ...asked,
    ...(model === undefined ? {} : { model: withAbsoluteModel(model) }),
    ...(engines === undefined ? {} : { engines: engines.map(withAbsolutePath) }),
    ...(prompts === undefined
      ? {}
      : {
          prompts: prompts.map((prompt) => (typeof prompt === 'string' && isFile(prompt) ? resolve(prompt) : prompt)),
        }),
  };
}

function withAbsoluteModel(model: string): string {
  if (isRemoteSpec(model)) return model;
  if (!isTwinSpec(model)) return resolve(model);
  const { preset, id } = parseTwinSpec(model);
  return existsSync(id) ? twinSpec(preset?.name ?? null, resolve(id)) : model;
}

function withAbsolutePath(spec: string): string {
  const { name, path } = parseEngineSpec(spec);
  if (path !== null) return isUrl(path) ? spec : `${name}=${resolve(path)}`;
  return isAdapterFile(name) ? resolve(name) : name;
}

/**
 * A mistyped path, or a model of the hub that cannot be had, is told before anything is installed.
 * @throws AppError `model-not-found`, `usage`; for a twin as `findShape`
 */
export async function requireModel(model: string | undefined, hub: HubOptions): Promise<void> {
  if (model === undefined) return;
  if (isRemoteSpec(model)) return checkSpec(model);
  if (isTwinSpec(model)) return void (await findShape(parseTwinSpec(model).id, hub));
  if (existsSync(splitLlamafileSpec(model).path)) return;
  throw new AppError('model-not-found', `There is no model at ${model}.`, {
    hint: `Check the path, or leave it out to use ${DEFAULT_MODEL}.`,
  });
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}
