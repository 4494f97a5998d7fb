import { existsSync, realpathSync } from 'node:fs';
import { basename, delimiter, dirname, join } from 'node:path';

/**
 * How npm is started: always its JavaScript under our own Node. On Windows `npm` is npm.cmd, a batch file, which Node
 * rightly refuses to start without a shell; and a shell would read our arguments.
 */
export interface NpmHost {
  readonly platform: NodeJS.Platform;
  /** Our node. */
  readonly execPath: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly exists: (path: string) => boolean;
  /** Resolves links; null when the file is not there. */
  readonly realPath: (path: string) => string | null;
}

/** Path of npm's command-line JavaScript; null when none is found. */
export function findNpmCli(host: NpmHost = thisHost()): string | null {
  const started = host.env['npm_execpath'];
  // Set by npm and npx for what they start; pnpm and yarn set it to themselves.
  if (started !== undefined && /^np[mx]-cli\.c?js$/.test(basename(started)) && host.exists(started)) {
    const npm = join(dirname(started), 'npm-cli.js');
    if (host.exists(npm)) return npm;
  }
  return npmCandidates(host).find((path) => host.exists(path)) ?? null;
}

/** Pure up to `realPath`: beside our node, then wherever PATH has an npm. */
export function npmCandidates({ platform, execPath, env, realPath }: NpmHost): string[] {
  const cli = join('node_modules', 'npm', 'bin', 'npm-cli.js');
  const folders = (env['PATH'] ?? env['Path'] ?? '').split(delimiter).filter((folder) => folder !== '');
  const beside = dirname(execPath);
  if (platform === 'win32') return [beside, ...folders].map((folder) => join(folder, cli));
  // `npm` on PATH is a link to npm-cli.js, in the layouts of nodejs.org, nvm, Homebrew and Debian alike.
  const linked = folders.map((folder) => realPath(join(folder, 'npm'))).filter((path) => path !== null);
  return [join(dirname(beside), 'lib', cli), ...linked.filter((path) => basename(path) === 'npm-cli.js')];
}

function thisHost(): NpmHost {
  return {
    platform: process.platform,
    execPath: process.execPath,
    env: process.env,
    exists: existsSync,
    realPath: (path) => (existsSync(path) ? realpathSync(path) : null),
  };
}
