import { z } from 'zod';
import { describeDiagnosis } from '../../app/doctor-text.ts';
import { examine } from '../../app/doctor.ts';
import { ownEnvironments } from '../../app/engines.ts';
import { EXIT } from '../exit-codes.ts';
import { terminalUi } from '../progress.ts';

const optionsSchema = z.object({ json: z.boolean().optional(), engine: z.array(z.string()).optional() });

/** Columns where nobody sees a terminal. */
const WIDTH = 80;

export async function doctorCommand(model: string | undefined, raw: Record<string, unknown>): Promise<void> {
  const { json, engine } = optionsSchema.parse(raw);
  const ui = terminalUi(process.stderr);
  try {
    const environments = ownEnvironments(ui);
    const diagnosis = await examine({
      model: model ?? null,
      engines: engine ?? [],
      enginePaths: new Map(),
      environments,
      ui,
    });
    ui.done();
    const color = process.stdout.isTTY === true && process.env['NO_COLOR'] === undefined;
    const text =
      json === true
        ? `${JSON.stringify(diagnosis, null, 2)}\n`
        : describeDiagnosis(diagnosis, { color, width: process.stdout.columns ?? WIDTH });
    process.stdout.write(text);
    if (diagnosis.findings.some(({ severity }) => severity === 'problem')) process.exitCode = EXIT.trouble;
  } finally {
    ui.done();
  }
}
