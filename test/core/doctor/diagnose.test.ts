import { describe, expect, test } from 'vitest';
import { diagnose } from '../../../src/core/doctor/diagnose.ts';
import type { DoctorFacts, Gpu } from '../../../src/core/doctor/facts.ts';
import { diagnosisSchema, type Finding } from '../../../src/core/doctor/finding.ts';
import { takesLlamafiles } from '../../../src/core/doctor/llamafile-checks.ts';
import { NODE_MIN } from '../../../src/core/doctor/machine-checks.ts';
import packageJson from '../../../package.json' with { type: 'json' };
import { ENGINE, HEALTHY, HOST, LLAMAFILE_HOST, MODEL, SHAPE, withEngine, withHost, withModel } from './healthy.ts';

type Changes = Partial<DoctorFacts>;

function find(changes: Changes, id: string): Finding[] {
  return diagnose({ ...HEALTHY, ...changes }).filter((finding) => finding.id === id);
}

/** The one finding of a check that is of this severity. */
function only(changes: Changes, id: string, severity: Finding['severity']): Finding {
  const found = find(changes, id).filter((finding) => finding.severity === severity);
  expect(found).toHaveLength(1);
  return found[0] as Finding;
}

const NVIDIA: Gpu = { vendor: 'nvidia', name: 'NVIDIA RTX 4070', driver: 'works', integrated: false };
const LLAMAFILE = { path: '/models/big.llamafile', hazards: [] } as const;
const WINE = { name: 'DOSWin', enabled: true, interpreter: '/usr/bin/wine', magic: '4d5a', offset: 0 };
const MEMORY = HOST.memory;
const MAC = { platform: 'darwin', arch: 'arm64', nativeArch: 'arm64' } as const;

test('a healthy machine: nothing is wrong and everything is told', () => {
  const severities = new Set(diagnose(HEALTHY).map(({ severity }) => severity));
  expect([...severities]).toEqual(['ok']);
});

/** Each row is one check: what is changed, and the finding that must come of it. */
const TROUBLES: readonly (readonly [
  name: string,
  id: string,
  severity: Finding['severity'],
  changes: Changes,
  says: RegExp,
  remedy: RegExp,
])[] = [
  [
    'a cut file',
    'model-file',
    'problem',
    { model: { state: 'unreadable', path: '/m.gguf', fileBytes: 1_000, missingBytes: 234, message: '', hint: null } },
    /promises 1,234 bytes, the file has 1,000 bytes; 234 bytes are missing/,
    /^Go on with the download: curl --location --continue-at - --output \/m\.gguf URL$/,
  ],
  [
    'a file that is none',
    'model-file',
    'problem',
    {
      model: {
        state: 'unreadable',
        path: '/m.gguf',
        fileBytes: null,
        missingBytes: null,
        message: 'It starts with "PK".',
        hint: 'Unzip it.',
      },
    },
    /^It starts with "PK"\.$/,
    /^Unzip it\.$/,
  ],
  [
    'more than the machine has',
    'memory',
    'problem',
    withHost({ memory: { ...MEMORY, totalBytes: 4e9, availableBytes: 3e9 } }),
    /weights 4\.9 GB, KV cache for 768 tokens 101 MB.*this machine has 4\.0 GB/,
    /llama-quantize/,
  ],
  [
    'more than the group allows',
    'memory',
    'problem',
    withHost({ memory: { ...MEMORY, totalBytes: 4e9, availableBytes: 3e9, limitedByGroup: true } }),
    /its control group allows 4\.0 GB/,
    /docker run --memory 6g$/,
  ],
  [
    'more than is free',
    'memory',
    'problem',
    withHost({ memory: { ...MEMORY, availableBytes: 5e9 } }),
    /5\.0 GB of 64\.0 GB are available now/,
    /Close other programs until 5\.4 GB/,
  ],
  [
    'no room for the whole context',
    'full-context',
    'warning',
    withHost({ memory: { ...MEMORY, availableBytes: 16e9 } }),
    /whole context of 131,072 tokens does not fit.*largest that fits is about 7\d,\d{3} tokens/,
    /--ctx-size 7\d{4}, or 1[23]\d{4} with --cache-type-k q8_0 --cache-type-v q8_0$/,
  ],
  [
    'a context that is too short',
    'context-length',
    'problem',
    withModel({ contextTokens: 512 }),
    /512 tokens; the default prompts need 576/,
    /^runoff run --model \/models\/llama\.gguf --prompt 448 --generate 64$/,
  ],
  [
    'no tokenizer',
    'pre-tokenizer',
    'problem',
    withModel({ tokenizer: { kind: null, preTokenizer: null, isKnownHere: false } }),
    /contains no tokenizer/,
    /convert_hf_to_gguf/,
  ],
  [
    'no pre-tokenizer',
    'pre-tokenizer',
    'warning',
    withModel({ tokenizer: { kind: 'gpt2', preTokenizer: null, isKnownHere: false } }),
    /does not say how/,
    /--pre-tokenizer NAME/,
  ],
  [
    'a pre-tokenizer that nobody knows',
    'pre-tokenizer',
    'warning',
    withModel({ tokenizer: { kind: 'gpt2', preTokenizer: 'klingon', isKnownHere: false } }),
    /klingon is not among those of llama\.cpp v0\.4\.0/,
    /Update the engine/,
  ],
  [
    'a pre-tokenizer that only llama.cpp knows',
    'pre-tokenizer',
    'warning',
    withModel({ tokenizer: { kind: 'gpt2', preTokenizer: 'viking', isKnownHere: false } }),
    /does not have the pre-tokenizer viking; llama\.cpp does/,
    /--engine/,
  ],
  [
    'an engine older than the model',
    'architecture',
    'problem',
    withModel({ shape: { ...SHAPE, architecture: 'qwen3next' } }),
    /holds llama\.cpp b6384; qwen3next came with b7186 \(llama\.cpp pull request 16095\)/,
    /Update \/opt\/llama\/llama-server to llama\.cpp b7186/,
  ],
  [
    'Q4_1 on x86',
    'kernels',
    'warning',
    withModel({ quantisation: 'Q4_1' }),
    /Q4_1, this processor is x86/,
    /^llama-quantize --allow-requantize \/models\/llama\.gguf model-Q4_0\.gguf Q4_0/,
  ],
  [
    'a network drive',
    'file-system',
    'warning',
    withModel({ fileSystem: 'nfs4' }),
    /lies on nfs4, a file system of another machine/,
    /^Copy it to a disk/,
  ],
  [
    'a drive of Windows in WSL',
    'file-system',
    'warning',
    { ...withHost({ wsl: true }), ...withModel({ fileSystem: '9p' }) },
    /9p, a drive of Windows seen through WSL/,
    /Linux system/,
  ],
  [
    'a fault of the llamafile',
    'llamafile',
    'problem',
    withModel({ ...LLAMAFILE, hazards: [{ what: 'No model is inside.', remedy: 'Pack one.', fatal: true }] }),
    /No model is inside/,
    /Pack one/,
  ],
  [
    'a trap of the llamafile',
    'llamafile',
    'warning',
    withModel({ ...LLAMAFILE, hazards: [{ what: 'It opens a browser.', remedy: '--nobrowser', fatal: false }] }),
    /browser/,
    /--nobrowser/,
  ],
  [
    'a llamafile of 4 GiB on Windows',
    'windows-limit',
    'problem',
    { ...withHost({ platform: 'win32', nativeArch: 'x64' }), ...withModel({ ...LLAMAFILE, fileBytes: 2 ** 32 }) },
    /4\.3 GB: it cannot be started on this system/,
    /llamafile\.exe -m \/models\/big\.llamafile$/,
  ],
  [
    'a llamafile of 4 GiB elsewhere',
    'windows-limit',
    'warning',
    withModel({ ...LLAMAFILE, fileBytes: 2 ** 32 }),
    /starts here, but not on Windows/,
    /llamafile\.exe -m/,
  ],
  [
    'WINE takes over',
    'binfmt',
    'warning',
    { llamafile: { ...LLAMAFILE_HOST, binfmt: [WINE] } },
    /start with MZ to \/usr\/bin\/wine \(DOSWin\)/,
    /echo -1 > \/proc\/sys\/fs\/binfmt_misc\/DOSWin'/,
  ],
  [
    'no command line tools',
    'xcode-tools',
    'problem',
    { ...withHost(MAC), llamafile: { ...LLAMAFILE_HOST, commandLineTools: false } },
    /not installed/,
    /^xcode-select --install$/,
  ],
  [
    'quarantine',
    'quarantine',
    'problem',
    { ...withHost(MAC), quarantine: { checked: 2, marked: ['/Users/ada/my model.llamafile'] } },
    /com\.apple\.quarantine/,
    /xattr -d com\.apple\.quarantine "\/Users\/ada\/my model\.llamafile"$/,
  ],
  ['an old Node.js', 'node', 'problem', withHost({ nodeVersion: 'v20.11.1' }), /20\.11\.1 runs this/, /Node\.js 24/],
  [
    'Rosetta',
    'translation',
    'problem',
    withHost({ platform: 'darwin', arch: 'x64', nativeArch: 'arm64' }),
    /x64 Node\.js on an arm64 processor, run through Rosetta 2/,
    /nodejs\.org/,
  ],
  [
    'emulation on Windows',
    'translation',
    'problem',
    withHost({ platform: 'win32', arch: 'x64', nativeArch: 'arm64' }),
    /the emulation of Windows/,
    /arm64 build/,
  ],
  ['musl', 'c-library', 'warning', withHost({ musl: true }), /musl/, /docker run -it node:24-bookworm/],
  [
    'no Python',
    'python',
    'warning',
    { ...withHost({ python: null }), ...withEngine({ state: 'installable', needsPython: true }) },
    /no usable Python 3\.10 or newer on PATH; llama-server cannot/,
    /apt install python3/,
  ],
  [
    'no engine',
    'engines',
    'problem',
    withEngine({ state: 'unavailable', reason: 'it is not on PATH', nextStep: 'Install it.' }),
    /llama-server cannot run here: it is not on PATH/,
    /^Install it\.$/,
  ],
  [
    'one engine of two',
    'engines',
    'warning',
    {
      engines: [
        ENGINE,
        { ...ENGINE, id: 'mlx-lm', state: 'unavailable', reason: 'no build for it', nextStep: 'Leave it out.' },
      ],
    },
    /mlx-lm cannot run here/,
    /Leave it out/,
  ],
  [
    'a GPU without its driver',
    'gpu-driver',
    'warning',
    { gpus: [{ ...NVIDIA, name: null, driver: 'missing' }] },
    /^An NVIDIA GPU is there, but its driver is not loaded/,
    /ubuntu-drivers install.*docker run --gpus all/,
  ],
  [
    'a GPU that is closed to the user',
    'gpu-driver',
    'warning',
    { gpus: [{ ...NVIDIA, vendor: 'amd', name: null, driver: 'no-access' }] },
    /may not open its device/,
    /usermod -aG render,video/,
  ],
  [
    'the CPU beside a GPU',
    'cpu-fallback',
    'warning',
    { gpus: [NVIDIA] },
    /NVIDIA RTX 4070 works here, but llama-server will compute on the CPU/,
    /--engine-path llama-server=PATH/,
  ],
  [
    'noexec of the cache',
    'noexec-cache',
    'problem',
    { places: [{ use: 'cache', path: '/c', mountPath: '/', freeBytes: 1e12, noExec: true }] },
    /\/c is mounted noexec/,
    /RUNOFF_CACHE=FOLDER.*remount,exec \/$/,
  ],
  [
    'noexec of the loader',
    'noexec-loader',
    'problem',
    {
      llamafile: LLAMAFILE_HOST,
      places: [{ use: 'loader', path: '/tmp', mountPath: '/', freeBytes: null, noExec: true }],
    },
    /\/tmp is mounted noexec/,
    /TMPDIR=\$HOME sh/,
  ],
  [
    'a full cache',
    'disk-cache',
    'warning',
    { places: [{ use: 'cache', path: '/c', mountPath: '/', freeBytes: 400e6, noExec: false }] },
    /400 MB are free in the cache folder \(\/c\)/,
    /runoff cache/,
  ],
  [
    'a cache without room for engines',
    'disk-cache',
    'problem',
    {
      ...withEngine({ state: 'installable', downloadBytes: 200e6 }),
      places: [{ use: 'cache', path: '/c', mountPath: '/', freeBytes: 500e6, noExec: false }],
    },
    /1\.1 GB are needed/,
    /RUNOFF_CACHE/,
  ],
  [
    'a full disk of the runs',
    'disk-runs',
    'problem',
    { places: [{ use: 'runs', path: '/r', mountPath: '/', freeBytes: 50e6, noExec: false }] },
    /50 MB are free in the folder of the runs/,
    /--out FOLDER/,
  ],
  ['battery', 'power', 'warning', withHost({ power: 'battery' }), /battery/, /power supply/],
  [
    'power saving',
    'power-mode',
    'warning',
    withHost({ powerMode: { name: 'governor powersave', saves: true } }),
    /saves power: governor powersave/,
    /powerprofilesctl set performance/,
  ],
  [
    'power saving on a Mac',
    'power-mode',
    'warning',
    withHost({ ...MAC, powerMode: { name: 'low power mode', saves: true } }),
    /low power mode/,
    /^sudo pmset -a lowpowermode 0$/,
  ],
  [
    'throttling',
    'thermal',
    'warning',
    withHost({ thermal: { throttled: true, detail: 'CPU_Speed_Limit 60%' } }),
    /too hot.*CPU_Speed_Limit 60%/,
    /cool/,
  ],
  [
    'a quota below the threads',
    'cpu-quota',
    'warning',
    withHost({ cpuQuotaCores: 2.5 }),
    /allows 2\.5 cores of CPU time, a run would use 4 threads/,
    /^runoff run --threads 2, or/,
  ],
  [
    'a quota below one core',
    'cpu-quota',
    'warning',
    withHost({ cpuQuotaCores: 0.5 }),
    /allows 0\.5 cores/,
    /^Give the container at least one core/,
  ],
  [
    'busy cores',
    'busy',
    'warning',
    {
      activity: {
        ...HEALTHY.activity,
        loadAverage: 7.9,
        busiest: [
          { name: 'vitest', coreShare: 1.8 },
          { name: 'cc1plus', coreShare: 0.09 },
        ],
        interference: { foreignCpuShare: 0.5, stealShare: 0, ownCpuShare: 0 },
      },
    },
    /Other programs use 50% of the processor now, load 7\.9 on 8 cores/,
    /vitest \(180% of a core\), cc1plus \(9\.0% of a core\)$/,
  ],
  [
    'stolen cores',
    'busy',
    'warning',
    { activity: { ...HEALTHY.activity, interference: { foreignCpuShare: 0, stealShare: 0.1, ownCpuShare: 0 } } },
    /hypervisor takes 10% of the processor/,
    /share its cores/,
  ],
  [
    'swapping',
    'swap',
    'warning',
    { activity: { ...HEALTHY.activity, swapInPages: 12 } },
    /12 pages in a second/,
    /Close programs/,
  ],
  [
    'memory in swap',
    'swap',
    'warning',
    withHost({ memory: { ...MEMORY, swapUsedBytes: 7e9 } }),
    /7\.0 GB lie in swap/,
    /Close programs/,
  ],
];

test.each(TROUBLES)('%s', (_name, id, severity, changes, says, remedy) => {
  const finding = only(changes, id, severity);
  expect(finding.what).toMatch(says);
  expect(finding.why).not.toBeNull();
  expect(finding.remedy).toMatch(remedy);
});

/** A fact that is missing is said to be missing; it is neither fine nor wrong. */
const UNTOLD: readonly (readonly [id: string, changes: Changes])[] = [
  ['memory', withHost({ memory: { ...MEMORY, availableBytes: null } })],
  ['memory', withModel({ shape: { ...SHAPE, kvHeads: null } })],
  ['context-length', withModel({ contextTokens: 0 })],
  ['architecture', withModel({ shape: { ...SHAPE, architecture: 'brand-new' } })],
  ['architecture', withEngine({ llamaBuild: null })],
  ['binfmt', { llamafile: { ...LLAMAFILE_HOST, binfmt: null } }],
  ['xcode-tools', { ...withHost(MAC), llamafile: { ...LLAMAFILE_HOST, commandLineTools: null } }],
  ['quarantine', withHost(MAC)],
  ['translation', withHost({ platform: 'darwin', arch: 'arm64', nativeArch: null })],
  ['gpu-driver', { gpus: null }],
  ['gpu-driver', { gpus: [{ ...NVIDIA, driver: 'unknown' }] }],
  ['cpu-fallback', { gpus: [NVIDIA], ...withEngine({ device: 'unknown' }) }],
  ['noexec-cache', { places: [{ use: 'cache', path: '/c', mountPath: '/', freeBytes: 1e12, noExec: null }] }],
  ['disk-cache', { places: [{ use: 'cache', path: '/c', mountPath: '/', freeBytes: null, noExec: false }] }],
  ['power', withHost({ power: 'unknown' })],
  ['power-mode', withHost({ powerMode: null })],
  ['thermal', withHost({ thermal: null })],
  [
    'busy',
    { activity: { ...HEALTHY.activity, interference: { foreignCpuShare: null, stealShare: null, ownCpuShare: null } } },
  ],
  ['swap', withHost({ memory: { ...MEMORY, swapUsedBytes: null } })],
];

test.each(UNTOLD)('%s: could not be told', (id, changes) => {
  expect(find(changes, id).map(({ severity }) => severity)).toEqual(['unknown']);
});

test('the command that shows what is busy, where no names are told', () => {
  const interference = { foreignCpuShare: 0.5, stealShare: 0, ownCpuShare: 0 };
  const changes = { activity: { ...HEALTHY.activity, interference, busiest: null } };
  expect(only(changes, 'busy', 'warning').remedy).toContain('top shows it');
  expect(only({ ...changes, ...withHost({ platform: 'win32' }) }, 'busy', 'warning').remedy).toContain('Get-Process');
});

test('a card with memory of its own may hold what the machine cannot', () => {
  const small = withHost({ memory: { ...MEMORY, totalBytes: 4e9, availableBytes: 3e9 } });
  expect(only({ ...small, gpus: [NVIDIA] }, 'memory', 'warning').why).toContain(
    'A GPU that can hold all of it is not concerned.',
  );
  expect(only({ ...small, gpus: [{ ...NVIDIA, driver: 'missing' }] }, 'memory', 'problem').why).not.toContain('A GPU');
  expect(
    only({ ...small, gpus: [{ ...NVIDIA, vendor: 'intel', integrated: true }] }, 'memory', 'problem').why,
  ).not.toContain('A GPU');
  expect(only({ ...small, gpus: [{ ...NVIDIA, vendor: 'apple' }] }, 'memory', 'problem').why).not.toContain('A GPU');
});

test('the model of a llamafile is taken out into the cache', () => {
  const places = [{ use: 'cache', path: '/c', mountPath: '/', freeBytes: 5e9, noExec: false }] as const;
  expect(only({ places }, 'disk-cache', 'ok').what).toContain('5.0 GB free');
  expect(only({ places, ...withModel(LLAMAFILE) }, 'disk-cache', 'warning').what).toContain('5.4 GB are needed');
  expect(only({ places, ...withEngine({ convertsModel: true }) }, 'disk-cache', 'problem').what).toContain(
    '6.4 GB are needed',
  );
});

test('without Python, an engine that waits for it is told once, with its reason', () => {
  const waiting = {
    ...ENGINE,
    id: 'mlx-lm',
    state: 'unavailable',
    needsPython: true,
    reason: 'venv is missing',
    nextStep: 'x',
  } as const;
  const engines = { engines: [ENGINE, waiting] };
  expect(find({ ...engines, ...withHost({ python: null }) }, 'engines').map(({ severity }) => severity)).toEqual([
    'ok',
  ]);
  expect(only({ ...engines, ...withHost({ python: null }) }, 'python', 'warning').why).toContain('(venv is missing)');
  expect(only(engines, 'engines', 'warning').what).toContain('venv is missing');
  expect(only({ engines: [waiting], ...withHost({ python: null }) }, 'engines', 'problem').why).toContain(
    'No engine is left',
  );
});

describe('no false alarm', () => {
  const silent = (changes: Changes, id: string): void => {
    const severities = find(changes, id).map(({ severity }) => severity);
    expect(severities.filter((severity) => severity !== 'ok')).toEqual([]);
  };

  test('one byte less than 4 GiB', () => {
    silent(
      { ...withHost({ platform: 'win32', nativeArch: 'x64' }), ...withModel({ ...LLAMAFILE, fileBytes: 2 ** 32 - 1 }) },
      'windows-limit',
    );
    expect(find(withModel({ fileBytes: 2 ** 40 }), 'windows-limit')).toEqual([]);
  });

  test('a SentencePiece tokenizer has no pre-tokenizer', () => {
    silent(withModel({ tokenizer: { kind: 'llama', preTokenizer: null, isKnownHere: false } }), 'pre-tokenizer');
  });

  test('Q4_1 on ARM, under Rosetta', () =>
    silent({ ...withHost({ ...MAC, arch: 'x64' }), ...withModel({ quantisation: 'Q4_1' }) }, 'kernels'));
  test('Q4_1 on ARM', () =>
    silent({ ...withHost({ arch: 'arm64' }), ...withModel({ quantisation: 'Q4_1' }) }, 'kernels'));
  test('the build that brought the architecture', () =>
    silent(
      { ...withModel({ shape: { ...SHAPE, architecture: 'seed_oss' } }), ...withEngine({ llamaBuild: 6_257 }) },
      'architecture',
    ));
  test('a quota as large as the threads', () => silent(withHost({ cpuQuotaCores: 4 }), 'cpu-quota'));
  test('an integrated GPU that is not used', () =>
    silent({ gpus: [{ ...NVIDIA, vendor: 'intel', integrated: true }] }, 'cpu-fallback'));
  test('an engine on the GPU', () => silent({ gpus: [NVIDIA], ...withEngine({ device: 'cuda' }) }, 'cpu-fallback'));
  test('a GPU whose driver is missing is told once', () =>
    expect(find({ gpus: [{ ...NVIDIA, driver: 'missing' }] }, 'cpu-fallback')).toEqual([]));
  test('the limits of a run are the limits here', () => {
    silent(
      { activity: { ...HEALTHY.activity, interference: { foreignCpuShare: 0.05, stealShare: 0.02, ownCpuShare: 0 } } },
      'busy',
    );
  });
  test('a little swap in use', () => silent(withHost({ memory: { ...MEMORY, swapUsedBytes: 1e9 } }), 'swap'));
  test('llamafiles are nobody’s concern without one', () => {
    const ids = diagnose({
      ...HEALTHY,
      places: [{ use: 'loader', path: '/tmp', mountPath: '/', freeBytes: null, noExec: true }],
    }).map(({ id }) => id);
    expect(ids).not.toContain('noexec-loader');
    expect(ids).not.toContain('binfmt');
  });
  test('without a model, the machine is still looked at', () => {
    const findings = diagnose({ ...HEALTHY, model: null });
    expect(findings.map(({ id }) => id)).not.toContain('memory');
    expect(findings.length).toBeGreaterThan(8);
  });
});

describe('who takes llamafiles over', () => {
  test.each([
    ['WINE', WINE, true],
    ['WSL', { ...WINE, name: 'WSLInterop-late', interpreter: '/init' }, true],
    ['run-detectors', { ...WINE, name: 'jar', interpreter: '/usr/bin/run-detectors' }, true],
    ['the loader of APE itself', { ...WINE, name: 'APE', interpreter: '/usr/bin/ape', magic: '4d5a71467044' }, false],
    ['a disabled one', { ...WINE, enabled: false }, false],
    ['qemu', { ...WINE, name: 'qemu-aarch64', interpreter: '/usr/bin/qemu-aarch64', magic: '7f454c46020101' }, false],
    ['by extension', { ...WINE, magic: null }, false],
    ['elsewhere in the file', { ...WINE, offset: 128 }, false],
  ])('%s', (_name, entry, expected) => expect(takesLlamafiles(entry)).toBe(expected));
});

test('problems come first, unknown facts before fine ones', () => {
  const findings = diagnose({ ...HEALTHY, ...withHost({ power: 'battery', thermal: null, nodeVersion: 'v18.0.0' }) });
  expect([...new Set(findings.map(({ severity }) => severity))]).toEqual(['problem', 'warning', 'unknown', 'ok']);
});

test('every finding is one that --json may print, however long a path is', () => {
  const path = `/${'x'.repeat(5_000)}.gguf`;
  const findings = diagnose({
    ...HEALTHY,
    model: { state: 'unreadable', path, fileBytes: 1, missingBytes: 1, message: '', hint: null },
  });
  const parsed = diagnosisSchema.safeParse({ schemaVersion: 1, machine: 'm', model: null, engines: [], findings });
  expect(parsed.error).toBeUndefined();
});

test('the oldest Node.js is that of package.json', () => {
  expect(packageJson.engines.node).toBe(`>=${NODE_MIN.replace(/\.0$/, '')}`);
});

test('a model that is read has no other fault', () => {
  expect(only({}, 'model-file', 'ok').what).toContain('4.9 GB');
  expect(MODEL.hazards).toBeNull();
});
