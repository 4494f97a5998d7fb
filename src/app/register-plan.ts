/** Plans what fits into the time and registers it, once per run: blocks, looks and levels, before the first block. */
import type { Device } from '../core/engine.ts';
import { lookMs, planCanary } from '../core/protocol/canary-plan.ts';
import type { CanaryCost } from '../core/protocol/canary-plan.ts';
import { planRun } from '../core/protocol/plan-run.ts';
import type { PlannedEngine, RunPlan } from '../core/protocol/plan-types.ts';
import type { RunEvent } from '../core/record.ts';
import { expectedDetectable } from '../core/stats/detectable.ts';
import { ALPHA, withAlphas } from '../core/verdict/looks.ts';
import { retirementRule } from '../core/verdict/retirement.ts';
import type { RunLog } from '../store/run-folder.ts';
import type { PreparedEngine } from './machinery.ts';
import type { Ui } from './ui.ts';
import { describeExpected, minutes } from './wording.ts';

export interface RegisterAsk {
  readonly log: RunLog;
  readonly ui: Ui;
  readonly engines: readonly PlannedEngine[];
  readonly prepared: readonly PreparedEngine[];
  readonly leftMs: number;
  readonly append: (event: RunEvent) => Promise<void>;
}

/** A load on the CPU says nothing about these; a device that is not told may be the CPU. */
const GPU_DEVICES: readonly Device[] = ['metal', 'cuda', 'vulkan', 'rocm'];

/** A resumed run keeps its plan: other work in its second half could not be compared with its first. */
export async function registerPlan(ask: RegisterAsk): Promise<{ readonly plan: RunPlan; readonly canary: CanaryCost }> {
  const { log, engines } = ask;
  const registered = log.events.find((event) => event.type === 'plan');
  const remainingMs = registered?.remainingMs ?? ask.leftMs;
  const { prompts, generateTokens, iterations, blocks: maxBlocks, ladder } = log.manifest.plan;
  const planWith = (lookCostMs: number): RunPlan =>
    planRun({
      engines: engines.map(({ pilot, ...engine }) => ({
        ...engine,
        pilot: { ...pilot, startMs: pilot.startMs + lookCostMs },
      })),
      prompts,
      generateTokens,
      iterations,
      maxBlocks,
      remainingMs,
      // A ladder asks what every rung costs, and four blocks tell that badly.
      earlyLook: !ladder,
    });
  const canary = canaryFor(planWith(0), ask.prepared);
  const plan = planWith(lookMs(canary, engines.length));
  if (registered === undefined) await register(ask, plan, remainingMs);
  return { plan, canary };
}

async function register({ log, ui, append }: RegisterAsk, made: RunPlan, remainingMs: number): Promise<void> {
  const { margin, ladder } = log.manifest.plan;
  const { blocks, looks, estimateMsTotal } = made;
  const engineCount = made.engines.filter(({ referenceBackend }) => referenceBackend === null).length;
  // A ladder asks what every rung costs, the slowest, too.
  const retirement = ladder ? null : retirementRule({ rankedCount: engineCount, lookCount: looks.length });
  const expected = expectedDetectable({
    count: blocks,
    alpha: withAlphas(looks, retirement?.alpha).at(-1)?.alpha ?? ALPHA,
    engineCount,
    margin,
  });
  await append({
    type: 'plan',
    blocks,
    looks: [...looks],
    remainingMs,
    estimateMs: estimateMsTotal,
    ...(expected === null ? {} : { expected }),
    ...(retirement === null ? {} : { retirement }),
  });
  for (const missing of made.notMeasured) await append({ type: 'not-measured', ...missing });
  for (const note of made.notes) ui.line(`  ${note}`);
  if (blocks === 0 || made.engines.length === 0) {
    ui.line('There is nothing left to measure: no engine passed its check and fits the time.');
    return;
  }
  ui.line(
    `Measuring ${blocks} blocks of ${made.engines.map(({ engine }) => engine).join(', ')}: about ${minutes(estimateMsTotal)}.`,
  );
  if (expected !== null) ui.line(describeExpected(expected));
}

/** By predicted costs alone, so that a resumed run plans the same. */
function canaryFor(
  { engines, estimateMsPerBlock, estimateMsTotal }: RunPlan,
  prepared: readonly PreparedEngine[],
): CanaryCost {
  const onCpu = engines.filter(({ engine }) =>
    prepared.some(({ engine: { id }, found }) => id === engine && !GPU_DEVICES.includes(found.device)),
  );
  return planCanary({
    cellMs: estimateMsPerBlock / Math.max(1, engines.length),
    cellsPerBlock: onCpu.length,
    runMs: estimateMsTotal,
  });
}
