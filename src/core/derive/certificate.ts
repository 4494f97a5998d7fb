/** What was the same for every engine, and how we know. */
import type { Certificate, EngineFacts, GateEvent, Manifest, Sample } from '../record.ts';
import type { Retired } from '../retirement-schema.ts';
import { modelOf } from '../verdict/arithmetic.ts';
import { describeRetired } from '../verdict/retirement.ts';
import { pairsOf } from '../verdict/wording.ts';
import { mergeSettings } from '../tune/merge-settings.ts';
import { settingsDifferences } from '../validity/gates.ts';
import type { Collected } from './collect.ts';

export interface CertificateInput {
  readonly manifest: Manifest;
  /** Engines that were measured. */
  readonly engines: readonly EngineFacts[];
  readonly gates: readonly GateEvent[];
  readonly collected: Collected;
  /** Every measured request, of rejected blocks too: noise changes times, not the work. */
  readonly samples: readonly Sample[];
  readonly retired: readonly Retired[];
}

export function certify(input: CertificateInput): Certificate {
  const { manifest, engines, retired } = input;
  // Against what this engine was asked for: its own tuned settings, or the common ones.
  const differences = engines.flatMap((engine) => [
    ...settingsDifferences(mergeSettings(manifest.settings, engine.tuned), engine.settings ?? {}).map(
      (text) => `${engine.id}: ${text}`,
    ),
    ...(engine.modelFormat === 'served' ? [`${engine.id}: ${describeUntold(engine)}`] : []),
  ]);
  const tuned = manifest.plan.tuned ? engines.map(tunedText) : [];
  return {
    weights: certifyWeights(manifest, engines),
    tokens: certifyTokens(input),
    output: certifyOutput(input),
    settings: {
      state: manifest.plan.tuned ? 'tuned' : differences.length === 0 ? 'matched' : 'as-shipped',
      differences: [...tuned, ...differences].slice(0, 100),
    },
    ...(retired.length === 0 ? {} : { retired: retired.map((one) => retiredText(one, input)) }),
    agreement: agreements(input),
    arithmetic: engines.map((engine) => ({
      engine: engine.id,
      bitsPerWeight: modelOf(engine, manifest.models)?.bitsPerWeight ?? null,
      numericMode: engine.numericMode,
    })),
  };
}

/** Its work was equal while it was measured; there is less of it. */
function retiredText({ engine, blocks, ...evidence }: Retired, { collected }: CertificateInput): string {
  return `${engine}: ${blocks} of ${collected.acceptedBlocks.length} blocks (${describeRetired(evidence, blocks)})`;
}

function tunedText({ id, tuned = {} }: EngineFacts): string {
  const settings = Object.entries(tuned).map(([name, value]) => `${name} ${String(value)}`);
  return `${id}: ${settings.length === 0 ? 'the common settings' : settings.join(', ')}`;
}

/** A server is not given settings, and tells few. */
function describeUntold({ settings }: EngineFacts): string {
  const told = Object.keys(settings ?? {});
  return `settings are its owner's, and it tells ${told.length === 0 ? 'none' : `only ${told.join(', ')}`}`;
}

/** Only a hash or the fingerprint proves identity (correction 12). */
function certifyWeights(manifest: Manifest, engines: readonly EngineFacts[]): Certificate['weights'] {
  const used =
    engines.length === 0 ? manifest.models : engines.flatMap((engine) => modelOf(engine, manifest.models) ?? []);
  const models = [...new Set(used)];
  const [first] = models;
  if (first === undefined) return { state: 'unproven', detail: 'no model of the needed format is recorded' };
  if (models.length === 1) {
    return first.sha256 === null
      ? { state: 'unproven', detail: `every engine read ${first.name}, whose hash is unknown` }
      : { state: 'same-file', detail: `every engine read ${first.name} (sha256 ${first.sha256.slice(0, 12)})` };
  }
  const served = models.filter(({ format }) => format === 'served');
  if (served.length > 0) {
    const names = served.map(({ name, path }) => `"${name}" at ${path.split('#')[0]}`).join(', ');
    const detail = `no hash and no fingerprint of what serves as ${names} can be read from outside; a name proves nothing`;
    return { state: 'unproven', detail };
  }
  const names = models
    .map(({ name, format, fingerprint }) => `${name} (${format}, ${fingerprint?.slice(0, 12) ?? 'no fingerprint'})`)
    .join(', ');
  if (models.some(({ fingerprint }) => fingerprint === null))
    return { state: 'unproven', detail: `no fingerprint for every file: ${names}` };
  const same = models.every(({ fingerprint }) => fingerprint === first.fingerprint);
  return same
    ? { state: 'bit-identical', detail: `dequantised values have the same fingerprint: ${names}` }
    : { state: 'different', detail: `fingerprints differ: ${names}` };
}

function certifyTokens({ manifest, engines, gates, samples }: CertificateInput): Certificate['tokens'] {
  const failed = gates.find(
    ({ gate, outcome }) => outcome === 'failed' && (gate === 'token-count' || gate === 'double-bos'),
  );
  if (failed !== undefined) return { state: 'different', detail: `${failed.engine}: ${failed.detail}` };
  const off = samples.find((sample) =>
    manifest.plan.prompts.some(({ name, tokenCount }) => name === sample.prompt && tokenCount !== sample.promptTokens),
  );
  if (off !== undefined)
    return { state: 'different', detail: `${off.engine} processed ${off.promptTokens} tokens of "${off.prompt}"` };
  if (samples.length === 0) return { state: 'unproven', detail: 'nothing was measured' };
  const unchecked = engines.filter(
    ({ id }) =>
      !gates.some(({ engine, gate, outcome }) => engine === id && gate === 'token-count' && outcome === 'passed'),
  );
  if (unchecked.length > 0) {
    return {
      state: 'unproven',
      detail: `no token-count gate passed for ${unchecked.map(({ id }) => id).join(', ')}`,
    };
  }
  const counted = `the engines' own counts agree in ${samples.length} requests`;
  const offset = engines.filter(({ addedPromptTokens = 0 }) => addedPromptTokens !== 0);
  if (offset.length > 0)
    return { state: 'unproven', detail: `${counted}, but ${offset.map(describeOffset).join('; ')}` };
  // Its tokenizer is not known to be the model's.
  const served = engines.filter(({ modelFormat }) => modelFormat === 'served').map(({ id }) => id);
  return served.length === 0
    ? { state: 'equal', detail: `the same token ids were sent; ${counted}` }
    : {
        state: 'unproven',
        detail: `${counted}; ${served.join(', ')} got the text of these tokens, and which ids it made of it is not told`,
      };
}

function describeOffset({ id, addedPromptTokens = 0 }: EngineFacts): string {
  const change = addedPromptTokens > 0 ? 'adds' : 'lacks';
  return `${id} ${change} ${Math.abs(addedPromptTokens)} token(s) where the model file does not (a BOS?), so its texts are that much ${addedPromptTokens > 0 ? 'shorter' : 'longer'}`;
}

function certifyOutput({ manifest, samples }: CertificateInput): Certificate['output'] {
  if (samples.length === 0) return { state: 'unproven', detail: 'nothing was measured' };
  const counts = manifest.plan.prompts.map(({ name }) => ({
    name,
    counts: [
      ...new Set(samples.filter(({ prompt }) => prompt === name).map(({ generatedTokens }) => generatedTokens)),
    ].sort((a, b) => a - b),
  }));
  const uneven = counts.filter((prompt) => prompt.counts.length > 1);
  const describe = (list: typeof counts): string =>
    list
      .filter((prompt) => prompt.counts.length > 0)
      .map((prompt) => `"${prompt.name}": ${prompt.counts.join(', ')}`)
      .join('; ');
  if (uneven.length > 0) return { state: 'different', detail: `generated tokens differ: ${describe(uneven)}` };
  return { state: 'equal-count', detail: `generated tokens in every request: ${describe(counts)}` };
}

/** Greedy agreement on the same prompts. Different builds differ in the last bits, and then in words (correction 5). */
function agreements({ engines, collected }: CertificateInput): Certificate['agreement'] {
  const byRequest = new Map(
    collected.cells.flatMap((cell) =>
      cell.samples.map((sample) => [`${sample.engine} ${requestKey(sample)}`, sample] as const),
    ),
  );
  return pairsOf(engines.map(({ id }) => id)).flatMap(([a, b]) => {
    const shared = collected.cells
      .filter((cell) => cell.engine === a)
      .flatMap((cell) => cell.samples)
      .flatMap((left) => {
        const right = byRequest.get(`${b} ${requestKey(left)}`);
        const length = Math.min(left.firstTokens.length, right?.firstTokens.length ?? 0);
        return right === undefined || length === 0
          ? []
          : [{ length, agreed: commonPrefix(left.firstTokens, right.firstTokens) }];
      });
    if (shared.length === 0) return [];
    const total = shared.reduce((sum, { length }) => sum + length, 0);
    const top1Share = shared.reduce((sum, { agreed }) => sum + agreed, 0) / total;
    const firstTokenShare = shared.filter(({ agreed }) => agreed > 0).length / shared.length;
    return [{ a, b, requestCount: shared.length, top1Share, firstTokenShare }];
  });
}

/** Equal for the same request to two engines. */
export function requestKey({ block, attempt, prompt, iteration, kind, promptTokens }: Sample): string {
  return [block, attempt, prompt, iteration, kind, promptTokens].join('/');
}

/** Tokens before the first difference. */
export function commonPrefix(left: readonly number[], right: readonly number[]): number {
  const length = Math.min(left.length, right.length);
  const differs = left.findIndex((token, index) => index < length && token !== right[index]);
  return differs === -1 ? length : differs;
}
