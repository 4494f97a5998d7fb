/** The documents agree with the code: generated files are fresh, links lead somewhere, and the example in them works. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import { EXIT } from '../src/cli/exit-codes.ts';
import { buildProgram } from '../src/cli/program.ts';
import type { Engine, EngineProcess, EngineSettings } from '../src/core/engine.ts';
import { gateNames, verdicts } from '../src/core/record.ts';
import { loadEngine } from '../src/engines/registry.ts';
import { generatedFiles } from '../scripts/generate.ts';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const DOCUMENTS = ['README.md', 'CHANGELOG.md', ...readdirSync(join(ROOT, 'docs')).map((name) => `docs/${name}`)];

function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

describe('generated files are fresh (npm run generate)', () => {
  test.each([...generatedFiles().keys()])('%s', (path) => {
    expect(read(path)).toBe(generatedFiles().get(path));
  });
});

describe('links inside the repository lead to files', () => {
  test.each(DOCUMENTS)('%s', (path) => {
    const targets = [...read(path).matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)].map((match) => match[1] ?? '');
    expect(targets.filter((target) => !existsSync(join(ROOT, dirname(path), target)))).toEqual([]);
  });
});

describe('what the documents list is complete', () => {
  test('README: every exit code', () => {
    const missing = Object.values(EXIT).filter((code) => !new RegExp(`^\\| ${code} +\\|`, 'm').test(read('README.md')));
    expect(missing).toEqual([]);
  });

  test('README: every option of runoff run', () => {
    const run = buildProgram().commands.find((command) => command.name() === 'run');
    const missing = (run?.options ?? []).flatMap(({ long }) =>
      long != null && !read('README.md').includes(long) ? [long] : [],
    );
    expect(missing).toEqual([]);
  });

  test('METHODOLOGY: every gate and every verdict', () => {
    const text = read('docs/METHODOLOGY.md');
    expect([...gateNames, ...verdicts].filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
  });
});

describe('CONTRIBUTING: the example of an engine', () => {
  const blocks = [...read('docs/CONTRIBUTING.md').matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1] ?? '');
  const [adapter = '', adapterTest = ''] = blocks;

  /** The example as a file outside the tree, loaded by its path. */
  async function loadExample(): Promise<{ engine: Engine; folder: string }> {
    const folder = mkdtempSync(join(tmpdir(), 'runoff-example-'));
    const source = pathToFileURL(join(ROOT, 'src')).href;
    const zod = import.meta.resolve('zod');
    const file = join(folder, 'pebble-server.ts');
    writeFileSync(file, adapter.replaceAll("'../", `'${source}/`).replace("'zod'", `'${zod}'`));
    return { engine: await loadEngine(file), folder };
  }

  test('has an adapter and its test, and the test would find the adapter', () => {
    expect(blocks).toHaveLength(2);
    expect(adapterTest).toContain("from '../../src/engines/pebble-server.ts'");
  });

  test('works: loads by path, connects, generates', async () => {
    const { engine, folder } = await loadExample();
    const server = createServer((request, response) => {
      if (request.url === '/info')
        response.end(JSON.stringify({ run: 'run-1', version: '1.0', vocabulary: 10, context: 64, threads: 2 }));
      else
        response.end(
          'data: {"token":5}\n\ndata: {"token":9}\n\ndata: {"done":true,"promptTokens":3,"cachedTokens":0}\n\n',
        );
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const found = await engine.detect({
        enginePath: '/opt/pebble-server',
        findOnPath: () => null,
        environments: { inspect: async () => ABSENT },
        inspectProgram: () => Promise.reject(new TypeError('no program is read')),
      });
      if (found.state !== 'available') throw new TypeError('the example finds its binary');
      const { port } = server.address() as AddressInfo;
      const request = {
        engine: found,
        modelPath: '/m.gguf',
        modelSha256: null,
        workFolder: '/tmp/w',
        settings: SETTINGS,
        port,
        runId: 'run-1',
      };
      expect(engine.launchPlan(request)).toMatchObject({ command: '/opt/pebble-server', channel: 'http' });
      const session = await engine.connect(PROCESS, request, 5_000);
      expect(session.info.settings).toEqual({ threads: 2, contextTokens: 64 });
      const ask = { promptTokens: [1, 2, 3], generateTokens: 2, bannedTokens: [], topLogprobs: 0, timeoutMs: 5_000 };
      expect(await session.generate(ask)).toMatchObject({ tokens: [5, 9], promptTokenCount: 3, cachedTokenCount: 0 });
      await expect(engine.connect(PROCESS, { ...request, runId: 'run-2' }, 5_000)).rejects.toMatchObject({
        code: 'port-taken',
      });
    } finally {
      server.close();
      rmSync(folder, { recursive: true });
    }
  });
});

const ABSENT = { state: 'absent', what: 'nothing', downloadBytes: 0 } as const;
const PROCESS: EngineProcess = {
  pid: 1,
  request: () => Promise.reject(new TypeError('a server is not asked through its process')),
  stderrTail: () => '',
  exited: new Promise(() => {}),
};
const SETTINGS: EngineSettings = {
  threads: 2,
  contextTokens: 64,
  batchTokens: 64,
  microBatchTokens: 64,
  kvType: 'f16',
  flashAttention: true,
  mmap: true,
  gpu: 'off',
};
