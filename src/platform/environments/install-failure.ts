/** Pure: what an installer's output means for the user. */
import { lastLines } from '../process/byte-tail.ts';

export interface Explanation {
  readonly reason: string;
  readonly nextStep: string;
}

interface Cause extends Explanation {
  readonly pattern: RegExp;
}

const SHOWN_LINES = 4;
/** Node's stack frames and last line tell nothing to a user; they are in the log. */
const STACK_LINES = /^(\s+at .*|Node\.js v.*|\s*\^)$/gm;

/** The first that matches wins: the more specific come first. */
const CAUSES: readonly Cause[] = [
  {
    pattern: /No space left on device|ENOSPC|\[Errno 28\]/,
    reason: 'the disk is full',
    nextStep: 'Free some disk space, or name another cache folder with RUNOFF_CACHE.',
  },
  {
    pattern: /DO NOT MATCH THE HASHES/,
    reason: 'a package is not the one whose hash runoff knows',
    nextStep: 'A mirror or a proxy may have changed it: use the official registry.',
  },
  {
    pattern: /fatal error: Killed signal|cc1plus: out of memory|virtual memory exhausted/,
    reason: 'the compiler ran out of memory',
    nextStep: 'Close other programs, or add swap: a compiler process needs up to 1.5 GB.',
  },
  {
    pattern: /CERTIFICATE_VERIFY_FAILED|SELF_SIGNED_CERT|UNABLE_TO_(GET|VERIFY)|unable to get local issuer/i,
    reason: 'the package registry’s certificate is not trusted here (a proxy that reads along?)',
    nextStep: 'Tell pip and npm your company’s certificate: PIP_CERT and NODE_EXTRA_CA_CERTS.',
  },
  {
    pattern: /\b407\b|Proxy Authentication|Cannot connect to proxy|ERR_SOCKS|tunneling socket/i,
    reason: 'the proxy refuses the connection',
    nextStep: 'Check HTTPS_PROXY; runoff passes it on to pip and npm.',
  },
  {
    pattern:
      /name resolution|getaddrinfo|nodename nor servname|ENOTFOUND|EAI_AGAIN|ENETUNREACH|ECONNREFUSED|ECONNRESET|ETIMEDOUT|NewConnectionError|Network is unreachable|Read timed out|ConnectTimeout|Max retries exceeded|network request to .* failed/i,
    reason: 'the package registry cannot be reached',
    nextStep: 'Connect to the internet and run again (behind a proxy: set HTTPS_PROXY), or run with --no-install.',
  },
  {
    pattern: /No matching distribution found|Could not find a version|\bETARGET\b|\bE404\b/,
    reason: 'the registry has no build of a package for this system',
    nextStep: 'A mirror may be out of date; otherwise this engine does not run here: leave it out with --engines.',
  },
  {
    pattern: /ensurepip/,
    reason: 'Python cannot make virtual environments: ensurepip is not installed',
    nextStep: 'Debian/Ubuntu: sudo apt install python3-venv',
  },
  {
    pattern: /EACCES|EPERM|Permission denied|\[Errno 13\]/,
    reason: 'the cache folder may not be written',
    nextStep: 'Name another one with RUNOFF_CACHE.',
  },
];

/** `logPath` holds the whole output. */
export function explainFailure(output: string, logPath: string): Explanation {
  const cause = CAUSES.find(({ pattern }) => pattern.test(output));
  const tail = lastLines(output.replace(STACK_LINES, ''), SHOWN_LINES);
  if (cause !== undefined) return { reason: cause.reason, nextStep: `${cause.nextStep} The whole output: ${logPath}` };
  return { reason: tail === '' ? 'it failed without a word' : tail, nextStep: `The whole output: ${logPath}` };
}
