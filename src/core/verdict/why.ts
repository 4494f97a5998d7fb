/** Why one engine is faster than another, as far as recorded facts can say. */
import type { EngineFacts, ModelFacts } from '../record.ts';
import { modelOf } from './arithmetic.ts';
import { describeOpenMp } from './compute-threads.ts';
import { isSameBuild } from './same-build.ts';
import { joinWords } from './wording.ts';

const LIBRARY_BUILD = 'library build';

interface Side {
  readonly facts: EngineFacts;
  readonly model: ModelFacts | null;
}

/** In the order of how much they usually explain. Null is unknown, and what is unknown never counts as a difference. */
const FACTS: readonly { readonly name: string; readonly read: (side: Side) => string | null }[] = [
  { name: 'device', read: ({ facts }) => facts.device },
  { name: 'model format', read: ({ facts }) => facts.modelFormat },
  { name: 'bits per weight', read: ({ model }) => model?.bitsPerWeight?.toFixed(2) ?? null },
  {
    name: 'threads',
    read: ({ facts }) => (facts.settings?.threads === undefined ? null : String(facts.settings.threads)),
  },
  { name: 'OpenMP', read: ({ facts }) => describeOpenMp(facts) },
  { name: 'flash attention', read: ({ facts }) => readSwitch(facts.settings?.flashAttention ?? null) },
  { name: 'KV cache type', read: ({ facts }) => facts.settings?.kvType ?? null },
  { name: 'arithmetic', read: ({ facts }) => facts.numericMode },
  { name: LIBRARY_BUILD, read: ({ facts }) => facts.build?.library ?? null },
];
/** Lists of instruction sets run to hundreds of characters. */
const VALUE_LENGTH_MAX = 60;

function readSwitch(value: boolean | null): string | null {
  return value === null ? null : value ? 'on' : 'off';
}

/**
 * One sentence with the facts that differ between winner and runner-up: device, format, bits per weight, threads,
 * OpenMP, instruction sets, settings, arithmetic, build. Null where no known fact differs. It names candidates: the
 * benchmark changes engines, not single facts, so it cannot prove which of them did it.
 */
export function explainWhy(winner: EngineFacts, runnerUp: EngineFacts, models: readonly ModelFacts[]): string | null {
  const left: Side = { facts: winner, model: modelOf(winner, models) };
  const right: Side = { facts: runnerUp, model: modelOf(runnerUp, models) };
  const isOneBuild = isSameBuild(winner, runnerUp);
  const differences = FACTS.flatMap(({ name, read }) => {
    const [ours, theirs] = [read(left), read(right)];
    // Two layers over one library name it each in its own way.
    return ours === null || theirs === null || ours === theirs || (isOneBuild && name === LIBRARY_BUILD)
      ? []
      : [`${name} (${shorten(ours)} against ${shorten(theirs)})`];
  });
  differences.push(...instructionSetDifference(winner, runnerUp));
  const [ourVersion, theirVersion] = [winner.build?.version ?? null, runnerUp.build?.version ?? null];
  const versionsSayMore = !isOneBuild && !differences.some((difference) => difference.startsWith(LIBRARY_BUILD));
  if (versionsSayMore && ourVersion !== null && theirVersion !== null && ourVersion !== theirVersion) {
    differences.push(`build (${shorten(ourVersion)} against ${shorten(theirVersion)})`);
  }
  if (differences.length === 0) {
    return isOneBuild
      ? `${winner.id} and ${runnerUp.id} run one build of the library: what differs is the layer over it.`
      : null;
  }
  return `What differs between ${winner.id} and ${runnerUp.id}, and may explain it: ${joinWords(differences)}.`;
}

/** Only what one build has and the other lacks: the whole lists are long and mostly equal. OpenMP has its own entry. */
function instructionSetDifference(winner: EngineFacts, runnerUp: EngineFacts): string[] {
  const [ours, theirs] = [winner, runnerUp].map(({ build }) => build?.instructionSets?.split(' ') ?? null);
  if (ours == null || theirs == null) return [];
  const only = (mine: readonly string[], other: readonly string[]): string =>
    mine.filter((name) => !other.includes(name) && name !== 'OPENMP').join(' ');
  const extra = only(ours, theirs);
  const missing = only(theirs, ours);
  return [
    ...(extra === '' ? [] : [`instruction sets (only ${winner.id} has ${shorten(extra)})`]),
    ...(missing === '' ? [] : [`instruction sets (only ${runnerUp.id} has ${shorten(missing)})`]),
  ];
}

function shorten(value: string): string {
  return value.length <= VALUE_LENGTH_MAX ? value : `${value.slice(0, VALUE_LENGTH_MAX - 3)}...`;
}
