/** What fits into the time that is left, decided before the run and never by its results. */
import { assert } from '../assert.ts';
import { BLOCKS_FIRM } from '../verdict/compare-family.ts';
import { registerLooks } from '../verdict/looks.ts';
import { capacityMs, draftTotalMs, engineBlockMs, fittingBlocks, makeCell, toSchedule } from './draft.ts';
import type { Draft, DraftEngine } from './draft.ts';
import type { NotMeasured, PlanInput, PlannedEngine, RunPlan } from './plan-types.ts';
import {
  capExpensive,
  capLongPrompts,
  dropExpensive,
  fewerReferenceBlocks,
  fewerTokens,
  formatSeconds,
  giveUpSomething,
  omit,
  oneIteration,
  shortenExpensive,
} from './reduce.ts';
import type { Planning } from './reduce.ts';

/** All reference backends together; they are never ranked. */
const REFERENCE_SHARE = 0.25;
/** A single block may take more: one point says "at least N times slower", none says nothing. */
const REFERENCE_SINGLE_SHARE = 0.4;
const REFERENCE_BLOCKS_MAX = 3;

/**
 * Makes the asked work fit (P7). Steps, each only while fewer than six blocks fit: one block of the reference
 * backends; K to 1; the expensive cells of an engine far behind (three blocks, then 64 tokens, then none); long
 * prompts to three blocks; 64 generated tokens for everybody; and where not even three blocks fit: fewer engines or prompts.
 * Pure, and the same input gives the same plan: a resumed run plans again from its recorded pilot.
 */
export function planRun(input: PlanInput): RunPlan {
  assert(input.prompts.length > 0, 'a run has prompts');
  let planning = start(input);
  for (const reduce of [
    fewerReferenceBlocks,
    oneIteration,
    capExpensive,
    shortenExpensive,
    dropExpensive,
    capLongPrompts,
    fewerTokens,
  ]) {
    if (isFirm(planning.draft)) break;
    planning = reduce(planning);
  }
  while (planning.draft.ranked.length > 0 && fittingBlocks(planning.draft) === 0) planning = giveUpSomething(planning);
  return finish(planning);
}

function isFirm(draft: Draft): boolean {
  return fittingBlocks(draft) >= Math.min(BLOCKS_FIRM, draft.input.maxBlocks);
}

function start(input: PlanInput): Planning {
  const ranked = input.engines.filter(({ referenceBackend }) => referenceBackend === null);
  const references = input.engines.filter(({ referenceBackend }) => referenceBackend !== null);
  const full = (engine: PlannedEngine): DraftEngine => ({
    engine,
    cells: input.prompts.map((prompt) => makeCell(engine, input, prompt, input.iterations, input.maxBlocks)),
  });
  const planned = planReferences(input, references, ranked.length === 0);
  return {
    draft: { input, ranked: ranked.map(full), references: planned.kept },
    notMeasured: planned.notMeasured,
    notes: [],
  };
}

/** The shortest prompt, K = 1, up to three blocks. */
function planReferences(
  input: PlanInput,
  references: readonly PlannedEngine[],
  alone: boolean,
): { kept: DraftEngine[]; notMeasured: NotMeasured[] } {
  const [shortest, ...longer] = input.prompts.toSorted((left, right) => left.tokenCount - right.tokenCount);
  assert(shortest !== undefined, 'a run has a prompt');
  const kept: DraftEngine[] = [];
  const notMeasured: NotMeasured[] = [];
  for (const engine of references) {
    const blockMs = engineBlockMs({ engine, cells: [makeCell(engine, input, shortest, 1, 1)] }, 0);
    const blocks = referenceBlocks(input, blockMs / (capacityMs(input) / references.length), alone);
    if (blocks >= 1) kept.push({ engine, cells: [makeCell(engine, input, shortest, 1, blocks)] });
    else
      notMeasured.push(
        omit(
          engine.id,
          shortest.name,
          'too slow for a reference backend, which leaves the time to the ranked engines',
          blockMs,
        ),
      );
    for (const prompt of longer) {
      const cell = makeCell(engine, input, prompt, 1, 1);
      notMeasured.push(
        omit(engine.id, prompt.name, 'a reference backend is measured on the shortest prompt only', cell.estimateMs),
      );
    }
  }
  return { kept, notMeasured };
}

function referenceBlocks(input: PlanInput, blockShare: number, alone: boolean): number {
  const share = alone ? 1 : REFERENCE_SHARE;
  const blocks = Math.min(REFERENCE_BLOCKS_MAX, input.maxBlocks, Math.floor(share / blockShare));
  return blocks === 0 && blockShare <= REFERENCE_SINGLE_SHARE ? 1 : blocks;
}

function finish({ draft, notMeasured, notes }: Planning): RunPlan {
  const { input } = draft;
  const only = draft.ranked.length === 0;
  const blocks = only
    ? Math.max(0, ...draft.references.flatMap(({ cells }) => cells.map((cell) => cell.blocks)))
    : fittingBlocks(draft);
  const schedules = [...draft.ranked, ...draft.references].map((engine) => toSchedule(engine, blocks));
  const order = input.engines.map(({ id }) => id);
  const iterations = Math.max(0, ...draft.ranked.flatMap(({ cells }) => cells.map((cell) => cell.iterations)));
  return {
    state: schedules.length === 0 ? 'refused' : draft.ranked.length > 1 ? 'comparison' : 'single-engine',
    engines: schedules.toSorted((left, right) => order.indexOf(left.engine) - order.indexOf(right.engine)),
    blocks,
    iterations: only ? 1 : iterations,
    generateTokens: input.generateTokens,
    looks: registerLooks(blocks, input).map((look) => look.blocks),
    estimateMsPerBlock: schedules.reduce((sum, { estimateMsPerBlock }) => sum + estimateMsPerBlock, 0),
    estimateMsTotal: draftTotalMs(draft, blocks),
    notMeasured,
    notes: [...notes, ...closingNotes(draft, blocks)],
  };
}

function closingNotes(draft: Draft, blocks: number): string[] {
  if (draft.ranked.length === 0) {
    if (draft.references.length > 0) return [];
    return [draft.input.engines.length === 0 ? 'No engine is left to measure.' : 'No engine fits into the time.'];
  }
  const total = `about ${formatSeconds(draftTotalMs(draft, blocks))} of ${formatSeconds(draft.input.remainingMs)}`;
  if (blocks >= BLOCKS_FIRM) return [`${blocks} blocks are planned, ${total}.`];
  return [`${blocks} blocks are planned, ${total}: fewer than ${BLOCKS_FIRM} make a PRELIMINARY result.`];
}
