/** From comparisons to the one sentence that every report prints first. */
import type { Comparison, EngineFacts, ModelFacts, Verdict } from '../record.ts';
import { compactLetters } from '../stats/letters.ts';
import { mean } from '../stats/describe.ts';
import { bitsQualifier } from './arithmetic.ts';
import { MIX_PROMPT } from './compare-family.ts';
import { inconclusiveHeadline, loadHeadline, tieHeadline, winnerHeadline } from './headline.ts';
import { referenceCaveats } from './reference.ts';
import { beats, joinWords, pairsOf, sentence, verdictBetween } from './wording.ts';
import { explainWhy } from './why.ts';

export interface DecideInput {
  /** Every engine that ran, ranked or not. */
  readonly engines: readonly EngineFacts[];
  /** Ranked engines that were measured, void ones included. */
  readonly ranked: readonly string[];
  readonly models: readonly ModelFacts[];
  /** Of all families; the headline uses (request, mix). */
  readonly comparisons: readonly Comparison[];
  /** ln of the mean request time over `prompts`, by block. */
  readonly mixLogValues: ReadonlyMap<string, readonly (number | null)[]>;
  /** Prompts in the mix. */
  readonly prompts: readonly string[];
  /** Level of the last planned look, for advice on blocks. */
  readonly alpha: number;
  readonly margin: number;
  /** The run is noisy: the reason with values, and what to close. */
  readonly noise: { readonly reason: string; readonly remedy: string } | null;
  /** No planned look was reached yet. */
  readonly pending: string | null;
  /** Engine to reason, for those whose gate failed. */
  readonly voided: ReadonlyMap<string, string>;
  /** Why nothing was measured, if so. */
  readonly nothingReason: string;
  readonly caveats: readonly string[];
}

/** What the headline functions share. */
export interface Standing {
  readonly input: DecideInput;
  /** (request, mix) of the engines in play. */
  readonly headline: readonly Comparison[];
  /** Ranked, measured, not void; fastest first. */
  readonly inPlay: readonly string[];
  readonly top: readonly string[];
  readonly beaten: readonly string[];
}

/** The verdict of a run. Reference backends are never ranked; a caveat says how much slower they are at least. */
export function decide(input: DecideInput): Verdict {
  const standing = rank(input);
  const { headline, inPlay, top } = standing;
  const outcome = conclude(standing);
  const caveats = [
    ...[...input.voided].map(([engine, reason]) => sentence(`${engine} is void and not ranked: ${reason}`)),
    ...arithmeticCaveats(standing),
    ...referenceCaveats(input, inPlay),
    ...input.caveats,
  ];
  const compared = outcome.state === 'winner' || outcome.state === 'tie' || outcome.state === 'inconclusive';
  const preliminary = compared && headline.some((comparison) => comparison.preliminary);
  return {
    ...outcome,
    headline: preliminary && outcome.state !== 'inconclusive' ? `Preliminary: ${outcome.headline}` : outcome.headline,
    preliminary,
    topGroup: compared || outcome.state === 'single-engine' ? [...top] : [],
    letters: compared ? compactLetters(inPlay, (a, b) => verdictBetween(headline, a, b) === 'EQUIVALENT') : {},
    prompts: [...input.prompts],
    caveats: [...new Set(caveats)].slice(0, 50),
  };
}

function rank(input: DecideInput): Standing {
  const headline = input.comparisons.filter(({ metric, prompt }) => metric === 'request' && prompt === MIX_PROMPT);
  const speed = (engine: string): number => {
    const values = (input.mixLogValues.get(engine) ?? []).filter((value) => value !== null);
    return values.length === 0 ? Infinity : mean(values);
  };
  const inPlay = input.ranked
    .filter((engine) => !input.voided.has(engine))
    .sort((left, right) => (speed(left) === speed(right) ? 0 : speed(left) - speed(right)));
  const top = inPlay.filter((engine) => !inPlay.some((other) => beats(headline, other, engine)));
  return { input, headline, inPlay, top, beaten: inPlay.filter((engine) => !top.includes(engine)) };
}

type Outcome = Pick<Verdict, 'state' | 'headline' | 'why' | 'winner'>;

function conclude(standing: Standing): Outcome {
  const { input, headline, inPlay, top, beaten } = standing;
  const none = { why: null, winner: null };
  const [first, second] = inPlay;
  const alone = first !== undefined && input.ranked.length === 1;
  if (alone)
    return {
      state: 'single-engine',
      headline: `Only ${first} was measured and ranked: there is nothing to compare it with.`,
      ...none,
    };
  if (input.ranked.length > 0 && second === undefined) return { state: 'void', headline: voidHeadline(input), ...none };
  if (input.noise !== null) {
    return {
      state: 'noisy',
      headline: `No winner: the machine was too noisy (${input.noise.reason}). ${input.noise.remedy}`,
      ...none,
    };
  }
  if (input.ranked.length === 0)
    return { state: 'nothing-measured', headline: sentence(`Nothing was measured: ${input.nothingReason}`), ...none };
  const [best, rival] = top;
  if (best !== undefined && rival === undefined && beaten.every((other) => beats(headline, best, other))) {
    return {
      state: 'winner',
      headline: winnerHeadline(standing, best),
      why: explain(input, best, beaten[0]),
      winner: best,
    };
  }
  if (top.length > 1 && pairsOf(top).every(([a, b]) => verdictBetween(headline, a, b) === 'EQUIVALENT')) {
    return { state: 'tie', headline: tieHeadline(standing), ...none };
  }
  if (headline.some(({ verdict }) => verdict === 'LOAD_DEPENDENT') && input.pending === null)
    return { state: 'load-dependent', headline: loadHeadline(standing), ...none };
  return { state: 'inconclusive', headline: inconclusiveHeadline(standing), ...none };
}

function explain(input: DecideInput, winner: string, runnerUp: string | undefined): string | null {
  const find = (id: string | undefined): EngineFacts | undefined => input.engines.find((engine) => engine.id === id);
  const [ours, theirs] = [find(winner), find(runnerUp)];
  return ours === undefined || theirs === undefined ? null : explainWhy(ours, theirs, input.models);
}

function voidHeadline(input: DecideInput): string {
  const reasons = [...input.voided.values()];
  return sentence(`No verdict: the comparison is void (${joinWords(reasons)})`);
}

function arithmeticCaveats({ input, inPlay }: Standing): string[] {
  return pairsOf(inPlay).flatMap(([a, b]) => {
    const find = (id: string): EngineFacts | undefined => input.engines.find((engine) => engine.id === id);
    const [left, right] = [find(a), find(b)];
    const qualifier = left && right ? bitsQualifier(left, right, input.models) : null;
    return qualifier === null
      ? []
      : [`${a} and ${b} were compared ${qualifier}: this is no comparison of equal bytes.`];
  });
}
