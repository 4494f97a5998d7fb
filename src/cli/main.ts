#!/usr/bin/env node
/** The command line: parses, calls the application, prints errors and sets the exit code. Only this file does the latter two. */
import { pathToFileURL } from 'node:url';
import { realpathSync } from 'node:fs';
import { AppError, messageOf } from '../core/errors.ts';
import { EXIT } from './exit-codes.ts';
import { oldNodeMessage } from './node-version.ts';
import { buildProgram } from './program.ts';

/** Runs one command line (without node and the script) and sets `process.exitCode`. */
export async function main(args: readonly string[]): Promise<void> {
  const program = buildProgram();
  try {
    await program.parseAsync([...args], { from: 'user' });
  } catch (error) {
    process.exitCode = report(error);
  }
}

/** Prints what failed and what to do next. @returns the exit code. */
function report(error: unknown): number {
  if (isCommanderError(error)) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  if (error instanceof AppError) {
    process.stderr.write(`\nrunoff: ${error.message}\n`);
    if (error.hint !== undefined) process.stderr.write(`  ${error.hint}\n`);
    if (process.env['RUNOFF_DEBUG'] !== undefined)
      process.stderr.write(`${error.stack ?? ''}\n${JSON.stringify(error.context)}\n`);
    if (error.code === 'interrupted') return EXIT.interrupted;
    return error.code === 'usage' || error.code === 'plan-invalid' ? EXIT.usage : EXIT.failed;
  }
  process.stderr.write(
    `\nrunoff: internal error: ${messageOf(error)}\n${error instanceof Error ? (error.stack ?? '') : ''}\n`,
  );
  process.stderr.write(
    '  This is a bug in runoff. Results so far are on disk; please report it with the lines above.\n',
  );
  return EXIT.internal;
}

function isCommanderError(error: unknown): error is { code: string; exitCode: number } {
  return (
    error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code.startsWith('commander.')
  );
}

/** After a bug nobody may have closed what is open: engines are ended, then the process, whatever still waits. */
async function endNow(): Promise<void> {
  const { stopAll } = await import('../platform/process/start-process.ts');
  await stopAll();
  process.exit(EXIT.internal);
}

const script = process.argv[1];
if (script !== undefined && import.meta.url === pathToFileURL(realpathSync(script)).href) {
  const old = oldNodeMessage(process.versions.node);
  if (old === null) {
    await main(process.argv.slice(2));
    if (process.exitCode === EXIT.internal) await endNow();
  } else {
    process.stderr.write(old);
    process.exitCode = EXIT.failed;
  }
}
