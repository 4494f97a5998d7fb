import { z } from 'zod';
import { engineShipping, measureColdStarts } from '../../app/engine-facts.ts';
import { installEngines, overviewEngines, ownEnvironments, removeEngines } from '../../app/engines.ts';
import { describeEngines, describeFacts } from '../../app/engines-text.ts';
import type { Ui } from '../../app/ui.ts';
import { AppError } from '../../core/errors.ts';
import { stopAll } from '../../platform/process/start-process.ts';
import { askYesNo, installQuestion } from '../ask.ts';
import { enginePaths } from '../engine-paths.ts';
import { terminalUi } from '../progress.ts';
import { interruptible } from '../signals.ts';

const optionsSchema = z.object({
  json: z.boolean().optional(),
  enginePath: z.array(z.string()).optional(),
  facts: z.boolean().optional(),
  measure: z.boolean().optional(),
  model: z.string().optional(),
  yes: z.boolean().optional(),
});

/** Columns where nobody sees a terminal. */
const WIDTH = 80;

export async function enginesCommand(ids: readonly string[], raw: Record<string, unknown>): Promise<void> {
  const { json, enginePath, facts, measure, model } = optionsSchema.parse(raw);
  if (facts !== true && (measure === true || model !== undefined)) {
    throw new AppError('usage', '--measure and --model belong to --facts', {
      hint: 'runoff engines --facts --measure',
    });
  }
  await withUi(async (ui, signal) => {
    const places = { enginePaths: enginePaths(enginePath), environments: ownEnvironments(ui) };
    const width = process.stdout.columns ?? WIDTH;
    if (facts !== true) {
      const overviews = await overviewEngines(ids, places);
      return print(json === true ? overviews : describeEngines(overviews, width), ui);
    }
    if (measure === true) await measureColdStarts({ ...places, specs: ids, model, signal, ui });
    const engines = await engineShipping({ ...places, specs: ids });
    print(json === true ? engines : describeFacts(engines, width), ui);
  });
}

export async function installCommand(ids: readonly string[], raw: Record<string, unknown>): Promise<void> {
  const { yes } = optionsSchema.parse(raw);
  await withUi(async (ui, signal) =>
    installEngines({
      specs: ids,
      enginePaths: new Map(),
      environments: ownEnvironments(ui),
      mayInstall: installQuestion({ yes: yes === true, install: true }),
      signal,
      ui,
    }),
  );
}

export async function removeCommand(ids: readonly string[], raw: Record<string, unknown>): Promise<void> {
  const { yes } = optionsSchema.parse(raw);
  await withUi(async (ui) =>
    removeEngines({
      ids,
      environments: ownEnvironments(ui),
      mayRemove: async (question) => yes === true || askYesNo(question),
      ui,
    }),
  );
}

async function withUi(work: (ui: Ui, signal: AbortSignal) => Promise<void>): Promise<void> {
  const ui = terminalUi(process.stderr);
  const { signal, release } = interruptible(ui);
  try {
    await work(ui, signal);
  } catch (error) {
    const stopped = signal.aborted || (error instanceof AppError && error.code === 'interrupted');
    if (stopped) throw new AppError('interrupted', 'stopped', { cause: error });
    throw error;
  } finally {
    ui.done();
    await stopAll();
    release();
  }
}

function print(result: string | object, ui: Ui): void {
  ui.done();
  process.stdout.write(`${typeof result === 'string' ? result : JSON.stringify(result, null, 2)}\n`);
}
