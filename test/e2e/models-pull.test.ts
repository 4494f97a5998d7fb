/** Models from the hub through the command line, with the local hub server. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sha256 } from '../fixtures/hub/answers.ts';
import { HubServer } from '../fixtures/hub/hub-server.ts';
import { bytes } from '../models/hub/hub-fixture.ts';
import { eventually, useWorkspace } from './cli.ts';

const get = useWorkspace();
let server: HubServer;
let commit: string;

beforeEach(async () => {
  server = await HubServer.start();
  ({ commit } = server.add('owner/tiny', { 'tiny.gguf': await readFile(get().model), 'README.md': '# Card' }));
  get().moreEnvironment = { HF_ENDPOINT: server.endpoint, HF_TOKEN: 'hf_secret_of_the_test' };
});
afterEach(() => server.stop());

describe('runoff models pull', () => {
  it('prints the path alone on stdout, and the rest beside it, without the token', async () => {
    const { code, stdout, stderr } = await get().runoff(['models', 'pull', 'hf:owner/tiny']);
    expect([code, get().normalise(stdout)]).toEqual([
      0,
      `WORK/hf/hub/models--owner--tiny/snapshots/${commit}/tiny.gguf`,
    ]);
    expect(stderr).toContain(`The same again: hf:owner/tiny@${commit}:tiny.gguf`);
    expect(stderr).toContain(`sha256 ${sha256(await readFile(get().model))}`);
    expect(stdout + stderr).not.toContain('hf_secret');
  });

  it('ends with the list and code 2 where a file must be named, and lists what is there', async () => {
    server.add('owner/many', { 'm.Q4_0.gguf': 'GGUF', 'm.Q8_0.gguf': 'GGUF' });
    const many = await get().runoff(['models', 'pull', 'hf:owner/many']);
    expect(many.code).toBe(2);
    expect(many.stderr).toContain('owner/many holds 2 models:');
    await get().runoff(['models', 'pull', 'hf:owner/many:Q8_0']);
    const { stdout } = await get().runoff(['models', 'list']);
    expect(stdout).toMatch(/MB {2}hf:owner\/many@[0-9a-f]{40}:m\.Q8_0\.gguf/);
  });

  it('stops by Ctrl-C with code 130, and goes on where it stopped', async () => {
    const big = bytes(400_000, 5);
    server.add('owner/big', { 'big.gguf': big });
    let sent = 0;
    server.intercept = (_request, response, { origin }) => {
      if (origin !== 'cdn' || sent > 0) return false;
      sent += 1;
      response.writeHead(206, { 'content-range': `bytes 0-${big.length - 1}/${big.length}` });
      response.write(big.subarray(0, 300_000));
      return true;
    };
    const running = get().start(['models', 'pull', 'hf:owner/big']);
    await eventually('the first bytes', () => sent > 0, 60_000);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    running.process.kill('SIGINT');
    const { code, stderr } = await running.finished;
    expect(code).toBe(130);
    expect(stderr).toContain('Go on with: runoff models pull hf:owner/big');
    expect((await get().runoff(['models', 'pull', 'hf:owner/big'])).code).toBe(0);
    expect(server.requests('cdn').at(-1)?.range).toBe('bytes=300000-399999');
  });

  it('checks a file and a folder that are here', async () => {
    const file = await get().runoff(['models', 'pull', get().model]);
    expect([file.code, file.stdout.trim()]).toEqual([0, get().model]);
    const folder = await get().runoff(['models', 'pull', get().folder]);
    expect(folder.code).toBe(1);
    expect(folder.stderr).toContain('it has no .safetensors file');
    expect(server.seen).toEqual([]);
  });
});

describe('runoff run --model hf:', () => {
  it('measures what it has pulled, and the record names it at its commit; then without a network', async () => {
    const workspace = get();
    const args = (out: string): string[] =>
      workspace
        .run(['alpha', 'beta'], '--model', 'hf:owner/tiny', '--out', out)
        .filter((arg) => arg !== '--no-install');
    const first = await workspace.runoff(args(workspace.out));
    expect(first).toMatchObject({ code: 0 });
    const { manifest } = await workspace.record();
    expect(manifest.plan.model).toBe(`hf:owner/tiny@${commit}:tiny.gguf`);
    expect(manifest.models[0]).toMatchObject({ source: `hf:owner/tiny@${commit}:tiny.gguf`, name: 'tiny' });
    await server.stop();
    const again = await workspace.runoff([...args(join(workspace.folder, 'again')), '--no-install']);
    expect(again).toMatchObject({ code: 0 });
  });

  it('--no-install says what is missing before anything is installed or asked', async () => {
    const { code, stderr } = await get().runoff(get().run(['alpha', 'beta'], '--model', 'hf:owner/tiny'));
    expect(code).toBe(1);
    expect(stderr).toContain("hf:owner/tiny is not in the hub's cache (");
    expect(stderr).toContain('the network is off (--no-install)');
    expect(stderr).toContain('runoff models pull hf:owner/tiny');
    expect(server.seen).toEqual([]);
  });

  it('refuses a checkpoint before it is downloaded', async () => {
    server.add('owner/base', { 'config.json': '{}', 'model.safetensors': bytes(5_000) });
    const args = get()
      .run(['alpha', 'beta'], '--model', 'hf:owner/base')
      .filter((arg) => arg !== '--no-install');
    const { code, stderr } = await get().runoff(args);
    expect(code).toBe(1);
    expect(stderr).toContain('hf:owner/base is a safetensors checkpoint; the engines start from a .gguf file.');
    expect(server.requests('cdn')).toEqual([]);
  });
});
