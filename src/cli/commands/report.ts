import { z } from 'zod';
import { reportOn } from '../../app/report.ts';
import { atomicWrite } from '../../platform/files/atomic-write.ts';

const optionsSchema = z.object({
  format: z.enum(['terminal', 'markdown', 'csv', 'json', 'html']),
  out: z.string().optional(),
});

export async function reportCommand(folder: string, raw: Record<string, unknown>): Promise<void> {
  const { format, out } = optionsSchema.parse(raw);
  const color = out === undefined && process.stdout.isTTY === true && process.env['NO_COLOR'] === undefined;
  const text = await reportOn(folder, format, { color, width: process.stdout.columns ?? 100 });
  if (out === undefined) process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
  else await atomicWrite(out, text);
}
