/** What a run would do, found out without installing, downloading or measuring anything. */
import { findShape, isHubSpec } from '../models/synthesize/find-shape.ts';
import { isTwinSpec, parseTwinSpec } from '../models/synthesize/spec.ts';
import { createEnvironments } from '../platform/environments/environments.ts';
import { cacheFolder } from '../platform/folders.ts';
import { carriedModelSpec } from './carried-model.ts';
import { DEFAULT_MODEL, planDefaults } from './plan.ts';
import { findDefaultModel } from './default-model.ts';
import { enginesOf, foundIn, rungPath, serverAfterInstall } from './ladder.ts';
import type { PlanFile } from './plan.ts';
import { lookAtEngines } from './prepare-engines.ts';
import type { EngineSighting } from './prepare-engines.ts';
import { minutes } from './wording.ts';

export interface PreviewAsk {
  readonly asked: PlanFile;
  readonly enginePaths: ReadonlyMap<string, string>;
}

const DEMONSTRATION = `${DEFAULT_MODEL} (98 MB, downloaded once), requantised to Q4_0`;

/** What the run decides with the engines that it finds; before they are installed, what it depends on. */
async function defaultText(asked: PlanFile, engines: readonly EngineSighting[]): Promise<string> {
  const found = engines.flatMap(({ engine, found: place }) => (place === null ? [] : [{ engine, found: place }]));
  if (found.length === 0 || engines.some(({ isInstallable }) => isInstallable))
    return `${DEMONSTRATION}; or a twin of Llama 3.2 1B, where the installed engines are predicted to measure one in the time`;
  const { spec, reason } = await findDefaultModel(asked, found);
  const name = isTwinSpec(spec) ? 'a twin, made here' : DEMONSTRATION;
  return `${name}\n          No model was named: ${reason}`;
}

async function modelText(model: string): Promise<string> {
  if (!isTwinSpec(model)) return model;
  const { preset, id } = parseTwinSpec(model);
  // Nothing is fetched for a look at the plan.
  const of = isHubSpec(id) ? `${id} (its header is read when the run starts)` : (await findShape(id)).of;
  return `a twin of ${of}, ${preset?.name ?? 'types as in the file'}: random weights, speed only`;
}

/** @returns the lines that `--dry-run` prints. */
export async function previewRun({ asked, enginePaths }: PreviewAsk): Promise<string[]> {
  const environments = createEnvironments({ cacheFolder: cacheFolder(), gpu: asked.gpu ?? 'auto', onProgress() {} });
  const isLadder = asked.ladder === true;
  const places = { enginePaths, environments, ...(isLadder ? { pathFor: rungPath(environments) } : {}) };
  const engines = await lookAtEngines({ engines: await enginesOf(asked, foundIn(places)), ...places });
  const carried = carriedModelSpec(engines.flatMap(({ found }) => (found === null ? [] : [{ found }])));
  const named = asked.model ?? carried;
  const note = isLadder ? serverAfterInstall(engines) : null;
  const { prompts, generate, budgetMs, blocks } = planDefaults(asked);
  return [
    '',
    `Model     ${named === null ? await defaultText(asked, engines) : await modelText(named)}`,
    ...engines.map(
      ({ id, text }, index) => `${index > 0 ? '         ' : isLadder ? 'Ladder   ' : 'Engines  '} ${id}: ${text}`,
    ),
    ...(note === null ? [] : [`          ${note}`]),
    `Prompts   ${prompts.map((prompt) => (/^\d+$/.test(String(prompt)) ? `${prompt} tokens` : prompt)).join(', ')}; ${generate} tokens generated after each`,
    `Time      at most ${minutes(budgetMs)} of measuring, up to ${blocks} blocks; installing comes before it`,
    '',
    'Nothing was installed or measured. Without --dry-run the run starts.',
  ];
}
