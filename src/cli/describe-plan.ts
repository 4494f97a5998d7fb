import type { PreparedRun } from '../app/prepare.ts';
import { minutes } from '../app/wording.ts';

type EngineFacts = PreparedRun['manifest']['engines'][number];
type ModelFacts = PreparedRun['manifest']['models'][number];

/** What will be done and how long it will take, before it starts. */
export function describePlan({ manifest, modelReason }: PreparedRun): string {
  const { plan, models, engines, machine, settings } = manifest;
  const [model] = models;
  const available = engines.filter(({ state }) => state === 'available');
  const prompts = plan.prompts.map(({ name, tokenCount }) =>
    name.endsWith('-tokens') ? `${tokenCount} tokens` : `${name} (${tokenCount} tokens)`,
  );
  const lines = [
    '',
    `Model     ${model?.name}, ${model?.quantisation}, ${((model?.fileBytes ?? 0) / 1e6).toFixed(0)} MB${model?.derivedBy == null ? '' : `: ${model.derivedBy}`}`,
    ...(modelReason === null ? [] : [`          No model was named: ${modelReason}`]),
    ...models.slice(1).map((other) => `          ${twinText(other, model)}`),
    ...engineLines(plan.ladder, available),
    `Prompts   ${prompts.join(', ')}; ${plan.generateTokens} tokens generated after each`,
    `Machine   ${machine.cpu}, ${machine.physicalCores} cores, ${(machine.memoryBytes / 2 ** 30).toFixed(0)} GiB, ${machine.os}`,
    `Settings  ${settings.threads} ${settings.threads === 1 ? 'thread' : 'threads'}, context ${settings.contextTokens}, batch ${settings.batchTokens}, KV ${settings.kvType}, flash attention ${settings.flashAttention ? 'on' : 'off'}, GPU ${settings.gpu}`,
    `Time      at most ${minutes(plan.budgetMs)}: first each engine is checked, then up to ${plan.blocks} blocks with a fresh process per engine${available.some(({ runningInstance }) => runningInstance) ? '; what runs already stays as it is' : ''}`,
    '',
  ];
  return lines.join('\n');
}

/** A ladder names what stands on one build, and what brings its own. */
function engineLines(isLadder: boolean, available: readonly EngineFacts[]): string[] {
  const name = ({ id, build }: EngineFacts): string => `${id} (${build?.version})`;
  if (!isLadder) return [`Engines   ${available.map(name).join(', ')}`];
  const shared = available.filter(({ libraryId }) => libraryId !== undefined);
  const others = available.filter(({ libraryId }) => libraryId === undefined);
  const oneBuild =
    shared.length > 1
      ? `one build (${shared[0]?.libraryId})`
      : 'no two engines are known to share one build: each cost is of build + layer together';
  return [
    `Ladder    ${available.map(name).join(', ')}; bottom first`,
    `          ${shared.length > 1 ? `${shared.map(({ id }) => id).join(', ')}: ` : ''}${oneBuild}`,
    ...(shared.length > 1 && others.length > 0
      ? [`          ${others.map(({ id }) => id).join(', ')}: as shipped, build + layer together`]
      : []),
  ];
}

/** What is known of a further model before anything runs. */
function twinText(other: ModelFacts, model: ModelFacts | undefined): string {
  if (other.format === 'served') return `served: ${other.name}; whether its weights are the same cannot be proven`;
  return `${other.format}: ${other.quantisation}, weights ${other.fingerprint === model?.fingerprint ? 'bit-identical' : 'DIFFER'}`;
}
