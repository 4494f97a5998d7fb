/** Whose process listens on a port of this machine: its memory and CPU belong to the server that is measured. */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { readCommand } from '../process/run-command.ts';

/** lsof and netstat answer in well under a second; a busy machine gets some more. */
const READ_TIMEOUT_MS = 10_000;
/** Programs that only pass connections on: whoever computes is elsewhere, and their few megabytes would be shown as its. */
const RELAYS = new Set([
  'docker-proxy',
  'rootlessport',
  'slirp4netns',
  'pasta',
  'ssh',
  'sshd',
  'socat',
  'kubectl',
  'gvproxy',
]);
/** As /proc/net/tcp writes the state of a socket that listens. */
const LISTEN_STATE = '0A';

/**
 * Null when nobody listens there, when a relay does (seen on Linux only), or when the process is another user's and the
 * system does not tell.
 */
export async function findListenerPid(port: number): Promise<number | null> {
  switch (process.platform) {
    case 'linux':
      return findOnLinux(port);
    case 'win32': {
      const text = await readCommand('netstat', ['-ano', '-p', 'TCP'], READ_TIMEOUT_MS);
      return text === null ? null : parseNetstat(text, port);
    }
    default: {
      const text = await readCommand('lsof', ['-nP', `-iTCP:${port}`, '-sTCP:LISTEN', '-t'], READ_TIMEOUT_MS);
      return text === null ? null : parseLsof(text);
    }
  }
}

/**
 * Pure: inodes of the sockets that listen on a port, from /proc/net/tcp or tcp6, see proc(5). Each line is
 * `sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode ...`, the port in hexadecimal.
 */
export function parseListeningInodes(text: string, port: number): string[] {
  const hexPort = port.toString(16).toUpperCase().padStart(4, '0');
  return text.split('\n').flatMap((line) => {
    const fields = line.trim().split(/\s+/);
    const [, local = '', , state] = fields;
    const inode = fields[9];
    return local.endsWith(`:${hexPort}`) && state === LISTEN_STATE && inode !== undefined ? [inode] : [];
  });
}

/** Pure: `lsof -t` prints one process id a line; forked servers share a socket, the first is the oldest. */
export function parseLsof(text: string): number | null {
  const pid = text.split('\n').find((line) => /^\d+$/.test(line));
  return pid === undefined ? null : Number(pid);
}

/** Pure: `netstat -ano`. The word for LISTENING is translated; a foreign port of 0 is what says it in every language. */
export function parseNetstat(text: string, port: number): number | null {
  for (const line of text.split('\n')) {
    const [protocol, local = '', foreign = '', , pid] = line.trim().split(/\s+/);
    if (protocol === 'TCP' && local.endsWith(`:${port}`) && foreign.endsWith(':0') && /^\d+$/.test(pid ?? ''))
      return Number(pid);
  }
  return null;
}

async function findOnLinux(port: number): Promise<number | null> {
  const tables = await Promise.all(
    ['/proc/net/tcp', '/proc/net/tcp6'].map((path) => readFile(path, 'utf8').catch(() => '')),
  );
  const inodes = new Set(tables.flatMap((text) => parseListeningInodes(text, port)));
  if (inodes.size === 0) return null;
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  for (const pid of pids) {
    if (!(await holdsSocket(pid, inodes))) continue;
    return isRelay(await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')) ? null : Number(pid);
  }
  return null;
}

/** Pure: by the content of /proc/PID/comm. */
export function isRelay(comm: string): boolean {
  return RELAYS.has(comm.trim());
}

async function holdsSocket(pid: string, inodes: ReadonlySet<string>): Promise<boolean> {
  const folder = `/proc/${pid}/fd`;
  // Of other users' processes, and of those that end meanwhile, nothing can be read.
  const descriptors = await readdir(folder).catch(() => []);
  for (const descriptor of descriptors) {
    const target = await readlink(`${folder}/${descriptor}`).catch(() => '');
    const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
    if (inode !== undefined && inodes.has(inode)) return true;
  }
  return false;
}
