import { spawnSync } from 'node:child_process';
import { AppError } from '../src/core/errors.ts';

const PIECE_BYTES = 1e8;
const SCRIPT = `const kept = []; for (let i = 0; i < +process.argv[1]; i++) kept.push(Buffer.alloc(${PIECE_BYTES}, 1))`;

/**
 * A program that writes so much memory and ends. A virtual machine gives idle memory back to its host within seconds, and
 * who writes next gets it back page by page: that takes long, and memory that came that way stays slower for the life of
 * the process, 2 to 8% for a model in five of five tries. After this, free memory is there.
 * @throws AppError `environment-failed` where there is not so much
 */
export function touchMemory(bytes: number): void {
  const { status, signal } = spawnSync(process.execPath, ['-e', SCRIPT, String(Math.ceil(bytes / PIECE_BYTES))]);
  if (status !== 0)
    throw new AppError(
      'environment-failed',
      `a program could not write ${bytes} bytes of memory (${signal ?? status})`,
      {
        hint: 'Close programs: this bench needs that much free memory.',
      },
    );
}
