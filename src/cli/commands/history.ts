import { z } from 'zod';
import { compareStored, listRuns } from '../../app/history.ts';
import { showComparison, showHistory } from '../../app/report.ts';
import { AppError } from '../../core/errors.ts';
import { EXIT } from '../exit-codes.ts';

const historyOptions = z.object({ json: z.boolean().optional() });
const compareOptions = z.object({ json: z.boolean().optional(), failIfSlower: z.number().optional() });

export async function historyCommand(folder: string, raw: Record<string, unknown>): Promise<void> {
  const { json } = historyOptions.parse(raw);
  const runs = await listRuns(folder);
  if (json !== true) return void process.stdout.write(showHistory(runs));
  const rows = runs.map(({ record, ...run }) => ({
    ...run,
    startedAt: record?.manifest.startedAt ?? null,
    verdict: record?.verdict ?? null,
  }));
  process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`);
}

export async function compareCommand(before: string, after: string, raw: Record<string, unknown>): Promise<void> {
  const { json, failIfSlower } = compareOptions.parse(raw);
  const limit = failIfSlower === undefined ? null : 1 + failIfSlower / 100;
  const result = await compareStored(before, after, limit);
  process.stdout.write(
    json === true
      ? `${JSON.stringify(result, null, 2)}\n`
      : showComparison(result, { limit, width: process.stdout.columns ?? 100 }),
  );
  if (limit === null) return;
  if (result.judged.length === 0) {
    throw new AppError(
      'nothing-to-compare',
      'the gate has nothing to decide on: the runs have no equal work in common',
      {
        hint: 'Measure both with the same model, prompts and settings.',
      },
    );
  }
  if (result.judged.some(({ outcome }) => outcome === 'failed')) process.exitCode = EXIT.slower;
}
