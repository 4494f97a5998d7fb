import { z } from 'zod';
import { realMachinery } from '../../app/machinery.ts';
import { prepareRun } from '../../app/prepare.ts';
import type { PreparedRun } from '../../app/prepare.ts';
import { describeTuning } from '../../app/tune/tune-text.ts';
import { keepTuning, tune } from '../../app/tune/tune.ts';
import type { Ui } from '../../app/ui.ts';
import { minutes } from '../../app/wording.ts';
import { AppError } from '../../core/errors.ts';
import { stopAll } from '../../platform/process/start-process.ts';
import { askYesNo, installQuestion, offlineBecause } from '../ask.ts';
import { enginePaths } from '../engine-paths.ts';
import { EXIT } from '../exit-codes.ts';
import { terminalUi } from '../progress.ts';
import { interruptible } from '../signals.ts';
import { runoffVersion } from '../version.ts';

const optionsSchema = z.object({
  model: z.string().optional(),
  engine: z.array(z.string()),
  enginePath: z.array(z.string()).optional(),
  prompt: z.array(z.string()),
  generate: z.number(),
  budget: z.number(),
  seed: z.number().optional(),
  lossy: z.boolean().optional(),
  out: z.string().optional(),
  install: z.boolean(),
  yes: z.boolean().optional(),
  json: z.boolean().optional(),
});
type Options = z.infer<typeof optionsSchema>;

export async function tuneCommand(raw: Record<string, unknown>): Promise<void> {
  const options = optionsSchema.parse(raw);
  const ui = terminalUi(process.stderr);
  const { signal, release } = interruptible(ui);
  try {
    for (const engine of options.engine) await tuneOne(engine, options, signal, ui);
  } catch (error) {
    if (signal.aborted)
      throw new AppError('interrupted', 'the tuning was stopped; nothing was kept of it', { cause: error });
    throw error;
  } finally {
    ui.done();
    await stopAll();
    release();
  }
}

async function tuneOne(engine: string, options: Options, signal: AbortSignal, ui: Ui): Promise<void> {
  const run = await prepare(engine, options, signal, ui);
  const { manifest } = run;
  ui.line(`Tuning ${engine} for ${manifest.models[0]?.name}: at most ${minutes(manifest.plan.budgetMs)}.`);
  if (options.yes !== true && !(await askYesNo('Start now?')))
    throw new AppError('interrupted', 'nothing was measured');
  const stamp = manifest.startedAt.slice(0, 19).replaceAll(':', '').replace('T', '-');
  const folder = options.out ?? `tunings/${stamp}-${run.engines[0]?.engine.id ?? 'engine'}`;
  const result = await tune({ machinery: realMachinery, run, folder, lossy: options.lossy === true, signal, ui });
  await keepTuning(run, result);
  ui.done();
  const { machine, models } = manifest;
  const text = describeTuning(result, {
    engine: result.engine,
    model: models[0]?.name ?? manifest.plan.model,
    machine: machine.cpu,
  });
  process.stdout.write(options.json === true ? `${JSON.stringify(result, null, 2)}\n` : `${text.join('\n')}\n`);
  ui.line(`Record: ${folder}`);
  if (result.state === 'interrupted') process.exitCode = EXIT.interrupted;
}

function prepare(engine: string, options: Options, signal: AbortSignal, ui: Ui): Promise<PreparedRun> {
  const { model, seed, prompt, generate, budget } = options;
  const given = Object.entries({ model, seed }).filter(([, value]) => value !== undefined);
  return prepareRun({
    asked: { engines: [engine], prompts: prompt, generate, budgetSeconds: budget, ...Object.fromEntries(given) },
    enginePaths: enginePaths(options.enginePath),
    mayInstall: installQuestion({ yes: options.yes === true, install: options.install }),
    offlineBecause: offlineBecause(options.install),
    fallback: 'demonstration',
    version: runoffVersion(),
    signal,
    ui,
  });
}
