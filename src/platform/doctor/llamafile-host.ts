/** What concerns files that run on several systems. */
import { readdir } from 'node:fs/promises';
import type { BinfmtEntry, LlamafileHost, Quarantine } from '../../core/doctor/facts.ts';
import { runCommand } from '../process/run-command.ts';
import { parseBinfmt } from './linux.ts';
import { isQuarantined } from './macos.ts';
import { readText } from './read-text.ts';

const COMMAND_TIMEOUT_MS = 5_000;
const BINFMT_FOLDER = '/proc/sys/fs/binfmt_misc';
/** Systems with many emulators have some forty. */
const BINFMT_MAX = 500;

export async function readLlamafileHost(): Promise<LlamafileHost> {
  return {
    binfmt: process.platform === 'linux' ? await readBinfmt() : null,
    commandLineTools: process.platform === 'darwin' ? await hasCommandLineTools() : null,
  };
}

async function readBinfmt(): Promise<BinfmtEntry[] | null> {
  const names = await readdir(BINFMT_FOLDER).catch((): string[] => []);
  // An unmounted folder is empty; a mounted one has at least `register` and `status`.
  if (names.length === 0) return null;
  const entries = names.filter((name) => name !== 'register' && name !== 'status').slice(0, BINFMT_MAX);
  const texts = await Promise.all(
    entries.map(async (name) => parseBinfmt(name, await readText(`${BINFMT_FOLDER}/${name}`))),
  );
  return texts.filter((entry) => entry !== null);
}

/** `xcode-select -p` prints the folder of the tools, and fails without them. It opens no dialog. */
async function hasCommandLineTools(): Promise<boolean | null> {
  const code = await exitCodeOf('xcode-select', ['-p']);
  return code === null ? null : code === 0;
}

async function exitCodeOf(command: string, args: readonly string[]): Promise<number | null> {
  try {
    const { code, timedOut } = await runCommand(command, args, { timeoutMs: COMMAND_TIMEOUT_MS });
    return timedOut ? null : code;
  } catch {
    return null;
  }
}

/** macOS only; null elsewhere, and where xattr does not answer. */
export async function readQuarantine(paths: readonly string[]): Promise<Quarantine | null> {
  if (process.platform !== 'darwin') return null;
  const marked: string[] = [];
  for (const path of paths) {
    try {
      const { code, stdout } = await runCommand('xattr', [path], { timeoutMs: COMMAND_TIMEOUT_MS });
      if (code !== 0) return null;
      if (isQuarantined(stdout)) marked.push(path);
    } catch {
      return null;
    }
  }
  return { checked: paths.length, marked };
}
