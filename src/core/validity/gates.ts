/**
 * Validity gates: pure judgements over answers that an engine gave. A failed gate voids the engine's comparisons.
 * `unknown` says that the engine does not tell enough to judge; it voids nothing and is shown.
 */
import { generatedCount } from '../generated-count.ts';
import type { EngineSettings, Generation, TokenLogprob } from '../engine.ts';
import { failed, passed, unknown } from './gate-result.ts';
import type { GateResult } from './gate-result.ts';

export { promptCacheGate } from './prompt-cache.ts';
export type { CacheEvidence } from './prompt-cache.ts';

export function tokenCountGate(input: {
  readonly promptTokensAsked: number;
  readonly generation: Pick<Generation, 'promptTokenCount'>;
  /** The engine made the tokens itself. */
  readonly fromText?: boolean;
}): GateResult {
  const { promptTokensAsked: asked, generation, fromText = false } = input;
  const reported = generation.promptTokenCount;
  if (reported === asked) return passed('token-count', `${asked} prompt tokens sent, ${reported} reported`);
  if (fromText) {
    return failed(
      'token-count',
      `a text of ${asked} tokens sent, ${reported} reported: truncated, or another tokenizer`,
      'Give --model the file that the engine serves, and check its context.',
    );
  }
  const cause =
    reported === asked + 1
      ? ': probably a second BOS'
      : reported < asked
        ? ': truncated or counted without cached tokens'
        : '';
  return failed(
    'token-count',
    `${asked} prompt tokens sent, ${reported} reported${cause}`,
    'Send token ids with special-token handling off, and check the context per slot.',
  );
}

export function earlyEndGate(input: {
  readonly generateTokensAsked: number;
  readonly generation: Pick<Generation, 'tokens' | 'generatedTokenCount'>;
}): GateResult {
  const { generateTokensAsked: asked, generation } = input;
  const count = generatedCount(generation);
  if (count === asked) return passed('early-end', `${count} of ${asked} tokens generated`);
  const remedy =
    count < asked
      ? 'Mask every end-of-generation token and check the context size.'
      : 'Check the token limit that is sent.';
  return failed('early-end', `${count} of ${asked} tokens generated`, remedy);
}

/** The first two ids must not both be BOS, and an engine that adds one of its own reports one token more. */
export function doubleBosGate(input: {
  readonly promptTokens: readonly number[];
  readonly bosToken: number | null;
  readonly generation: Pick<Generation, 'promptTokenCount'> | null;
}): GateResult {
  const { promptTokens, bosToken, generation } = input;
  if (bosToken === null) return passed('double-bos', 'the model has no BOS token');
  if (promptTokens[0] === bosToken && promptTokens[1] === bosToken) {
    return failed(
      'double-bos',
      `the first two token ids are both BOS (${bosToken})`,
      'Add the BOS token once: in the prompt or in the engine.',
    );
  }
  if (promptTokens[0] === bosToken && generation?.promptTokenCount === promptTokens.length + 1) {
    return failed(
      'double-bos',
      `${promptTokens.length} tokens sent with BOS, ${generation.promptTokenCount} reported: the engine added another`,
      "Switch the engine's own BOS off.",
    );
  }
  return passed('double-bos', `at most one BOS (${bosToken}) at the start`);
}

/** Vocabulary and name can only disprove; a hash or the fingerprint proves (correction 12). */
export function wrongModelGate(identity: ModelIdentity): GateResult {
  const {
    vocabularySizeExpected: expected,
    vocabularySizeReported: vocabulary,
    modelPathExpected,
    modelNameReported,
  } = identity;
  const remedy = 'Stop other servers, and check which model the engine loads.';
  if (vocabulary !== null && vocabulary !== expected) {
    return failed('wrong-model', `the engine's vocabulary has ${vocabulary} tokens, the model's ${expected}`, remedy);
  }
  const [asked, reported] = [
    fileName(modelPathExpected),
    modelNameReported === null ? null : fileName(modelNameReported),
  ];
  if (reported !== null && !sameName(asked, reported))
    return failed('wrong-model', `asked for ${asked}, the engine reports ${reported}`, remedy);
  if (vocabulary === null && reported === null)
    return unknown('wrong-model', 'the engine reports neither vocabulary nor model name');
  const seen = [
    ...(vocabulary === null ? [] : [`vocabulary ${vocabulary}`]),
    ...(reported === null ? [] : [`name ${reported}`]),
  ];
  return passed('wrong-model', `${seen.join(', ')}, as expected`);
}

export interface ModelIdentity {
  readonly vocabularySizeExpected: number;
  readonly vocabularySizeReported: number | null;
  readonly modelPathExpected: string;
  readonly modelNameReported: string | null;
}

function fileName(path: string): string {
  return path.replaceAll('\\', '/').replace(/\/+$/, '').split('/').at(-1) ?? path;
}

/** Engines shorten the name: no extension, other case. */
function sameName(left: string, right: string): boolean {
  const strip = (name: string): string => name.toLowerCase().replace(/\.(gguf|safetensors|bin)$/, '');
  return strip(left) === strip(right);
}

export function contextPerSlotGate(input: {
  readonly contextTokensReported: number | null;
  readonly promptTokens: number;
  readonly generateTokens: number;
}): GateResult {
  const { contextTokensReported: context, promptTokens, generateTokens } = input;
  const needed = promptTokens + generateTokens;
  if (context === null)
    return unknown('context-per-slot', `the engine does not report its context; ${needed} tokens are needed`);
  const detail = `${context} tokens of context per slot, ${needed} needed (${promptTokens} + ${generateTokens})`;
  if (context >= needed) return passed('context-per-slot', detail);
  return failed(
    'context-per-slot',
    detail,
    `Raise the context to at least ${needed} tokens per slot, or use one slot.`,
  );
}

/** A difference labels the comparison "as shipped" and voids nothing (see LABELLING_GATES). */
export function settingsGate(input: {
  readonly asked: EngineSettings;
  readonly reported: Partial<EngineSettings>;
}): GateResult {
  const differences = settingsDifferences(input.asked, input.reported);
  if (Object.keys(input.reported).length === 0) return unknown('settings', 'the engine reports no settings');
  if (differences.length === 0) return passed('settings', `matched: ${Object.keys(input.reported).join(', ')}`);
  return failed(
    'settings',
    differences.join('; '),
    'The comparison is labelled "as shipped": the engine does not take, or does not keep, these settings.',
  );
}

/** `threads: 2 asked, 1 used`, for every reported setting that differs. More context than asked for is no difference. */
export function settingsDifferences(
  asked: EngineSettings,
  reported: Partial<Record<keyof EngineSettings, string | number | boolean | undefined>>,
): string[] {
  return (Object.keys(asked) as (keyof EngineSettings)[]).flatMap((name) => {
    const used = reported[name];
    if (used === undefined || used === asked[name]) return [];
    if (name === 'contextTokens' && typeof used === 'number' && used > asked.contextTokens) return [];
    return [`${name}: ${String(asked[name])} asked, ${String(used)} used`];
  });
}

export interface Needle {
  /** e.g. `the first sentence`. */
  readonly place: string;
  readonly original: Pick<Generation, 'tokens' | 'text' | 'firstTokenLogprobs'>;
  readonly changed: Pick<Generation, 'tokens' | 'text' | 'firstTokenLogprobs'>;
}

/** Log-probabilities that differ less come from the same input. */
const LOGPROB_TOLERANCE = 1e-6;

/** Changing a sentence at the start, one third or two thirds must change what the model says; otherwise it never read it. */
export function truncationGate(input: {
  readonly truncated: boolean | null;
  readonly needles: readonly Needle[];
}): GateResult {
  const remedy = 'Raise the context per slot; switch context shifting and prompt truncation off.';
  if (input.truncated === true) return failed('truncation', 'the engine reports that it truncated the prompt', remedy);
  const unseen = input.needles.filter((needle) => !isSeen(needle));
  if (unseen.length > 0) {
    const detail = `changing ${unseen.map(({ place }) => place).join(', ')} changed nothing in the answer`;
    // A likely text may be the same for two prompts, a probability is not.
    const isProof = unseen.some(({ original }) => original.firstTokenLogprobs.length > 0);
    const isAll = input.needles.length > 1 && unseen.length === input.needles.length;
    return isProof || isAll || unseen.some(({ original }) => original.text === undefined)
      ? failed('truncation', detail, remedy)
      : unknown('truncation', `${detail}, and the engine tells no log-probabilities that would`);
  }
  if (input.needles.length === 0) {
    return input.truncated === false
      ? passed('truncation', 'the engine reports that nothing was truncated')
      : unknown('truncation', 'no needles were sent and the engine does not tell');
  }
  const places = input.needles.map(({ place, original, changed }) => {
    const distance = logprobDistance(original.firstTokenLogprobs, changed.firstTokenLogprobs);
    return distance === null ? `${place} (output)` : `${place} (log-probability ${distance.toPrecision(2)})`;
  });
  return passed('truncation', `the answer depends on ${places.join(', ')}`);
}

function isSeen({ original, changed }: Needle): boolean {
  const distance = logprobDistance(original.firstTokenLogprobs, changed.firstTokenLogprobs);
  if (distance !== null && distance > LOGPROB_TOLERANCE) return true;
  const [left, right] = [original.firstTokenLogprobs, changed.firstTokenLogprobs];
  if (distance === null && left.length > 0 && right.length > 0) return true;
  return original.tokens.join(' ') !== changed.tokens.join(' ') || original.text !== changed.text;
}

/** Largest absolute difference over tokens that both lists hold; null when they share none. */
export function logprobDistance(left: readonly TokenLogprob[], right: readonly TokenLogprob[]): number | null {
  const differences = left.flatMap(({ token, logprob }) => {
    const other = right.find((candidate) => candidate.token === token);
    return other === undefined ? [] : [Math.abs(logprob - other.logprob)];
  });
  return differences.length === 0 ? null : Math.max(...differences);
}
