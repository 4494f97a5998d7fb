/** `runoff models tokenizer` where llama.cpp is not installed: an answer by the rules, never called proved. */
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { useWorkspace } from './cli.ts';

const workspace = useWorkspace();
const fixture = (name: string): string =>
  fileURLToPath(new URL(`../models/fixtures/tokenizers/${name}`, import.meta.url));

async function check(
  name: string,
  ...more: readonly string[]
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await workspace().runoff(['models', 'tokenizer', fixture(name), ...more]);
  return {
    code,
    stdout: stdout.replaceAll(fixture(name), 'FOLDER'),
    stderr: stderr.replaceAll(fixture(name), 'FOLDER'),
  };
}

describe('without llama.cpp', () => {
  test('the name by the rules, NOT proved', async () => {
    const { code, stdout } = await check('llama3');
    expect([code, stdout]).toMatchInlineSnapshot(`
      [
        0,
        "tokenizer        FOLDER
      kind             byte-level BPE, 430 tokens
      pre-tokenizer    llama-bpe, by the rules of tokenizer.json
      proof            NOT proved: node-llama-cpp is not installed (runoff engines install llama-cpp)
      ",
      ]
    `);
  });

  test('--strict refuses', async () => {
    const { code, stderr } = await check('llama3', '--strict');
    expect(code).toBe(1);
    expect(stderr).toContain('the pre-tokenizer llama-bpe is not proved; it was not compared');
    expect(stderr).toContain('runoff engines install llama-cpp');
  });

  test('unknown rules are an error with the way to decide', async () => {
    const { code, stderr } = await check('unknown');
    expect(code).toBe(1);
    expect(stderr).toContain('--pre-tokenizer NAME');
  });

  test('--pre-tokenizer decides, and --json says so', async () => {
    const { code, stdout } = await check('unknown', '--pre-tokenizer', 'gpt-2', '--json');
    expect([code, JSON.parse(stdout)]).toMatchObject([
      0,
      { preTokenizer: 'gpt-2', origin: 'given', proof: { state: 'not-run' } },
    ]);
  });

  test('--against belongs to a .gguf file', async () => {
    const { code, stderr } = await check('llama3', '--against', fixture('qwen2'));
    expect(code).toBe(2);
    expect(stderr).toContain('--against goes with a .gguf file');
  });
});
