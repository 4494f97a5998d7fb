import { spawnSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { renderReport, reportFormats } from '../../src/report/formats.ts';
import { winner } from './fixtures/records.ts';

const OPTIONS = { color: false, width: 100 };

describe('report formats', () => {
  test.each(reportFormats)('%s renders and ends with a line break', async (format) => {
    expect(await renderReport(format, winner, [], OPTIONS)).toMatch(/\n$/);
  });

  test('json gives the record back', async () => {
    expect(JSON.parse(await renderReport('json', winner, [], OPTIONS))).toEqual(winner);
  });

  test('only html loads the chart library', () => {
    const script = `
      import { registerHooks } from 'node:module';
      const loaded = [];
      registerHooks({ resolve(name, context, next) { loaded.push(name); return next(name, context); } });
      const { renderReport } = await import('./src/report/formats.ts');
      const record = ${JSON.stringify(winner)};
      for (const format of ['terminal', 'markdown', 'csv', 'json']) await renderReport(format, record, [], { color: false, width: 100 });
      console.log(loaded.filter((name) => /plot|linkedom/.test(name)).length);
      await renderReport('html', record, [], { color: false, width: 100 });
      console.log(loaded.includes('@observablehq/plot'), loaded.includes('linkedom'));`;
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
      encoding: 'utf8',
      timeout: 20_000,
    });
    expect(stderr).toBe('');
    expect(stdout).toBe('0\ntrue true\n');
  });
});
