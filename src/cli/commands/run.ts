import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import { resolve } from 'node:path';
import { z } from 'zod';
import { planFileSchema } from '../../app/plan.ts';
import type { PlanFile } from '../../app/plan.ts';
import { prepareRun } from '../../app/prepare.ts';
import type { PreparedRun } from '../../app/prepare.ts';
import { previewRun } from '../../app/preview.ts';
import { reportOn } from '../../app/report.ts';
import { askAgain, checkRunFolder, continueRun, startRun } from '../../app/run.ts';
import type { RunResult } from '../../app/run.ts';
import type { Ui } from '../../app/ui.ts';
import { minutes } from '../../app/wording.ts';
import { AppError, messageOf } from '../../core/errors.ts';
import { stopAll } from '../../platform/process/start-process.ts';
import { askYesNo, installQuestion, offlineBecause } from '../ask.ts';
import { enginePaths } from '../engine-paths.ts';
import { EXIT } from '../exit-codes.ts';
import { describePlan } from '../describe-plan.ts';
import { terminalUi } from '../progress.ts';
import { interruptible } from '../signals.ts';
import { runoffVersion } from '../version.ts';

const optionsSchema = z.object({
  model: z.string().optional(),
  engine: z.array(z.string()).optional(),
  enginePath: z.array(z.string()).optional(),
  prompt: z.array(z.string()).optional(),
  generate: z.number().optional(),
  budget: z.number().optional(),
  blocks: z.number().optional(),
  threads: z.number().optional(),
  seed: z.number().optional(),
  gpu: z.enum(['auto', 'off']).optional(),
  study: z.boolean().optional(),
  ladder: z.boolean().optional(),
  tuned: z.boolean().optional(),
  config: z.string().optional(),
  out: z.string().optional(),
  resume: z.string().optional(),
  install: z.boolean(),
  compile: z.boolean(),
  dryRun: z.boolean().optional(),
  yes: z.boolean().optional(),
  json: z.boolean().optional(),
});
type Options = z.infer<typeof optionsSchema>;

const CONFIG_FILES = ['runoff.config.json', 'runoff.config.ts'];

export async function runCommand(raw: Record<string, unknown>): Promise<void> {
  const options = optionsSchema.parse(raw);
  const ui = terminalUi(process.stderr);
  const { signal, release } = interruptible(ui);
  try {
    if (options.resume !== undefined) await resume(options, options.resume, signal, ui);
    else await start(options, signal, ui);
  } catch (error) {
    if (signal.aborted) throw new AppError('interrupted', 'stopped before anything was measured', { cause: error });
    throw error;
  } finally {
    ui.done();
    await stopAll();
    release();
  }
}

async function start(options: Options, signal: AbortSignal, ui: Ui): Promise<void> {
  const asked = { ...(await readConfig(options.config)), ...fromOptions(options) };
  ui.line(`runoff ${runoffVersion()}: which engine should you ship for this model, on this machine?`);
  if (options.dryRun === true) {
    for (const text of await previewRun({ asked, enginePaths: enginePaths(options.enginePath) })) ui.line(text);
    return;
  }
  const folder = options.out ?? `runs/${new Date().toISOString().slice(0, 19).replaceAll(':', '').replace('T', '-')}`;
  if (options.out !== undefined) await checkRunFolder(folder);
  const mayInstall = mayInstallWith(options);
  const prepared = await prepareRun({
    asked,
    enginePaths: enginePaths(options.enginePath),
    mayInstall,
    offlineBecause: offlineBecause(options.install),
    version: runoffVersion(),
    signal,
    ui,
  });
  ui.line(describePlan(prepared));
  await confirm(options, prepared);
  await show(await startRun({ prepared, folder, signal, ui }), options, ui);
}

async function resume(options: Options, folder: string, signal: AbortSignal, ui: Ui): Promise<void> {
  const asked = await askAgain(folder);
  ui.line(`Going on with ${folder}`);
  const mayInstall = mayInstallWith(options);
  const prepared = await prepareRun({
    asked,
    enginePaths: enginePaths(options.enginePath),
    mayInstall,
    offlineBecause: offlineBecause(options.install),
    version: runoffVersion(),
    signal,
    ui,
  });
  const budgetMs = options.budget === undefined ? null : options.budget * 1_000;
  await show(await continueRun({ prepared, folder, signal, ui, budgetMs }), options, ui);
}

function mayInstallWith({ yes, install, compile }: Options): ReturnType<typeof installQuestion> {
  return installQuestion({ yes: yes === true, install, compile });
}

function fromOptions(options: Options): PlanFile {
  const { model, engine, prompt, generate, budget, blocks, threads, seed, gpu, study, ladder, tuned } = options;
  const all = {
    model,
    engines: engine,
    prompts: prompt,
    generate,
    budgetSeconds: budget,
    blocks,
    threads,
    seed,
    gpu,
    study,
    ladder,
    tuned,
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as PlanFile;
}

async function readConfig(given: string | undefined): Promise<PlanFile> {
  const path = given ?? CONFIG_FILES.find((file) => existsSync(file));
  if (path === undefined) return {};
  if (!existsSync(path)) throw new AppError('usage', `there is no plan file ${path}`);
  let content: unknown;
  try {
    content = path.endsWith('.json')
      ? JSON.parse(await readFile(path, 'utf8'))
      : ((await import(pathToFileURL(resolve(path)).href)) as { default?: unknown }).default;
  } catch (error) {
    throw new AppError('plan-invalid', `${path} cannot be read: ${messageOf(error)}`, { cause: error });
  }
  const { $schema: _, ...plan } = (content ?? {}) as Record<string, unknown>;
  const parsed = planFileSchema.safeParse(plan);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new AppError(
    'plan-invalid',
    [path, issue?.path.map(String).join('.'), issue?.message]
      .filter((part) => part !== undefined && part !== '')
      .join(': '),
    {
      hint: 'schema/plan.schema.json lists what a plan file may hold.',
    },
  );
}

async function confirm(options: Options, { manifest }: PreparedRun): Promise<void> {
  if (options.yes === true || (await askYesNo(`Measure for up to ${minutes(manifest.plan.budgetMs)} now?`))) return;
  throw new AppError('interrupted', 'nothing was measured');
}

async function show({ folder, record, state, reportPath }: RunResult, options: Options, ui: Ui): Promise<void> {
  ui.done();
  const color = process.stdout.isTTY === true && process.env['NO_COLOR'] === undefined;
  const text = await reportOn(folder, options.json === true ? 'json' : 'terminal', {
    color,
    width: process.stdout.columns ?? 100,
  });
  process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
  ui.line(`\nRecord: ${folder}\nReport: ${reportPath}`);
  if (state === 'interrupted') {
    ui.line(`Interrupted. Go on with: runoff run --resume ${folder}`);
    process.exitCode = EXIT.interrupted;
  } else if (record.verdict.state === 'void') process.exitCode = EXIT.voided;
}
