import { existsSync } from 'node:fs';
import { mkdtemp, readFile, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { configureArgs, jobsFor, librariesIn } from '../../../src/platform/environments/build-compiled.ts';
import { compileStep, minutesHere } from '../../../src/platform/environments/compile-progress.ts';
import { missingCompiler } from '../../../src/platform/environments/compiler.ts';
import type { CompilerFacts } from '../../../src/platform/environments/compiler.ts';
import { DEFINITIONS_FOLDER, loadDefinition } from '../../../src/platform/environments/definition.ts';
import { createEnvironments } from '../../../src/platform/environments/environments.ts';
import type { Environments } from '../../../src/platform/environments/environments.ts';
import { placeOf } from '../../../src/platform/environments/target.ts';

const FIXTURES = fileURLToPath(new URL('../fixtures', import.meta.url));

describe('what a build says while it runs', () => {
  test.each([
    ['[12/212] Building CXX object src/CMakeFiles/llama.dir/llama.cpp.o', 'compiling 12 of 212 (5%)'],
    ['[212/212] Linking CXX executable bin/llama-server', 'compiling 212 of 212 (100%)'],
    ['[  7%] Building C object ggml/src/CMakeFiles/ggml-base.dir/ggml.c.o', 'compiling (7%)'],
    ['[100%] Built target llama-server', 'compiling (100%)'],
    ['-- The CXX compiler identification is GNU 12.2.0', 'configuring the build'],
    ['-- The CXX compiler identification is unknown', null],
    ['[13/12] more than there is', null],
    ['[0/0] nothing', null],
    ['[999999/999999] no build of ours', null],
    ['[170%] no', null],
    ['warning: [1/2] in the middle', null],
    ['', null],
  ])('%s', (line, said) => {
    expect(compileStep(line)).toBe(said);
  });

  test.each([
    [10, 2, 10],
    [10, 16, 1],
    [10, 1, 20],
    [10, 3, 7],
    [10, 0, 20],
  ])('%d minutes on two cores, %d cores: %d', (minutes, cores, here) => {
    expect(minutesHere(minutes, cores)).toBe(here);
  });
});

describe('a compiler', () => {
  const none: CompilerFacts = { platform: 'linux', c: null, cxx: null, apple: false, visualStudio: null };
  const reason = 'Demo is compiled on this machine, and there is no C++ compiler';

  test.each<[string, Partial<CompilerFacts>, string]>([
    ['Linux', {}, 'sudo apt install build-essential'],
    ['Linux with a C compiler only', { c: '/usr/bin/cc' }, 'sudo apt install build-essential'],
    ['a Mac, where the stub on PATH counts nothing', { platform: 'darwin', c: '/usr/bin/cc', cxx: '/usr/bin/c++' }, 'xcode-select --install'],
    ['Windows, where MinGW on PATH counts nothing', { platform: 'win32', c: 'gcc', cxx: 'g++' }, 'Visual Studio Build Tools'],
  ])('%s: missing, with the next step', (_, facts, step) => {
    const missing = missingCompiler({ ...none, ...facts }, 'Demo');
    expect(missing?.reason).toBe(reason);
    expect(missing?.nextStep).toContain(step);
  });

  test.each<Partial<CompilerFacts>>([
    { c: '/usr/bin/cc', cxx: '/usr/bin/c++' },
    { platform: 'darwin', apple: true },
    { platform: 'win32', visualStudio: 'C:\\Program Files\\Microsoft Visual Studio' },
  ])('%j is enough', (facts) => {
    expect(missingCompiler({ ...none, ...facts }, 'Demo')).toBeNull();
  });
});

describe('the build', () => {
  const compile = { sourceFolder: 'vendor/llama.cpp', define: { GGML_NATIVE: 'ON', LLAMA_OPENSSL: 'OFF' } };
  const places = { definition: '/r/environments/demo', source: '/c/src', build: '/c/objects', programs: '/c/bin', libraries: '/c/lib/python3.12/site-packages/llama_cpp/lib' };

  test('Linux: Ninja, and libraries that are found from where they lie', () => {
    expect(configureArgs(compile, places, 'linux')).toEqual([
      '-S', '/c/src/vendor/llama.cpp', '-B', '/c/objects', '-G', 'Ninja', '-DCMAKE_MAKE_PROGRAM=/c/bin/ninja',
      '-DCMAKE_BUILD_TYPE=Release', '-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON',
      '-DCMAKE_INSTALL_RPATH=$ORIGIN;$ORIGIN/../lib/python3.12/site-packages/llama_cpp/lib',
      '-DGGML_NATIVE=ON', '-DLLAMA_OPENSSL=OFF',
    ]);
  });

  test('what CMake reads after the library’s project() is a file of the definition', () => {
    const args = configureArgs({ ...compile, projectInclude: 'project.cmake' }, places, 'linux');
    expect(args).toContain('-DCMAKE_PROJECT_INCLUDE:FILEPATH=/r/environments/demo/project.cmake');
  });

  test('macOS has another word for it, Windows none', () => {
    expect(configureArgs(compile, places, 'darwin')).toContain(
      '-DCMAKE_INSTALL_RPATH=@loader_path;@loader_path/../lib/python3.12/site-packages/llama_cpp/lib',
    );
    const windows = configureArgs(compile, places, 'win32');
    expect(windows.join(' ')).not.toMatch(/Ninja|RPATH/);
  });

  test.each([
    ['linux', ['libllama.so', 'libllama.so.0', 'libllama.so.0.5.0']],
    ['darwin', ['libllama.dylib', 'libllama.0.dylib']],
    ['win32', ['llama.dll']],
  ] as const)('libraries on %s', (platform, expected) => {
    const names = ['llama-server', 'llama-server.exe', 'llama.lib', 'libcommon.a', 'libllama.so', 'libllama.so.0', 'libllama.so.0.5.0', 'libllama.dylib', 'libllama.0.dylib', 'llama.dll', 'x.so.txt'];
    expect(librariesIn(names, platform)).toEqual(expected);
  });

  test.each([
    [2, 24e9, 2],
    [64, 16e9, 10],
    [4, 1e9, 1],
  ])('%d cores with %d bytes: %d compilers at once', (cores, memoryBytes, jobs) => {
    expect(jobsFor({ cores, memoryBytes })).toBe(jobs);
  });

  test('of llama-cpp-python: pinned with its hash, optimised for this machine, without network', async () => {
    const definition = await loadDefinition(DEFINITIONS_FOLDER, 'llama-cpp-python');
    const lines = async (name: string): Promise<string[]> =>
      (await readFile(join(definition.folder, name), 'utf8')).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    expect(await lines('source.txt')).toEqual([expect.stringMatching(/^llama-cpp-python==[\d.]+ --hash=sha256:[0-9a-f]{64}$/)]);
    for (const line of await lines('build-requirements.txt')) expect(line).toMatch(/^[\w-]+==[\d.]+$/);
    const compiled = definition.kind === 'python' ? definition.compile : undefined;
    expect(compiled?.define).toMatchObject({
      GGML_NATIVE: 'ON', GGML_OPENMP: 'ON', BUILD_SHARED_LIBS: 'ON', LLAMA_USE_PREBUILT_UI: 'OFF', LLAMA_BUILD_UI: 'OFF', LLAMA_OPENSSL: 'OFF',
    });
    expect(compiled?.programs).toEqual(['llama-server']);
  });
});

test('it belongs to this processor: a library that is made for it is another environment than one that is not', async () => {
  const definition = await loadDefinition(DEFINITIONS_FOLDER, 'llama-cpp-python');
  const place = await placeOf(definition, '/cache', 'off');
  const readyMade = await placeOf({ ...definition, compile: undefined } as typeof definition, '/cache', 'off');
  expect(place.hash).not.toBe(readyMade.hash);
  expect(place.root).toBe(join('/cache', 'llama-cpp-python'));
});

describe.skipIf(process.platform !== 'linux')('an environment that is compiled', () => {
  const saved = { PATH: process.env['PATH'], CC: process.env['CC'], CXX: process.env['CXX'] };
  let cacheFolder = '';
  let progress: string[] = [];
  let environments: Environments;

  beforeEach(async () => {
    cacheFolder = await mkdtemp(join(tmpdir(), 'runoff-test-'));
    progress = [];
    environments = createEnvironments({
      cacheFolder,
      onProgress: (text) => progress.push(text),
      definitionsFolder: join(FIXTURES, 'compiled-environments'),
    });
    Object.assign(process.env, {
      PATH: [join(FIXTURES, 'bin'), dirname(process.execPath)].join(delimiter),
      FAKE_PYTHON_LOG: join(cacheFolder, 'calls.log'),
      CC: process.execPath,
      CXX: `${process.execPath} -O2`,
    });
  });

  afterEach(async () => {
    for (const [name, value] of Object.entries(saved)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    delete process.env['FAKE_PYTHON'];
    delete process.env['FAKE_PYTHON_LOG'];
    await rm(cacheFolder, { recursive: true, force: true });
  });

  test('says so before, with the minutes', async () => {
    const found = await environments.inspect('demo');
    expect(found).toMatchObject({ state: 'absent', downloadBytes: 1000, compileMinutes: expect.any(Number) });
    expect(found).toHaveProperty('what', expect.stringMatching(/^Demo library \(compiled here, about \d+ minutes?\)$/));
  });

  test('is impossible without a compiler, with the next step', async () => {
    delete process.env['CXX'];
    const expected = { reason: 'Demo library is compiled on this machine, and there is no C++ compiler', nextStep: expect.stringContaining('build-essential') };
    expect(await environments.inspect('demo')).toEqual({ state: 'impossible', ...expected });
    await expect(environments.ensure('demo')).rejects.toMatchObject({ code: 'environment-failed', message: expected.reason, hint: expected.nextStep });
  });

  test('one build makes the library and its program; both are put where they are looked for', async () => {
    const { root, packages } = await environments.ensure('demo');
    expect(packages).toEqual({ demo: '1.0', 'demo.cpp': 'abc1234' });
    const libraries = join(root, 'lib', 'site-packages', 'demo', 'lib');
    expect(await readlink(join(libraries, 'libdemo.so'))).toBe('libdemo.so.1');
    expect(await readFile(join(libraries, 'libdemo.so'), 'utf8')).toBe('library');
    expect(await readFile(join(root, 'bin', 'demo-server'), 'utf8')).toContain('exit 0');
    expect(existsSync(join(root, 'build'))).toBe(false);
    expect(progress.filter((text) => text.includes('compiling'))).toEqual([1, 2, 3].map((done) => `Demo library: compiling ${done} of 3 (${Math.floor((100 * done) / 3)}%)`));
    const calls = (await readFile(join(cacheFolder, 'calls.log'), 'utf8')).split('\n').filter((line) => line.startsWith('-m'));
    expect(calls.map((line) => line.split(' ').slice(1, 3).join(' ').replace(cacheFolder, '').replace(/^venv .*/, 'venv'))).toEqual([
      'venv', 'pip install', 'pip install', 'pip download', 'cmake -S', 'cmake --build', 'pip install', 'pip uninstall',
    ]);
  });

  test.each([
    ['compile-fails', "compiling failed: [1/3] Building CXX object demo.cpp.o\ndemo.cpp:1:10: fatal error: 'omp.h' file not found"],
    ['no-program', 'the build left no demo-server'],
    ['lost-library', 'starting demo-server failed: libdemo.so.1: cannot open'],
    ['two-archives', 'pip left 2 files instead of one source archive'],
  ])('%s: nothing passes for ready', async (fault, message) => {
    process.env['FAKE_PYTHON'] = fault;
    await expect(environments.ensure('demo')).rejects.toMatchObject({ code: 'environment-failed', message: expect.stringContaining(message) });
    expect(await environments.inspect('demo')).toMatchObject({ state: 'broken' });
  });
});
