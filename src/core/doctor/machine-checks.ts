/** Is this a machine, and a Node.js, that can measure at all? */
import type { DoctorFacts, EngineLook } from './facts.ts';
import { ok, problem, unknown, warning } from './finding.ts';
import type { Finding } from './finding.ts';

/** `engines.node` of package.json: older ones lack modules that runoff imports. */
export const NODE_MIN = '22.13.0';

export function checkNode({ host }: DoctorFacts): Finding[] {
  const version = host.nodeVersion.replace(/^v/, '');
  if (isAtLeast(version, NODE_MIN)) return [ok('node', `Node.js ${version}`)];
  return [
    problem('node', {
      what: `Node.js ${version} runs this; runoff needs ${NODE_MIN} or newer.`,
      why: 'Older versions lack parts that runoff uses: it stops with an import error somewhere in the middle.',
      remedy: 'Install Node.js 24 from https://nodejs.org, or: nvm install 24',
    }),
  ];
}

/** Pure: compares the numbers of two versions; a suffix such as `-nightly` does not count. */
function isAtLeast(version: string, minimum: string): boolean {
  const [have, need] = [version, minimum].map((text) => text.split(/[.-]/).slice(0, 3).map(Number));
  for (let index = 0; index < 3; index += 1) {
    const difference = (have?.[index] || 0) - (need?.[index] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

/** Rosetta 2, and the x64 emulation of Windows on ARM: engines start as what Node is. */
export function checkTranslation({ host }: DoctorFacts): Finding[] {
  const { platform, arch, nativeArch } = host;
  if (platform !== 'darwin' && platform !== 'win32') return [];
  if (nativeArch === null) return [unknown('translation', 'translated Node.js: the system does not tell')];
  if (nativeArch === arch) return [ok('translation', `native ${arch} Node.js`)];
  const translator = platform === 'darwin' ? 'Rosetta 2' : 'the emulation of Windows';
  return [
    problem('translation', {
      what: `This is an ${arch} Node.js on an ${nativeArch} processor, run through ${translator}.`,
      why: 'The engines that it starts are translated, too: they are several times slower, have no Metal, and MLX does not load. Every figure would be of the translator.',
      remedy: `Install the ${nativeArch} build from https://nodejs.org/en/download, open a new terminal, and check: node -p 'os.arch()'`,
    }),
  ];
}

/** The published binaries are built for glibc. */
export function checkMusl({ host }: DoctorFacts): Finding[] {
  if (host.platform !== 'linux') return [];
  if (!host.musl) return [ok('c-library', 'glibc')];
  return [
    warning('c-library', {
      what: 'This system uses musl instead of glibc (Alpine and similar).',
      why: 'Prebuilt engines and Python wheels are mostly built for glibc: some do not install here, others do not start.',
      remedy: 'Measure in a container with glibc: docker run -it node:24-bookworm',
    }),
  ];
}

/** The first Python that fits is enough; checkEngines says more where one engine needs another version. */
export function checkPython({ host, engines }: DoctorFacts): Finding[] {
  const needing = engines.filter(({ needsPython, state }) => needsPython && state !== 'available');
  if (needing.length === 0) return [];
  if (host.python !== null) return [ok('python', `Python ${host.python}`)];
  const reason = needing.find((engine) => engine.reason !== null)?.reason;
  return [
    warning('python', {
      what: `There is no usable Python 3.10 or newer on PATH; ${needing.map(({ id }) => id).join(', ')} cannot be installed.`,
      why: `They come as Python packages, the demonstration model, too${reason === undefined ? '' : ` (${reason})`}.`,
      remedy: PYTHON_REMEDIES[host.platform] ?? 'Install Python 3.13 from https://www.python.org/downloads',
    }),
  ];
}

const PYTHON_REMEDIES: Readonly<Record<string, string>> = {
  linux: 'Debian and Ubuntu: sudo apt install python3 python3-venv. Fedora: sudo dnf install python3.13',
  darwin: 'brew install python@3.13',
  win32: 'winget install Python.Python.3.13, then open a new terminal',
};

/** One finding for what can run, and one for each engine that cannot, but for those that wait for a Python. */
export function checkEngines({ engines, host }: DoctorFacts): Finding[] {
  const usable = engines.filter(({ state }) => state !== 'unavailable');
  const toldByPython = (engine: EngineLook): boolean => usable.length > 0 && host.python === null && engine.needsPython;
  const missing = engines.filter((engine) => engine.state === 'unavailable' && !toldByPython(engine));
  const trouble = usable.length === 0 ? problem : warning;
  return [
    ...(usable.length === 0 ? [] : [ok('engines', usable.map(engineText).join(', '))]),
    ...missing.map(({ id, reason, nextStep }) =>
      trouble('engines', {
        what: `${id} cannot run here: ${reason ?? 'the reason is not known'}`,
        why:
          usable.length === 0
            ? 'No engine is left: there is nothing to measure.'
            : 'A run leaves it out and compares the others.',
        remedy: nextStep ?? `runoff engines ${id}`,
      }),
    ),
  ];
}

function engineText({ id, state }: EngineLook): string {
  return state === 'available' ? id : `${id} (to be installed)`;
}
