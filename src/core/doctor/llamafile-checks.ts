/**
 * One file for six systems has six ways not to start. Looked at where the model is a llamafile, or llamafile an engine.
 * Facts: https://github.com/mozilla-ai/llamafile#gotchas-and-troubleshooting (2026-11-25)
 */
import type { BinfmtEntry, DoctorFacts } from './facts.ts';
import { ok, problem, unknown, warning } from './finding.ts';
import type { Finding } from './finding.ts';
import { bytesText, quoted } from './quantity.ts';

/** Windows starts no program of this size or more, whatever is in it. */
export const WINDOWS_PROGRAM_BYTES_LIMIT = 2 ** 32;
/** What a llamafile starts with, `MZqFpD='`: a registration for fewer of these bytes takes it. */
const APE_MAGIC = '4d5a71467044';
/** The `ape` loader itself is registered for the whole magic. */
const APE_LOADER = /(^|\/)ape(-[\w.-]+)?$/;

export function checkWindowsLimit({ model, host }: DoctorFacts): Finding[] {
  if (model?.state !== 'readable' || model.hazards === null) return [];
  const { path, fileBytes } = model;
  if (fileBytes < WINDOWS_PROGRAM_BYTES_LIMIT)
    return [ok('windows-limit', `${bytesText(fileBytes)}: below the 4 GiB limit of Windows`)];
  const remedy = `Ship the weights beside a small llamafile: llamafile.exe -m ${quoted(path)}`;
  const why =
    'Windows runs no executable of 4 GiB (4,294,967,296 bytes) or more; the error names neither the size nor the limit.';
  const what = `${path} has ${bytesText(fileBytes)}`;
  return host.platform === 'win32'
    ? [problem('windows-limit', { what: `${what}: it cannot be started on this system.`, why, remedy })]
    : [warning('windows-limit', { what: `${what}: it starts here, but not on Windows.`, why, remedy })];
}

/** What the file itself tells; limits of systems have checks of their own. */
export function checkLlamafile({ model }: DoctorFacts): Finding[] {
  if (model?.state !== 'readable' || model.hazards === null) return [];
  return model.hazards.map(({ what, remedy, fatal }) =>
    (fatal ? problem : warning)('llamafile', {
      what,
      why: fatal ? 'It does not run as it is.' : 'Whoever starts it, or sends it prompts, meets this.',
      remedy,
    }),
  );
}

/** WINE, run-detectors and WSL's interop register themselves for `MZ`, which a llamafile starts with. */
export function checkBinfmt({ llamafile, host }: DoctorFacts): Finding[] {
  if (llamafile === null || host.platform !== 'linux') return [];
  const { binfmt } = llamafile;
  if (binfmt === null)
    return [unknown('binfmt', 'programs that take over llamafiles: /proc/sys/fs/binfmt_misc is not mounted')];
  const thieves = binfmt.filter(takesLlamafiles);
  if (thieves.length === 0) return [ok('binfmt', 'no other program takes over llamafiles')];
  return [
    warning('binfmt', {
      what: `The kernel hands files that start with MZ to ${thieves.map(({ name, interpreter }) => `${interpreter} (${name})`).join(', ')}.`,
      why: 'A llamafile starts with these bytes: ./model.llamafile opens there, as a Windows program or not at all. runoff starts it with sh and is not concerned; your users are.',
      remedy: `Start it with sh ./model.llamafile. Until the next restart, without ${thieves.map(({ name }) => name).join(' and ')}: ${thieves
        .map(({ name }) => `sudo sh -c 'echo -1 > /proc/sys/fs/binfmt_misc/${name}'`)
        .join('; ')}`,
    }),
  ];
}

/** Pure: an enabled registration whose magic every llamafile carries. */
export function takesLlamafiles({ enabled, interpreter, magic, offset }: BinfmtEntry): boolean {
  return (
    enabled &&
    offset === 0 &&
    magic !== null &&
    magic !== '' &&
    APE_MAGIC.startsWith(magic) &&
    !APE_LOADER.test(interpreter)
  );
}

/** On Apple silicon a llamafile compiles its loader with cc on the first start. */
export function checkCommandLineTools({ llamafile, host }: DoctorFacts): Finding[] {
  if (llamafile === null || host.platform !== 'darwin' || (host.nativeArch ?? host.arch) !== 'arm64') return [];
  if (llamafile.commandLineTools === null)
    return [unknown('xcode-tools', "Apple's command line tools: xcode-select does not answer")];
  if (llamafile.commandLineTools) return [ok('xcode-tools', "Apple's command line tools")];
  return [
    problem('xcode-tools', {
      what: "Apple's command line tools are not installed.",
      why: 'On Apple silicon a llamafile compiles its loader on the first start, with cc: without it it ends with "please run: xcode-select --install".',
      remedy: 'xcode-select --install',
    }),
  ];
}

/** Gatekeeper: marked files open a dialog instead of running, or are ended without a word. */
export function checkQuarantine({ quarantine, host }: DoctorFacts): Finding[] {
  if (host.platform !== 'darwin') return [];
  if (quarantine === null) return [unknown('quarantine', 'Gatekeeper: xattr does not answer')];
  if (quarantine.checked === 0) return [];
  if (quarantine.marked.length === 0) return [ok('quarantine', 'no program in quarantine')];
  return [
    problem('quarantine', {
      what: `macOS keeps ${quarantine.marked.join(', ')} in quarantine (com.apple.quarantine).`,
      why: 'It was downloaded by a browser: Gatekeeper ends it at the start, here and on the machines of your users, unless it is notarised.',
      remedy: `If you trust it: xattr -d com.apple.quarantine ${quarantine.marked.map(quoted).join(' ')}`,
    }),
  ];
}
