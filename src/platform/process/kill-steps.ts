/** Pure half of the keeper: how a process and everything that it started is ended, per operating system. */

/** One step: `signal` goes to the whole process group, `command` is a program to run. */
export type KillStep = { readonly when: 'now' | 'after-grace' } & (
  | { readonly signal: 'SIGTERM' | 'SIGKILL' }
  | { readonly command: readonly [string, ...string[]] }
);

/**
 * Steps in order; each is taken only while something of the group is still alive.
 *
 * POSIX: the engine leads a process group of its own, so one signal reaches what it started too.
 * Windows has neither groups to signal nor SIGTERM: engines end when their stdin does, taskkill /T takes the rest.
 */
export function killSteps(platform: NodeJS.Platform, pid: number): readonly KillStep[] {
  if (platform === 'win32') {
    return [{ when: 'after-grace', command: ['taskkill', '/PID', String(pid), '/T', '/F'] }];
  }
  return [
    { when: 'now', signal: 'SIGTERM' },
    { when: 'after-grace', signal: 'SIGKILL' },
  ];
}
