import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { hasNvidia, hasVulkan } from '../../../src/platform/environments/accelerator.ts';
import { compareVersions, DEFINITIONS_FOLDER, listDefinitions, loadDefinition, sizesOf, unsupportedReason } from '../../../src/platform/environments/definition.ts';
import { explainFailure } from '../../../src/platform/environments/install-failure.ts';
import { installerEnvironment } from '../../../src/platform/environments/installer-environment.ts';
import { chooseNodeBinaries, withBinaries } from '../../../src/platform/environments/node-binaries.ts';
import { findNpmCli, npmCandidates } from '../../../src/platform/environments/npm-command.ts';
import type { NpmHost } from '../../../src/platform/environments/npm-command.ts';
import { choosePython, parsePython } from '../../../src/platform/environments/python.ts';
import type { Python } from '../../../src/platform/environments/python.ts';

describe('the shipped definitions', () => {
  test('are readable and pinned', async () => {
    expect(await listDefinitions(DEFINITIONS_FOLDER)).toEqual(['llama-cpp-converter', 'llama-cpp-python', 'mlx-lm', 'node-llama-cpp', 'xllamacpp']);
    for (const id of ['llama-cpp-converter', 'llama-cpp-python', 'mlx-lm', 'xllamacpp']) {
      const { kind, folder } = await loadDefinition(DEFINITIONS_FOLDER, id);
      expect(kind).toBe('python');
      const lines = (await readFile(join(folder, 'requirements.txt'), 'utf8')).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
      for (const line of lines) expect(line).toMatch(/^[\w.-]+==[\w.]+( ; sys_platform == "(linux|darwin)")?$/);
    }
  });

  test('name no registry', async () => {
    const lock = await readFile(join(DEFINITIONS_FOLDER, 'node-llama-cpp', 'package-lock.json'), 'utf8');
    expect(lock).not.toMatch(/https?:\/\/|"resolved"/);
  });

  test.each([
    ['mlx-lm', 'linux', 'x64', '2.36', null],
    ['mlx-lm', 'linux', 'x64', '2.31', 'MLX with mlx-lm 0.32.2 needs glibc 2.35 or newer; this system has 2.31'],
    ['mlx-lm', 'linux', 'x64', null, 'MLX has no build for musl (Alpine)'],
    ['mlx-lm', 'linux', 'riscv64', '2.40', 'MLX with mlx-lm 0.32.2 has no build for linux-riscv64'],
    ['mlx-lm', 'win32', 'x64', null, 'MLX has no Windows build'],
    ['mlx-lm', 'darwin', 'arm64', null, null],
    ['xllamacpp', 'win32', 'x64', null, null],
    ['xllamacpp', 'win32', 'arm64', null, 'xllamacpp has no build for Windows on ARM'],
    ['node-llama-cpp', 'win32', 'arm64', null, null],
    ['llama-cpp-python', 'win32', 'x64', null, null],
    ['llama-cpp-converter', 'darwin', 'arm64', null, null],
    ['llama-cpp-converter', 'darwin', 'x64', null, 'PyTorch has no build for Intel Macs any more'],
    ['llama-cpp-converter', 'linux', 'x64', null, 'PyTorch has no build for musl (Alpine)'],
    ['llama-cpp-python', 'win32', 'arm64', null, "llama.cpp does not compile with Microsoft's compiler on Windows on ARM"],
  ] as const)('%s on %s-%s with glibc %s: %s', async (id, platform, arch, glibc, reason) => {
    const definition = await loadDefinition(DEFINITIONS_FOLDER, id);
    expect(unsupportedReason(definition, { platform, arch, glibc })?.reason ?? null).toBe(reason);
  });
});

test('the size that is told is that of the platform', async () => {
  const definition = await loadDefinition(DEFINITIONS_FOLDER, 'llama-cpp-converter');
  const megabytes = (platform: NodeJS.Platform, arch: string): number =>
    sizesOf(definition, { platform, arch }).downloadBytes / 1e6;
  expect(megabytes('linux', 'x64')).toBe(2_900);
  expect(megabytes('darwin', 'arm64')).toBeLessThan(400);
  expect(sizesOf(await loadDefinition(DEFINITIONS_FOLDER, 'mlx-lm'), process).downloadBytes).toBe(100_000_000);
});

test('versions are compared by their numbers', () => {
  expect(compareVersions('3.9', '3.10')).toBeLessThan(0);
  expect(compareVersions('3.10', '3.10.0')).toBe(0);
  expect(compareVersions('3.15.0', '3.15')).toBe(0);
});

describe('chooseNodeBinaries', () => {
  test.each([
    ['linux', 'x64', null, 'cpu', ['linux-x64']],
    ['linux', 'x64', 'cuda', 'cuda', ['linux-x64', 'linux-x64-cuda', 'linux-x64-cuda-ext']],
    ['linux', 'x64', 'vulkan', 'vulkan', ['linux-x64', 'linux-x64-vulkan']],
    ['linux', 'arm64', 'cuda', 'cpu', ['linux-arm64']],
    ['linux', 'arm', null, 'cpu', ['linux-armv7l']],
    ['darwin', 'arm64', null, 'metal', ['mac-arm64-metal']],
    ['darwin', 'x64', null, 'cpu', ['mac-x64']],
    ['win32', 'x64', 'cuda', 'cuda', ['win-x64', 'win-x64-cuda', 'win-x64-cuda-ext']],
    ['win32', 'arm64', null, 'cpu', ['win-arm64']],
  ] as const)('%s-%s with %s', (platform, arch, accelerator, variant, names) => {
    const packages = names.map((name) => `@node-llama-cpp/${name}`);
    expect(chooseNodeBinaries({ platform, arch, accelerator })).toEqual({ variant, packages });
  });

  test('a system without one', () => {
    expect(chooseNodeBinaries({ platform: 'freebsd', arch: 'x64', accelerator: null })).toBeNull();
  });

  test('every binary is in the committed lock file, with its hash', async () => {
    const folder = join(DEFINITIONS_FOLDER, 'node-llama-cpp');
    const files = { packageJson: await readFile(join(folder, 'package.json'), 'utf8'), lock: await readFile(join(folder, 'package-lock.json'), 'utf8') };
    for (const [platform, arch] of [['linux', 'x64'], ['linux', 'arm64'], ['linux', 'arm'], ['linux', 'riscv64'], ['darwin', 'arm64'], ['darwin', 'x64'], ['win32', 'x64'], ['win32', 'arm64']] as const) {
      for (const accelerator of [null, 'cuda', 'vulkan'] as const) {
        const packages = chooseNodeBinaries({ platform, arch, accelerator })?.packages ?? [];
        const made = withBinaries(files, packages);
        const { dependencies } = JSON.parse(made.packageJson) as { dependencies: Record<string, string> };
        const lock = JSON.parse(made.lock) as { packages: Record<string, { optional?: boolean; integrity?: string; dependencies?: unknown }> };
        expect(dependencies).toMatchObject({ 'node-llama-cpp': '3.21.1', ...Object.fromEntries(packages.map((name) => [name, '3.21.1'])) });
        expect(lock.packages['']?.dependencies).toEqual(dependencies);
        for (const name of packages) {
          expect(lock.packages[`node_modules/${name}`]).not.toHaveProperty('optional');
          expect(lock.packages[`node_modules/${name}`]?.integrity).toMatch(/^sha512-/);
        }
      }
    }
  });
});

describe('GPU detection', () => {
  test('nvidia-smi', () => {
    expect(hasNvidia('GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)\n')).toBe(true);
    expect(hasNvidia('No devices were found\n')).toBe(false);
    expect(hasNvidia(null)).toBe(false);
  });

  test('Vulkan drivers that are no GPU do not count', () => {
    expect(hasVulkan(['radeon_icd.x86_64.json', 'lvp_icd.x86_64.json'])).toBe(true);
    expect(hasVulkan(['lvp_icd.x86_64.json'])).toBe(false);
    expect(hasVulkan([])).toBe(false);
  });
});

describe('npm', () => {
  function host(files: Record<string, string>, values: Partial<NpmHost>): NpmHost {
    const paths = new Set(Object.values(files));
    return {
      platform: 'linux', execPath: '/opt/node/bin/node', env: {},
      exists: (path) => paths.has(path), realPath: (path) => files[path] ?? null, ...values,
    };
  }

  test('the npm that started us', () => {
    const npm = '/usr/lib/node_modules/npm/bin/npm-cli.js';
    const npx = '/usr/lib/node_modules/npm/bin/npx-cli.js';
    expect(findNpmCli(host({ npm, npx }, { env: { npm_execpath: npx } }))).toBe(npm);
  });

  test('not another package manager that started us', () => {
    const pnpm = '/usr/lib/node_modules/pnpm/bin/pnpm.cjs';
    const beside = '/opt/node/lib/node_modules/npm/bin/npm-cli.js';
    expect(findNpmCli(host({ pnpm, beside }, { env: { npm_execpath: pnpm } }))).toBe(beside);
  });

  test('Debian: through the link on PATH', () => {
    const files = { '/usr/bin/npm': '/usr/share/nodejs/npm/bin/npm-cli.js' };
    expect(findNpmCli(host(files, { env: { PATH: '/usr/local/bin:/usr/bin' } }))).toBe('/usr/share/nodejs/npm/bin/npm-cli.js');
  });

  test('a wrapper script is not taken for JavaScript', () => {
    expect(npmCandidates(host({ '/shims/npm': '/shims/volta-shim' }, { env: { PATH: '/shims' } }))).toEqual(['/opt/node/lib/node_modules/npm/bin/npm-cli.js']);
    expect(findNpmCli(host({}, {}))).toBeNull();
  });
});

describe('choosePython', () => {
  const need = { title: 'MLX', pythonMin: '3.11', pythonBelow: '3.15' };
  const linux = { platform: 'linux', arch: 'x64' } as const;
  const python = (values: Partial<Python>): Python => ({ path: '/usr/bin/python3', version: '3.12.4', machine: 'x86_64', venv: true, ...values });

  test('the first that fits', () => {
    const fit = python({ path: '/b', version: '3.11.0' });
    expect(choosePython([python({ path: '/a', version: '3.10.9' }), fit, python({ path: '/c' })], need, linux)).toEqual({ state: 'found', python: fit });
  });

  test.each([
    ['linux', [], 'MLX needs Python 3.11 or newer (below 3.15), and there is no Python on PATH', 'Debian/Ubuntu: sudo apt install python3 python3-venv; Fedora: sudo dnf install python3.13'],
    ['win32', [python({ version: '3.15.0' })], 'MLX needs Python 3.11 or newer (below 3.15); found only 3.15.0 for x86_64 (/usr/bin/python3)', 'winget install Python.Python.3.13, then open a new terminal'],
    ['darwin', [python({ version: '3.9.6' })], 'MLX needs Python 3.11 or newer (below 3.15); found only 3.9.6 for x86_64 (/usr/bin/python3)', 'brew install python@3.13, or the installer from python.org (for Apple silicon)'],
    ['linux', [python({ venv: false })], 'Python 3.12.4 (/usr/bin/python3) cannot make virtual environments: ensurepip is not installed', 'Debian/Ubuntu: sudo apt install python3-venv'],
  ] as const)('%s: what is missing and how to get it', (platform, pythons, reason, nextStep) => {
    expect(choosePython(pythons, need, { platform, arch: 'x64' })).toEqual({ state: 'missing', reason, nextStep });
  });

  test('a translated Python on Apple silicon does not fit', () => {
    const mac = { platform: 'darwin', arch: 'arm64' } as const;
    expect(choosePython([python({})], need, mac).state).toBe('missing');
    expect(choosePython([python({ machine: 'arm64' })], need, mac).state).toBe('found');
  });

  test('anything that is no answer is no Python', () => {
    expect(parsePython('Python was not found; run without arguments to install from the Microsoft Store')).toBeNull();
    expect(parsePython('{"version":"3.12"}')).toBeNull();
  });
});

test.each([
  ['OSError: [Errno 28] No space left on device', 'the disk is full'],
  ['SSLError(SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED]"))', 'the package registry’s certificate is not trusted here (a proxy that reads along?)'],
  ['npm error code ENOTFOUND\nnpm error network request to https://registry failed', 'the package registry cannot be reached'],
  ['socket.gaierror: [Errno 11001] getaddrinfo failed', 'the package registry cannot be reached'],
  ['npm error 407 Proxy Authentication Required', 'the proxy refuses the connection'],
  ['ERROR: No matching distribution found for mlx==0.32.4', 'the registry has no build of a package for this system'],
  ['ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.', 'a package is not the one whose hash runoff knows'],
  ['c++: fatal error: Killed signal terminated program cc1plus', 'the compiler ran out of memory'],
  ['npm error code EACCES', 'the cache folder may not be written'],
  ['Error: something else\n    at file.js:1:1\nNode.js v24.0.0', 'Error: something else'],
  ['', 'it failed without a word'],
])('%j is explained', (output, reason) => {
  const explanation = explainFailure(output, '/cache/x.log');
  expect(explanation.reason).toBe(reason);
  expect(explanation.nextStep).toContain('The whole output: /cache/x.log');
});

test('installers keep proxies and lose what redirects them', () => {
  const build = { CFLAGS: '-O0', CMAKE_ARGS: '-DGGML_CUDA=on', SKBUILD_BUILD_DIR: '/x' };
  const source = { ...build, CXX: 'g++-13', HTTPS_PROXY: 'p', PIP_CERT: 'c', Path: 'x', PYTHONPATH: 'y', pip_target: 'z', npm_config_global: 'true', npm_package_name: 'runoff', UNSET: undefined };
  expect(installerEnvironment(source)).toEqual({ CXX: 'g++-13', HTTPS_PROXY: 'p', PIP_CERT: 'c', Path: 'x' });
});
