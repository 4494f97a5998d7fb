import { z } from 'zod';
import { prepareRun } from '../../app/prepare.ts';
import { AppError } from '../../core/errors.ts';
import { cacheFolder, folderBytes } from '../../platform/folders.ts';
import { installQuestion } from '../ask.ts';
import { terminalUi } from '../progress.ts';
import { interruptible } from '../signals.ts';
import { runoffVersion } from '../version.ts';

const optionsSchema = z.object({
  model: z.string().optional(),
  engine: z.array(z.string()).optional(),
  yes: z.boolean().optional(),
  compile: z.boolean(),
});

export async function setupCommand(raw: Record<string, unknown>): Promise<void> {
  const { model, engine, yes, compile } = optionsSchema.parse(raw);
  const ui = terminalUi(process.stderr);
  const { signal, release } = interruptible(ui);
  try {
    const asked = { ...(model === undefined ? {} : { model }), ...(engine === undefined ? {} : { engines: engine }) };
    const { manifest } = await prepareRun({
      asked,
      enginePaths: new Map(),
      mayInstall: installQuestion({ yes: yes === true, install: true, compile }),
      version: runoffVersion(),
      signal,
      ui,
    });
    for (const { id, state, build, reason, nextStep } of manifest.engines) {
      ui.line(state === 'available' ? `✓ ${id}: ${build?.version}` : `✗ ${id}: ${reason} ${nextStep ?? ''}`);
    }
    const folder = cacheFolder();
    ui.line(
      `Ready; runoff run works offline now. Everything is in ${folder} (${((await folderBytes(folder)) / 1e6).toFixed(0)} MB).`,
    );
    const missing = manifest.engines.filter(({ state }) => state !== 'available').map(({ id }) => id);
    if (missing.length > 0)
      throw new AppError('engine-unavailable', `not set up: ${missing.join(', ')}`, { hint: 'The reasons are above.' });
  } finally {
    ui.done();
    release();
  }
}
