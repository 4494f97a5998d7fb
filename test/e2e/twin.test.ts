/** Twins from the command line: made as files, and run on fixture engines. */
import { existsSync, readdirSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { HubServer } from '../fixtures/hub/hub-server.ts';
import { useWorkspace, type Workspace } from './cli.ts';

const workspace = useWorkspace();

async function configIn(folder: string): Promise<string> {
  const path = join(folder, 'config.json');
  const shape = { num_hidden_layers: 2, hidden_size: 64, intermediate_size: 96, num_attention_heads: 4 };
  await writeFile(path, JSON.stringify({ model_type: 'llama', ...shape, vocab_size: 3_000 }));
  return path;
}

test('run --twin with two quantisations: a run each that says what it is, and a table', async () => {
  const w = workspace();
  const config = await configIn(w.folder);
  const [model, ...rest] = w.run(['alpha'], '--blocks', '1', '--twin', config, '--quant', 'q4_0,q8_0');
  const args = [model as string, ...rest.filter((word) => word !== '--model' && word !== w.model)];
  const { code, stdout } = await w.runoff(args);
  expect(code).toBe(0);
  const record = await w.record(`${w.out}-q8_0`);
  expect(record.manifest.plan.model).toBe(`twin:Q8_0:${config}`);
  expect(record.manifest.models[0]).toMatchObject({
    quantisation: 'Q8_0',
    derivedBy: expect.stringContaining('seed 1'),
  });
  expect(record.manifest.models[0]?.twinOf).toBeDefined();
  expect(stdout).toContain("TWIN: The weights are a twin's");
  expect(stdout.replaceAll(/ +/g, ' ')).toMatch(/\nquantisation MB alpha verdict\nQ4_0 \d+ .*\nQ8_0 \d+ /);
  expect(existsSync(`${w.out}-q4_0`)).toBe(true);
});

test('models twin writes a file that inspect reads, and never replaces one', async () => {
  const w = workspace();
  const config = await configIn(w.folder);
  const made = await w.runoff(['models', 'twin', config, '--quant', 'q8', '--out', 'twin.gguf', '--seed', '3']);
  expect([made.code, made.stdout.includes('random, seed 3')]).toEqual([0, true]);
  const { stdout } = await w.runoff(['models', 'inspect', join(w.folder, 'twin.gguf')]);
  expect(stdout).toContain('(random weights)');
  expect(stdout).toMatch(/weights +random: a twin of \S+, good for speed alone/);
  const again = await w.runoff(['models', 'twin', config, '--quant', 'q8', '--out', 'twin.gguf']);
  expect(again.code).not.toBe(0);
  expect(again.stderr).toContain('twin.gguf exists already');
  const mlx = await w.runoff(['models', 'twin', config, '--to', 'mlx', '--out', 'twin-mlx']);
  expect(mlx.code).toBe(0);
  expect(readdirSync(join(w.folder, 'twin-mlx'))).toContain('model.safetensors');
  const inspected = await w.runoff(['models', 'inspect', join(w.folder, 'twin-mlx')]);
  expect(inspected.stdout).toMatch(/weights +random: a twin of \S+, good for speed alone/);
});

test('what cannot be is told before anything is installed or measured', async () => {
  const w = workspace();
  const problem = async (...args: string[]): Promise<string> => (await w.runoff(args)).stderr;
  expect(await problem('run', '--twin', 'llama-9', '--no-install', '--yes')).toContain('there is no model "llama-9"');
  expect(await problem('run', '--twin', 'qwen3-4b', '--model', 'x.gguf')).toContain(
    '--model and --twin name two models',
  );
  expect(await problem('run', '--quant', 'q4_0')).toContain('--quant belongs to --twin');
  expect(await problem('run', '--twin', 'qwen3-4b', '--quant', 'q9')).toContain('"q9" is not a quantisation');
  expect((await w.runoff(['models', 'twin'])).stdout).toContain('llama-3.2-1b');
});

/** Without the model and the offline switch of the other tests. */
function run(w: Workspace, ...more: readonly string[]): string[] {
  const all = w.run(['alpha'], ...more);
  return all.filter((word) => word !== '--model' && word !== w.model && word !== '--no-install');
}

describe('of a model on the hub', () => {
  let server: HubServer;
  beforeEach(async () => {
    server = await HubServer.start();
    server.add('owner/tiny', { 'tiny.gguf': await readFile(workspace().model), 'README.md': '# Card' });
    workspace().moreEnvironment = { HF_ENDPOINT: server.endpoint };
  });
  afterEach(() => server.stop());

  test('run --twin hf: the record names the header at its commit, and nothing but it was read', async () => {
    const w = workspace();
    const { commit } = server.repos.get('owner/tiny') ?? { commit: '' };
    const { code } = await w.runoff(run(w, '--blocks', '1', '--twin', 'hf:owner/tiny:tiny.gguf'));
    expect(code).toBe(0);
    const { manifest } = await w.record();
    expect(manifest.plan.model).toBe(`twin::hf:owner/tiny@${commit}:tiny.gguf`);
    expect(manifest.models[0]).toMatchObject({ twinOf: 'owner/tiny, tiny.gguf', source: manifest.plan.model });
    expect([...server.sentBytes.keys()]).toEqual(['tiny.gguf']);
    expect(server.requests('cdn')).toHaveLength(1);
    expect(existsSync(join(w.folder, 'hf', 'hub'))).toBe(false);
  });

  test('models twin hf: says where the shape is from', async () => {
    const w = workspace();
    const { code, stdout } = await w.runoff([
      'models',
      'twin',
      'hf:owner/tiny',
      '--quant',
      'q8',
      '--out',
      'there.gguf',
    ]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/source +hf:owner\/tiny@[0-9a-f]{40}:tiny\.gguf, its header alone/);
    const again = await w.runoff(['models', 'inspect', join(w.folder, 'there.gguf')]);
    expect(again.stdout).toContain('Twin of owner/tiny, tiny.gguf (random weights)');
  });

  test('a gated one is refused as by pull, before anything is installed', async () => {
    const w = workspace();
    server.add('owner/gated', { 'm.gguf': 'GGUF' }, { access: 'gated' });
    const [pull, twin, measured, doctor] = [
      await w.runoff(['models', 'pull', 'hf:owner/gated']),
      await w.runoff(['models', 'twin', 'hf:owner/gated']),
      await w.runoff(run(w, '--twin', 'hf:owner/gated')),
      await w.runoff(['doctor', 'hf:owner/gated']),
    ];
    expect(pull.stderr).toContain('it is gated: its licence must be accepted');
    const told = (text: string): string | undefined => /owner\/gated.*: it is gated.*/.exec(text)?.[0];
    for (const other of [twin, measured, doctor]) {
      expect(other.code).toBe(pull.code);
      expect(told(other.stderr)).toBe(told(pull.stderr));
    }
  });

  test('doctor hf: looks at the header alone', async () => {
    const w = workspace();
    const { stdout } = await w.runoff(['doctor', '--json', 'hf:owner/tiny', '--engine', 'llama-cpp']);
    const { model, findings } = JSON.parse(stdout) as { model: string; findings: { id: string; what: string }[] };
    expect(model).toMatch(/^hf:owner\/tiny@[0-9a-f]{40}:tiny\.gguf$/);
    const what = (id: string): string | undefined => findings.find((finding) => finding.id === id)?.what;
    expect(what('model-file')).toMatch(/^the model's header is whole \(\d+ MB on the hub, not fetched\)$/);
    expect(what('pre-tokenizer')).toBe('pre-tokenizer gpt-2');
    expect(what('memory')).toContain('the model with 768 tokens of context needs');
    expect(existsSync(join(w.folder, 'hf', 'hub'))).toBe(false);
  });
});

test('--dry-run without a model says which one it would be, or what that depends on', async () => {
  const w = workspace();
  const args = run(w).filter((word) => word !== '--yes');
  const { code, stderr } = await w.runoff([...args, '--dry-run', '--budget', '10s']);
  expect(code).toBe(0);
  expect(stderr).toMatch(/No model was named: SmolLM2 135M, because .*predicts nothing for larger ones\./);
});
