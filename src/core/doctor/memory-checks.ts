/** Does the model fit, with its KV cache and its buffers? */
import type { DoctorFacts, HostMemory, ReadableModel } from './facts.ts';
import { ok, problem, unknown, warning } from './finding.ts';
import type { Finding, Trouble } from './finding.ts';
import { largestContext, memoryNeed } from './memory-need.ts';
import type { MemoryNeed } from './memory-need.ts';
import { fileOf } from './model-checks.ts';
import { bytesText, count } from './quantity.ts';

/** What a run asks of every engine. */
const SETTINGS = { microBatchTokens: 512, kvType: 'f16' } as const;

/** At the context of a run: the measurement itself must fit. */
export function checkMemory({ model, host, plan, gpus }: DoctorFacts): Finding[] {
  if (model?.state !== 'readable') return [];
  const { contextTokens } = plan;
  const need = memoryNeed(model.shape, { ...SETTINGS, contextTokens });
  if (need === null)
    return [unknown('memory', `memory that the model needs: ${model.shape.architecture} states no attention heads`)];
  const { availableBytes, totalBytes } = host.memory;
  const needs = `the model with ${count(contextTokens)} tokens of context needs ${bytesText(need.total)}`;
  if (need.total <= (availableBytes ?? -1))
    return [ok('memory', `${needs}, ${bytesText(availableBytes ?? 0)} are available`)];
  if (availableBytes === null && need.total <= totalBytes)
    return [unknown('memory', `memory that is free: the system does not tell (${needs})`)];
  const trouble = need.total > totalBytes ? tooBig(need, host.memory) : noRoomNow(need, host.memory);
  const what = `The model needs ${bytesText(need.total)} (${parts(need, contextTokens)}); ${trouble.what}.`;
  // A card with memory of its own may hold what the machine cannot; how much it has is not looked at.
  const card = (gpus ?? []).some(
    ({ vendor, driver, integrated }) => driver === 'works' && !integrated && vendor !== 'apple',
  );
  return card
    ? [warning('memory', { ...trouble, what, why: `${trouble.why} A GPU that can hold all of it is not concerned.` })]
    : [problem('memory', { ...trouble, what })];
}

function tooBig({ total }: MemoryNeed, { totalBytes, limitedByGroup }: HostMemory): Trouble {
  const remedy = 'Take a model with fewer parameters or bits: llama-quantize ORIGINAL-F16.gguf smaller.gguf Q4_K_M';
  if (limitedByGroup) {
    return {
      what: `its control group allows ${bytesText(totalBytes)}`,
      why: 'The kernel ends the engine when it passes the limit; before that, weights are read from the disk again for every token.',
      remedy: `${remedy}. Or allow more: docker run --memory ${Math.ceil(total / 2 ** 30)}g`,
    };
  }
  return {
    what: `this machine has ${bytesText(totalBytes)}`,
    why: 'Weights that do not fit are read from the disk again for every token: it runs many times slower, or not at all.',
    remedy,
  };
}

function noRoomNow({ total }: MemoryNeed, { availableBytes, totalBytes }: HostMemory): Trouble {
  return {
    what: `${bytesText(availableBytes ?? 0)} of ${bytesText(totalBytes)} are available now`,
    why: 'Other programs are pushed into swap, or the engine is ended; both spoil the measurement.',
    remedy: `Close other programs until ${bytesText(total)} are available, then run again.`,
  };
}

function parts({ weights, kvCache, compute, program, isUpperBound }: MemoryNeed, contextTokens: number): string {
  const most = isUpperBound ? 'at most ' : '';
  return `weights ${bytesText(weights)}, KV cache for ${count(contextTokens)} tokens ${most}${bytesText(kvCache)}, buffers about ${bytesText(compute + program)}`;
}

/** At the model's own context: what engines take when nobody names one. */
export function checkFullContext({ model, host, plan }: DoctorFacts): Finding[] {
  if (model?.state !== 'readable' || model.contextTokens <= plan.contextTokens) return [];
  const need = memoryNeed(model.shape, { ...SETTINGS, contextTokens: model.contextTokens });
  const { availableBytes } = host.memory;
  if (need === null || availableBytes === null) return [];
  if (need.total <= availableBytes) {
    return [
      ok('full-context', `the whole context of ${count(model.contextTokens)} tokens fits (${bytesText(need.total)})`),
    ];
  }
  const fitting = largestContext(model.shape, { availableBytes, contextTokensMax: model.contextTokens }, SETTINGS);
  // Not even the weights fit: checkMemory says so.
  if (fitting === null || fitting === 0) return [];
  return [
    warning('full-context', {
      what: `The model's whole context of ${count(model.contextTokens)} tokens does not fit: it needs ${bytesText(need.total)} (${parts(need, model.contextTokens)}), ${bytesText(availableBytes)} are available. The largest that fits is about ${count(fitting)} tokens.`,
      why: 'Engines that are not told a context take the whole one, and fail or swap while they load. A run of runoff names a small one and is not concerned.',
      remedy: `Name it in your application: llama-server --model ${fileOf(model)} --ctx-size ${fitting}${withSmallerCache(model, availableBytes, fitting)}`,
    }),
  ];
}

/** Eight bits for keys and values: nearly twice the context, at a small cost in quality. */
function withSmallerCache({ shape, contextTokens }: ReadableModel, availableBytes: number, withF16: number): string {
  const limits = { availableBytes, contextTokensMax: contextTokens };
  const context = largestContext(shape, limits, { ...SETTINGS, kvType: 'q8_0' }) ?? 0;
  return context <= withF16 ? '' : `, or ${context} with --cache-type-k q8_0 --cache-type-v q8_0`;
}
