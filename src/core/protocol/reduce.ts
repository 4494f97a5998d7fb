/** The single steps by which a plan is made to fit; each returns a new planning with a note in words. */
import { assert } from '../assert.ts';
import { median } from '../stats/describe.ts';
import { BLOCKS_FIRM, BLOCKS_MIN } from '../verdict/compare-family.ts';
import { capacityMs, engineTotalMs, makeCell, mapCells } from './draft.ts';
import type { Draft, DraftEngine } from './draft.ts';
import type { NotMeasured, PromptCell } from './plan-types.ts';

/** A rate over fewer generated tokens is mostly start-up (2 tokens: off by up to 35%). */
const GENERATE_TOKENS_MIN = 64;
/** A cell this many times dearer than the other engines' median is "far behind". */
const FAR_BEHIND_FACTOR = 4;
const FAR_BEHIND = 'Far behind,';
/** And worth touching only when six blocks of it take more than this share of the time. */
const EXPENSIVE_SHARE = 0.15;
/** Prompts from this length on may be measured in fewer blocks than the others. */
const LONG_PROMPT_TOKENS = 1_024;

export interface Planning {
  readonly draft: Draft;
  readonly notMeasured: readonly NotMeasured[];
  readonly notes: readonly string[];
}

export function omit(engine: string, prompt: string, reason: string, estimateMs: number): NotMeasured {
  return { engine, prompt, reason: `${reason} (est. ${formatSeconds(estimateMs)})`, estimateMs };
}

export function formatSeconds(ms: number): string {
  return ms < 10_000 ? `${(ms / 1_000).toFixed(1)} s` : `${Math.round(ms / 1_000)} s`;
}

export function fewerReferenceBlocks(planning: Planning): Planning {
  const { draft } = planning;
  if (!draft.references.some(({ cells }) => cells.some(({ blocks }) => blocks > 1))) return planning;
  const references = draft.references.map((engine) => ({
    ...engine,
    cells: engine.cells.map((cell) => ({ ...cell, blocks: 1 })),
  }));
  return note(
    { ...planning, draft: { ...draft, references } },
    'Reference backends are measured in one block, to leave time for the ranked engines.',
  );
}

export function oneIteration(planning: Planning): Planning {
  if (planning.draft.input.iterations === 1 || planning.draft.ranked.length === 0) return planning;
  const draft = mapCells(planning.draft, (cell) => ({ ...cell, iterations: 1 }));
  return note(
    { ...planning, draft },
    `One measured iteration per prompt and process instead of ${planning.draft.input.iterations}: more blocks say more than more iterations.`,
  );
}

/** Cells far behind the other engines' on the same prompt that eat the budget. */
function isExpensive(draft: Draft, engine: DraftEngine, cell: PromptCell): boolean {
  const others = draft.ranked.flatMap((other) =>
    other === engine ? [] : other.cells.filter(({ prompt }) => prompt === cell.prompt),
  );
  if (others.length === 0) return false;
  const farBehind = cell.estimateMs >= FAR_BEHIND_FACTOR * median(others.map(({ estimateMs }) => estimateMs));
  return farBehind && BLOCKS_FIRM * cell.estimateMs > EXPENSIVE_SHARE * capacityMs(draft.input);
}

function changeExpensive(
  planning: Planning,
  change: (cell: PromptCell) => PromptCell | null,
  words: (cells: string) => string,
): Planning {
  const touched: string[] = [];
  const gone: NotMeasured[] = [];
  const draft = mapCells(planning.draft, (cell, engine) => {
    if (!isExpensive(planning.draft, engine, cell)) return cell;
    const changed = change(cell);
    if (changed === cell) return cell;
    touched.push(`${engine.engine.id} on "${cell.prompt}"`);
    if (changed === null) {
      gone.push(
        omit(
          engine.engine.id,
          cell.prompt,
          'far behind the other engines, and three blocks do not fit',
          BLOCKS_MIN * cell.estimateMs,
        ),
      );
    }
    return changed;
  });
  if (touched.length === 0) return planning;
  // A later step takes further what an earlier one began: its note replaces the earlier note.
  const notes = planning.notes.filter((text) => !text.startsWith(FAR_BEHIND));
  return note(
    { draft, notMeasured: [...planning.notMeasured, ...gone], notes },
    `${FAR_BEHIND} ${words(touched.join(', '))}`,
  );
}

export function capExpensive(planning: Planning): Planning {
  return changeExpensive(
    planning,
    (cell) => (cell.blocks > BLOCKS_MIN ? { ...cell, blocks: BLOCKS_MIN } : cell),
    (cells) => `so measured in ${BLOCKS_MIN} blocks only (PRELIMINARY): ${cells}.`,
  );
}

export function shortenExpensive(planning: Planning): Planning {
  return changeExpensive(
    planning,
    (cell) => (cell.generateTokens > GENERATE_TOKENS_MIN ? shorten(cell) : cell),
    (cells) => `so shortened to ${GENERATE_TOKENS_MIN} generated tokens, shown and not compared: ${cells}.`,
  );
}

function shorten(cell: PromptCell): PromptCell {
  return {
    ...cell,
    generateTokens: GENERATE_TOKENS_MIN,
    shortened: `${GENERATE_TOKENS_MIN} instead of ${cell.generateTokens} generated tokens`,
  };
}

export function dropExpensive(planning: Planning): Planning {
  return changeExpensive(
    planning,
    () => null,
    (cells) => `and too slow for the time, so not measured: ${cells}.`,
  );
}

export function capLongPrompts(planning: Planning): Planning {
  const { prompts } = planning.draft.input;
  const long = prompts.filter(({ tokenCount }) => tokenCount >= LONG_PROMPT_TOKENS);
  if (long.length === 0 || long.length === prompts.length) return planning;
  const draft = mapCells(planning.draft, (cell) =>
    cell.promptTokens >= LONG_PROMPT_TOKENS ? { ...cell, blocks: Math.min(cell.blocks, BLOCKS_MIN) } : cell,
  );
  const names = long.map(({ name }) => `"${name}"`).join(', ');
  return note(
    { ...planning, draft },
    `Long prompts are measured in ${BLOCKS_MIN} blocks only (PRELIMINARY): ${names}.`,
  );
}

export function fewerTokens(planning: Planning): Planning {
  const asked = planning.draft.input.generateTokens;
  if (asked <= GENERATE_TOKENS_MIN || planning.draft.ranked.length === 0) return planning;
  const input = { ...planning.draft.input, generateTokens: GENERATE_TOKENS_MIN };
  const draft = mapCells({ ...planning.draft, input }, (cell) => ({
    ...cell,
    generateTokens: GENERATE_TOKENS_MIN,
    shortened: null,
  }));
  const references = draft.references.map((engine) => ({
    ...engine,
    cells: input.prompts.flatMap((prompt) =>
      engine.cells
        .filter(({ prompt: name }) => name === prompt.name)
        .map((cell) => makeCell(engine.engine, input, prompt, cell.iterations, cell.blocks)),
    ),
  }));
  return note(
    { ...planning, draft: { ...draft, references } },
    `Every engine generates ${GENERATE_TOKENS_MIN} tokens instead of ${asked}.`,
  );
}

/** Not even three blocks fit: the slowest engine goes if it costs twice the next, else the longest prompt, else the slowest anyway. */
export function giveUpSomething(planning: Planning): Planning {
  const { draft } = planning;
  const [slowest, next] = draft.ranked.toSorted(
    (left, right) => engineTotalMs(right, BLOCKS_MIN) - engineTotalMs(left, BLOCKS_MIN),
  );
  assert(slowest !== undefined, 'there is an engine to give up');
  const prompts = [...new Set(draft.ranked.flatMap(({ cells }) => cells.map(({ prompt }) => prompt)))];
  const twice = next !== undefined && engineTotalMs(slowest, BLOCKS_MIN) >= 2 * engineTotalMs(next, BLOCKS_MIN);
  if (!twice && prompts.length > 1) return giveUpLongestPrompt(planning);
  const ranked = draft.ranked.filter((engine) => engine !== slowest);
  const gone = slowest.cells.map((cell) =>
    omit(
      slowest.engine.id,
      cell.prompt,
      `refused: ${BLOCKS_MIN} blocks do not fit into ${formatSeconds(draft.input.remainingMs)}`,
      engineTotalMs(slowest, BLOCKS_MIN),
    ),
  );
  const id = slowest.engine.id;
  return note(
    { draft: { ...draft, ranked }, notMeasured: [...planning.notMeasured, ...gone], notes: planning.notes },
    `${id} is refused: a verdict needs ${BLOCKS_MIN} blocks and they do not fit.`,
  );
}

function giveUpLongestPrompt(planning: Planning): Planning {
  const longest = planning.draft.ranked
    .flatMap(({ cells }) => cells)
    .toSorted((left, right) => right.promptTokens - left.promptTokens)[0];
  assert(longest !== undefined, 'there is a prompt to give up');
  const gone: NotMeasured[] = [];
  const draft = mapCells(planning.draft, (cell, engine) => {
    if (cell.prompt !== longest.prompt) return cell;
    gone.push(
      omit(engine.engine.id, cell.prompt, `${BLOCKS_MIN} blocks of it do not fit`, BLOCKS_MIN * cell.estimateMs),
    );
    return null;
  });
  return note(
    { ...planning, draft, notMeasured: [...planning.notMeasured, ...gone] },
    `The prompt "${longest.prompt}" is not measured: ${BLOCKS_MIN} blocks of it do not fit.`,
  );
}

function note(planning: Planning, text: string): Planning {
  return { ...planning, notes: [...planning.notes, text] };
}
