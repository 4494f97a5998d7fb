import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { DEFINITIONS_FOLDER, loadDefinition } from '../../src/platform/environments/definition.ts';
import { writeMarker } from '../../src/platform/environments/marker.ts';
import { placeOf } from '../../src/platform/environments/target.ts';
import { engineIds } from '../../src/engines/registry.ts';
import { noPty, skipped, useWorkspace } from './cli.ts';
import type { Finished } from './cli.ts';

const workspace = useWorkspace();
const ALPHA = fileURLToPath(new URL('../fixtures/engines/alpha.ts', import.meta.url));

async function engines(...args: readonly string[]): Promise<Finished> {
  const finished = await workspace().runoff(['engines', ...args]);
  expect(await workspace().orphans()).toEqual([]);
  return finished;
}

/** What an installation of node-llama-cpp leaves, without the packages. */
async function fakeInstallation(): Promise<string> {
  const folder = join(workspace().folder, 'cache', 'environments');
  const definition = await loadDefinition(DEFINITIONS_FOLDER, 'node-llama-cpp');
  const place = await placeOf(definition, folder, 'auto');
  await mkdir(place.root, { recursive: true });
  await writeFile(join(place.root, 'binary.node'), Buffer.alloc(2_000_000, 1));
  await writeMarker(place, { 'node-llama-cpp': '3.21.1' });
  return place.root;
}

describe('the list', () => {
  test('every engine in JSON, with its state and what it can do; nothing is installed', async () => {
    const { code, stdout } = await engines('--json');
    expect(code).toBe(0);
    const list = JSON.parse(stdout) as { id: string; detection: { state: string }; capabilities: object }[];
    expect(list.map(({ id }) => id)).toEqual(engineIds());
    for (const { detection, capabilities } of list) {
      expect(['available', 'installable', 'unavailable']).toContain(detection.state);
      expect(capabilities).toHaveProperty('tokenIds');
    }
    expect(existsSync(join(workspace().folder, 'cache', 'environments', 'node-llama-cpp'))).toBe(false);
  });

  test('a block per engine that fits 80 columns', async () => {
    await fakeInstallation();
    const { stdout } = await engines('llama-cpp', ALPHA);
    expect(stdout).toMatch(/available +node-llama-cpp 3\.21\.1/);
    expect(stdout).toContain('alpha: Fixture alpha');
    // A path has no spaces to break it at.
    const long = stdout
      .split('\n')
      .filter((line) => Array.from(line).length > 80 && !line.includes(workspace().folder));
    expect(long.filter((line) => !line.includes(ALPHA.slice(0, 20)))).toEqual([]);
  });

  test('an unknown id', async () => {
    const { code, stderr, stdout } = await engines('llamacpp');
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain('there is no engine "llamacpp"');
  });
});

describe('install', () => {
  test('one that is there already says so', async () => {
    await fakeInstallation();
    const { code, stderr } = await engines('install', 'llama-cpp', '--yes');
    expect([code, stderr.trim()]).toEqual([0, 'llama-cpp: installed already: node-llama-cpp 3.21.1']);
  });

  test('an unknown id, and none', async () => {
    expect((await engines('install', 'llamacpp', '--yes')).code).toBe(2);
    expect((await engines('install')).code).toBe(2);
  });
});

describe('remove', () => {
  test('frees what was there', async () => {
    const root = await fakeInstallation();
    const { code, stderr } = await engines('remove', 'llama-cpp', '--yes');
    expect(code).toBe(0);
    expect(stderr).toMatch(/removed .*, 2 MB freed/);
    expect(existsSync(root)).toBe(false);
    expect((await engines('remove', 'llama-cpp', '--yes')).stderr).toContain('nothing to remove');
  });

  test('an engine that runoff does not manage is refused', async () => {
    const { code, stderr } = await engines('remove', ALPHA, '--yes');
    expect(code).toBe(2);
    expect(stderr).toContain('alpha is not managed by runoff');
    expect(stderr).toContain('Remove it the way you installed it');
  });
});

describe.skipIf(noPty !== null)('on a terminal', () => {
  if (noPty !== null) skipped(import.meta.filename, noPty);

  test.each([
    ['"n"', 'n\r', 0],
    ['Ctrl-C', '\u0003', 130],
  ])('removing asks; %s keeps everything', async (_, keys, code) => {
    const root = await fakeInstallation();
    const { output, exitCode } = workspace().onTerminal(['engines', 'remove', 'llama-cpp'], [['[Y/n]', keys]]);
    expect(output).toMatch(/Remove .* \(2 MB\)\?/);
    expect(exitCode).toBe(code);
    expect(existsSync(root)).toBe(true);
  });

  test('Enter is yes', async () => {
    const root = await fakeInstallation();
    const { output } = workspace().onTerminal(['engines', 'remove', 'llama-cpp'], [['[Y/n]', '\r']]);
    expect(output).toContain('2 MB freed');
    expect(existsSync(root)).toBe(false);
  });

  test('installing asks; "n" installs nothing', () => {
    const w = workspace();
    const { output, exitCode } = w.onTerminal(['engines', 'install', 'llama-cpp'], [['[Y/n]', 'n\r']]);
    expect(output).toMatch(/Install .* for llama-cpp \(about \d+ MB, kept in the cache\)\?/);
    expect([exitCode, w.files(join(w.folder, 'cache', 'environments'))]).toEqual([0, []]);
  });
});

describe('facts', () => {
  test('with source and date, in JSON, too', async () => {
    const { code, stdout } = await engines('--facts', 'llama-server');
    expect(code).toBe(0);
    expect(stdout).toMatch(/licence +MIT\n +https:\/\/\S+,\s+2026-11-25/);
    const [facts] = JSON.parse((await engines('--facts', '--json', 'llama-server')).stdout) as {
      shipping: { license: object };
    }[];
    expect(facts?.shipping.license).toMatchObject({ value: 'MIT', date: '2026-11-25' });
  });

  test('a cold start is measured, kept, and shown the next time', async () => {
    const w = workspace();
    await w.behave('alpha', { loadMs: 20 });
    const { code, stdout } = await engines('--facts', '--measure', '--model', w.model, ALPHA);
    expect(code).toBe(0);
    expect(stdout.replaceAll(/\s+/g, ' ')).toMatch(
      /first token .* after the start of the process: median of 3 fresh processes/,
    );
    const [facts] = JSON.parse((await engines('--facts', '--json', ALPHA)).stdout) as {
      coldStarts: { startsMs: number[] }[];
    }[];
    expect(facts?.coldStarts[0]?.startsMs).toHaveLength(3);
  });

  test('an engine that does not start is said, the others are measured', async () => {
    const w = workspace();
    await w.behave('alpha', { fault: 'exit-loading' });
    const beta = ALPHA.replace('alpha', 'beta');
    const { code, stdout, stderr } = await engines('--facts', '--measure', '--model', w.model, ALPHA, beta);
    expect(code).toBe(0);
    expect(stderr).toContain('alpha: cold start not measured: ');
    expect(stdout).toContain('not measured: runoff engines --facts --measure alpha');
    expect(stdout.replaceAll(/\s+/g, ' ')).toContain('median of 3 fresh processes');
  });

  test('without the demonstration model it says how to get it', async () => {
    const { code, stderr } = await engines('--facts', '--measure', ALPHA);
    expect(code).toBe(1);
    expect(stderr).toContain('the demonstration model is not in the cache yet');
    expect(stderr).toContain('runoff setup');
  });

  test('--measure without --facts', async () => {
    expect(await engines('--measure')).toMatchObject({ code: 2, stdout: '' });
  });
});
