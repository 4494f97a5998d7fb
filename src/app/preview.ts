/** What a run would do, found out without installing, downloading or measuring anything. */
import { findShape } from '../models/synthesize/plan-twin.ts';
import { isTwinSpec, parseTwinSpec } from '../models/synthesize/spec.ts';
import { createEnvironments } from '../platform/environments/environments.ts';
import { cacheFolder } from '../platform/folders.ts';
import { carriedModelSpec } from './carried-model.ts';
import { DEFAULT_MODEL, planDefaults } from './plan.ts';
import { enginesOf, foundIn, rungPath, serverAfterInstall } from './ladder.ts';
import type { PlanFile } from './plan.ts';
import { lookAtEngines } from './prepare-engines.ts';
import { minutes } from './wording.ts';

export interface PreviewAsk {
  readonly asked: PlanFile;
  readonly enginePaths: ReadonlyMap<string, string>;
}

async function modelText(model: string | undefined): Promise<string> {
  if (model === undefined) return `${DEFAULT_MODEL} (98 MB, downloaded once), requantised to Q4_0`;
  if (!isTwinSpec(model)) return model;
  const { preset, id } = parseTwinSpec(model);
  const { of } = await findShape(id);
  return `a twin of ${of}, ${preset?.name ?? 'types as in the file'}: random weights, speed only`;
}

/** @returns the lines that `--dry-run` prints. */
export async function previewRun({ asked, enginePaths }: PreviewAsk): Promise<string[]> {
  const environments = createEnvironments({ cacheFolder: cacheFolder(), gpu: asked.gpu ?? 'auto', onProgress() {} });
  const isLadder = asked.ladder === true;
  const places = { enginePaths, environments, ...(isLadder ? { pathFor: rungPath(environments) } : {}) };
  const engines = await lookAtEngines({ engines: await enginesOf(asked, foundIn(places)), ...places });
  const carried = carriedModelSpec(engines.flatMap(({ found }) => (found === null ? [] : [{ found }])));
  const note = isLadder ? serverAfterInstall(engines) : null;
  const { prompts, generate, budgetMs, blocks } = planDefaults(asked);
  return [
    '',
    `Model     ${await modelText(asked.model ?? carried ?? undefined)}`,
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
