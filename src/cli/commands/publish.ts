import { z } from 'zod';
import { describePublishPlan, publish } from '../../app/publish.ts';
import { AppError } from '../../core/errors.ts';
import { terminalUi } from '../progress.ts';
import { interruptible } from '../signals.ts';
import { runoffVersion } from '../version.ts';

const optionsSchema = z.object({
  to: z.string(),
  licence: z.string().optional(),
  source: z.string().max(500).optional(),
  command: z.string().max(2_000).optional(),
  run: z.string().optional(),
  private: z.boolean().optional(),
  replaceCard: z.boolean().optional(),
  yes: z.boolean().optional(),
});

export async function publishCommand(path: string, raw: Record<string, unknown>): Promise<void> {
  const { to, licence = null, source = null, command = null, run = null, ...flags } = optionsSchema.parse(raw);
  const ui = terminalUi(process.stderr);
  const { signal, release } = interruptible(ui, 'nothing becomes visible before the last step.');
  try {
    const { plan, sent } = await publish({
      path,
      to,
      licence,
      source,
      command,
      run,
      isPrivate: flags.private === true,
      replaceCard: flags.replaceCard === true,
      send: flags.yes === true,
      runoffVersion: runoffVersion(),
      signal,
      ui,
    });
    ui.done();
    if (sent === null) {
      process.stdout.write(`${describePublishPlan(plan)}\n`);
      ui.line('\nNothing was sent. With --yes it is.');
      return;
    }
    process.stdout.write(`${sent.url}\n`);
    ui.line(`${plan.title}: commit ${sent.commit}`);
    for (const kept of sent.kept)
      ui.line(`${kept} was there already and was left as it is (--replace-card replaces it).`);
  } catch (error) {
    if (signal.aborted) throw new AppError('interrupted', 'stopped; no commit was made', { cause: error });
    throw error;
  } finally {
    ui.done();
    release();
  }
}
