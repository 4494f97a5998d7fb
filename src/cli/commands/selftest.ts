import { z } from 'zod';
import { prepareRun } from '../../app/prepare.ts';
import { ownEnvironments } from '../../app/engines.ts';
import { realMachinery } from '../../app/machinery.ts';
import type { PreparedEngine } from '../../app/machinery.ts';
import { lookAtEngine } from '../../app/prepare-engines.ts';
import { warnIfBusy } from '../../app/selftest/busy.ts';
import { SELFTEST_PLAN, selftest } from '../../app/selftest/selftest.ts';
import { describeSelftest } from '../../app/selftest/selftest-text.ts';
import type { Ui } from '../../app/ui.ts';
import { minutes } from '../../app/wording.ts';
import { AppError } from '../../core/errors.ts';
import { stopAll } from '../../platform/process/start-process.ts';
import { askYesNo, installQuestion, offlineBecause } from '../ask.ts';
import { EXIT } from '../exit-codes.ts';
import { terminalUi } from '../progress.ts';
import { interruptible } from '../signals.ts';
import { runoffVersion } from '../version.ts';

const optionsSchema = z.object({
  model: z.string().optional(),
  engine: z.string(),
  budget: z.number().optional(),
  threads: z.number().optional(),
  seed: z.number().optional(),
  out: z.string().optional(),
  install: z.boolean(),
  yes: z.boolean().optional(),
  json: z.boolean().optional(),
});

/** Columns where nobody sees a terminal. */
const WIDTH = 80;
/** Tells times of its own, and comes with the default set-up. */
const TIMED_ENGINE = 'llama-server';
/** Gates on four engines, the clocks and the pilots, as seen here; the rest is --budget. */
const CHECKS_MS = 60_000;

export async function selftestCommand(raw: Record<string, unknown>): Promise<void> {
  const options = optionsSchema.parse(raw);
  const ui = terminalUi(process.stderr);
  const { signal, release } = interruptible(ui);
  try {
    await run(options, signal, ui);
  } catch (error) {
    if (signal.aborted) throw new AppError('interrupted', 'the selftest was stopped', { cause: error });
    throw error;
  } finally {
    ui.done();
    await stopAll();
    release();
  }
}

async function run(options: z.infer<typeof optionsSchema>, signal: AbortSignal, ui: Ui): Promise<void> {
  const { model, engine, threads, seed } = options;
  const budgetSeconds = options.budget ?? SELFTEST_PLAN.budgetSeconds;
  const given = { model, threads, seed };
  const asked = {
    ...SELFTEST_PLAN,
    prompts: [...SELFTEST_PLAN.prompts],
    budgetSeconds,
    engines: [engine],
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
  };
  const mayInstall = installQuestion({ yes: options.yes === true, install: options.install });
  const version = runoffVersion();
  const prepared = await prepareRun({
    asked,
    enginePaths: new Map(),
    mayInstall,
    offlineBecause: offlineBecause(options.install),
    fallback: 'demonstration',
    version,
    signal,
    ui,
  });
  const about = minutes(CHECKS_MS + 1_000 * budgetSeconds);
  ui.line(
    `runoff ${version} tests itself with ${engine}: cheating copies must be caught, the same engine twice must be no difference, slower copies must be found. At most ${about}.`,
  );
  if (options.yes !== true && !(await askYesNo('Start now?')))
    throw new AppError('interrupted', 'nothing was measured');
  await warnIfBusy(ui);
  const folder =
    options.out ?? `selftests/${new Date().toISOString().slice(0, 19).replaceAll(':', '').replace('T', '-')}`;
  const timed = await findTimed(prepared.engines[0], ui);
  const result = await selftest({ machinery: realMachinery, run: prepared, timed, folder, signal, ui });
  ui.done();
  const color = process.stdout.isTTY === true && process.env['NO_COLOR'] === undefined;
  process.stdout.write(
    options.json === true
      ? `${JSON.stringify(result, null, 2)}\n`
      : describeSelftest(result, { color, width: process.stdout.columns ?? WIDTH }),
  );
  ui.line(`Record: ${folder}`);
  if (result.state === 'interrupted') process.exitCode = EXIT.interrupted;
  else if (result.outcome === 'failed') process.exitCode = EXIT.trouble;
}

/** Only where it is there already: one check more is no reason to install it. */
async function findTimed(model: PreparedEngine | undefined, ui: Ui): Promise<PreparedEngine | null> {
  if (model === undefined) return null;
  const { engine, detection } = await lookAtEngine(TIMED_ENGINE, {
    enginePaths: new Map(),
    environments: ownEnvironments(ui),
  });
  return detection.state === 'available' ? { ...model, engine, found: detection } : null;
}
