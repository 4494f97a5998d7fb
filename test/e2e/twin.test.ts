/** Twins from the command line: made as files, and run on fixture engines. */
import { existsSync, readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { useWorkspace } from './cli.ts';

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
  const again = await w.runoff(['models', 'twin', config, '--quant', 'q8', '--out', 'twin.gguf']);
  expect(again.code).not.toBe(0);
  expect(again.stderr).toContain('twin.gguf exists already');
  const mlx = await w.runoff(['models', 'twin', config, '--to', 'mlx', '--out', 'twin-mlx']);
  expect(mlx.code).toBe(0);
  expect(readdirSync(join(w.folder, 'twin-mlx'))).toContain('model.safetensors');
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
