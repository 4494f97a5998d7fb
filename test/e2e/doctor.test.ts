import { existsSync } from 'node:fs';
import { copyFile, open, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { diagnosisSchema } from '../../src/core/doctor/finding.ts';
import type { Diagnosis } from '../../src/core/doctor/finding.ts';
import { readGgufHeader } from '../../src/models/gguf/read-header.ts';
import { model as modelEntry, writeFakeLlamafile } from '../models/llamafile/fake-llamafile.ts';
import { useWorkspace } from './cli.ts';

const workspace = useWorkspace();

async function doctor(...args: readonly string[]): Promise<{ code: number | null; diagnosis: Diagnosis }> {
  const { code, stdout } = await workspace().runoff(['doctor', '--json', ...args]);
  expect(await workspace().orphans()).toEqual([]);
  return { code, diagnosis: diagnosisSchema.parse(JSON.parse(stdout)) };
}

const severityOf = ({ findings }: Diagnosis, id: string): string | undefined =>
  findings.find((finding) => finding.id === id)?.severity;

/** A copy of the small model; `contextTokens` replaces what its header states. */
async function copyOfModel(name: string, contextTokens?: number): Promise<string> {
  const { folder, model } = workspace();
  const path = join(folder, name);
  await copyFile(model, path);
  if (contextTokens === undefined) return path;
  const { metadata, valueOffsets } = await readGgufHeader(path);
  const key = [...metadata.keys()].find((entry) => entry.endsWith('.context_length')) ?? '';
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(contextTokens);
  const file = await open(path, 'r+');
  await file.write(bytes, 0, 4, valueOffsets.get(key));
  await file.close();
  return path;
}

describe('a model', () => {
  test('a whole one: exit code 0 says what the findings say; nothing is installed', async () => {
    const { code, diagnosis } = await doctor(await copyOfModel('good.gguf'), '--engine', 'llama-cpp');
    const problems = diagnosis.findings.filter(({ severity }) => severity === 'problem');
    expect(code).toBe(problems.length === 0 ? 0 : 5);
    expect(severityOf(diagnosis, 'model-file')).toBe('ok');
    expect(severityOf(diagnosis, 'memory')).toBe('ok');
    expect(diagnosis.engines).toEqual(['llama-cpp']);
    expect(existsSync(join(workspace().folder, 'cache', 'environments', 'node-llama-cpp'))).toBe(false);
  });

  test('a cut one: exit code 5, with the bytes that are missing', async () => {
    const path = await copyOfModel('cut.gguf');
    const { length } = await readFile(path);
    await truncate(path, length - 100);
    const { code, diagnosis } = await doctor(path, '--engine', 'llama-cpp');
    expect(code).toBe(5);
    expect(diagnosis.findings[0]).toMatchObject({ id: 'model-file', severity: 'problem' });
    expect(diagnosis.findings[0]?.what).toContain('100 bytes are missing');
  });

  test('a context that no machine has memory for', async () => {
    const { diagnosis } = await doctor(await copyOfModel('huge.gguf', 4_000_000_000), '--engine', 'llama-cpp');
    const finding = diagnosis.findings.find(({ id }) => id === 'full-context');
    expect(finding?.severity).toBe('warning');
    expect(finding?.remedy).toMatch(/--ctx-size [1-9]\d+/);
  });

  test('a context that is too short for the default prompts', async () => {
    const { code, diagnosis } = await doctor(await copyOfModel('short.gguf', 100), '--engine', 'llama-cpp');
    expect(code).toBe(5);
    expect(severityOf(diagnosis, 'context-length')).toBe('problem');
  });

  test('none: the machine alone', async () => {
    const { diagnosis } = await doctor('--engine', 'llama-cpp');
    expect(diagnosis.model).toBeNull();
    expect(severityOf(diagnosis, 'model-file')).toBeUndefined();
    expect(severityOf(diagnosis, 'node')).toBe('ok');
  });
});

describe('a llamafile', () => {
  async function llamafile(fillerBytes: number): Promise<string> {
    const path = join(workspace().folder, 'tiny.llamafile');
    const entry = modelEntry('tiny.gguf', await readFile(workspace().model));
    // A hole: the file is as long as that, the disk is not.
    const filler = modelEntry('filler.bin', new Uint8Array(1), fillerBytes);
    await writeFakeLlamafile(path, { version: '0.9.3', entries: [entry, filler], zip64: true });
    return path;
  }

  test('its model is looked at in place, and the system is asked about loaders', async () => {
    const { diagnosis } = await doctor(await llamafile(1), '--engine', 'llama-cpp');
    expect(severityOf(diagnosis, 'model-file')).toBe('ok');
    expect(severityOf(diagnosis, 'windows-limit')).toBe('ok');
    expect(diagnosis.findings.find(({ id }) => id === 'llamafile')?.what).toBeDefined();
    if (process.platform !== 'win32') expect(severityOf(diagnosis, 'noexec-loader')).toBeDefined();
  });

  test('4 GiB: no program for Windows', async () => {
    const { diagnosis } = await doctor(await llamafile(2 ** 32), '--engine', 'llama-cpp');
    const finding = diagnosis.findings.find(({ id }) => id === 'windows-limit');
    expect(finding?.severity).toBe(process.platform === 'win32' ? 'problem' : 'warning');
    expect(finding?.remedy).toContain('llamafile.exe -m ');
  });
});

describe('what is named wrongly is an error, not a finding', () => {
  test('a missing file', async () => {
    const { code, stdout, stderr } = await workspace().runoff(['doctor', 'nowhere.gguf']);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toContain('There is no model at nowhere.gguf.');
  });

  test('an unknown engine', async () => {
    const { code, stderr } = await workspace().runoff(['doctor', '--engine', 'llamacpp']);
    expect(code).toBe(2);
    expect(stderr).toContain('there is no engine "llamacpp"');
  });
});

test('on 80 columns: what, why and what to do, then what is fine', async () => {
  const path = join(workspace().folder, 'zip.gguf');
  await writeFile(path, 'PK this is no model at all');
  const { code, stdout } = await workspace().runoff(['doctor', path, '--engine', 'llama-cpp']);
  expect(code).toBe(5);
  expect(stdout).toMatch(/PROBLEM .*\n +Why: No engine will load it\.\n +Do: /s);
  expect(stdout).toMatch(/Checked and fine: .*Node\.js/s);
  expect(stdout.trimEnd().split('\n').at(-1)).toMatch(/Solve (it|them) first\.$|mislead/);
  const long = stdout.split('\n').filter((line) => Array.from(line).length > 80 && !line.includes(workspace().folder));
  expect(long).toEqual([]);
});
