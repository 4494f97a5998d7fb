import { describe, expect, test } from 'vitest';
import { ByteTail, lastLines } from '../../../src/platform/process/byte-tail.ts';
import { minimumEnvironment } from '../../../src/platform/process/environment.ts';
import { fileNames } from '../../../src/platform/process/find-on-path.ts';
import { killSteps } from '../../../src/platform/process/kill-steps.ts';
import { LineReader } from '../../../src/platform/process/line-reader.ts';
import { encodeRequest, readReply } from '../../../src/platform/process/protocol.ts';
import { runCommand } from '../../../src/platform/process/run-command.ts';

describe('killSteps', () => {
  test('POSIX asks first and then kills the group', () => {
    const expected = [
      { when: 'now', signal: 'SIGTERM' },
      { when: 'after-grace', signal: 'SIGKILL' },
    ];
    expect(killSteps('linux', 42)).toEqual(expected);
    expect(killSteps('darwin', 42)).toEqual(expected);
  });

  test('Windows ends the tree', () => {
    expect(killSteps('win32', 42)).toEqual([{ when: 'after-grace', command: ['taskkill', '/PID', '42', '/T', '/F'] }]);
  });
});

describe('minimumEnvironment', () => {
  const source = {
    PATH: '/bin',
    HOME: '/root',
    LANG: 'C.UTF-8',
    TMPDIR: '/tmp',
    CUDA_VISIBLE_DEVICES: '1',
    LLAMA_ARG_THREADS: '1',
    GGML_CUDA_FORCE_MMQ: '1',
    OMP_NUM_THREADS: '1',
    MLX_ENABLE_TF32: '1',
    NODE_OPTIONS: '--x',
    PYTHONPATH: '/x',
    UNSET: undefined,
  };

  test.each(['linux', 'darwin'] as const)('%s keeps what programs need and drops what changes engines', (platform) => {
    expect(minimumEnvironment(platform, source)).toEqual({
      PATH: '/bin',
      HOME: '/root',
      LANG: 'C.UTF-8',
      TMPDIR: '/tmp',
      CUDA_VISIBLE_DEVICES: '1',
    });
  });

  test('Windows names have no case', () => {
    expect(
      minimumEnvironment('win32', { Path: 'C:\\', SYSTEMROOT: 'C:\\Windows', HOME: 'x', OMP_NUM_THREADS: '1' }),
    ).toEqual({
      Path: 'C:\\',
      SYSTEMROOT: 'C:\\Windows',
    });
  });
});

describe('fileNames', () => {
  test('only Windows adds extensions, and never a batch file', () => {
    expect(fileNames('linux', 'llama-server', undefined)).toEqual(['llama-server']);
    expect(fileNames('win32', 'npm', '.COM;.EXE;.BAT;.CMD')).toEqual(['npm.com', 'npm.exe']);
    expect(fileNames('win32', 'llama-server.exe', undefined)).toEqual(['llama-server.exe']);
  });
});

describe('readReply', () => {
  const isPending = (id: number): boolean => id === 3;
  const noise = { kind: 'noise' };

  test('reads results and errors of requests under way', () => {
    expect(readReply('{"id":3,"result":null}', isPending)).toEqual({ kind: 'result', id: 3, result: null });
    expect(readReply('{"id":3,"error":{"message":"no","code":"model-invalid"}}', isPending)).toEqual({
      kind: 'error',
      id: 3,
      message: 'no',
      code: 'model-invalid',
    });
    expect(readReply('{"id":3,"error":"plain"}', isPending)).toEqual({
      kind: 'error',
      id: 3,
      message: 'plain',
      code: null,
    });
  });

  test.each([
    '',
    'llama_model_load',
    '{',
    '[3]',
    '3',
    'null',
    '{"id":4,"result":1}',
    '{"id":"3","result":1}',
    '{"id":3}',
  ])('%j is noise', (line) => {
    expect(readReply(line, isPending)).toEqual(noise);
  });

  test('requests are one line', () => {
    expect(encodeRequest(1, { method: 'load', params: { text: 'a\nb' } })).toBe(
      '{"id":1,"method":"load","params":{"text":"a\\nb"}}\n',
    );
  });
});

describe('LineReader', () => {
  test('cuts lines at any byte, CRLF too', () => {
    const reader = new LineReader(100);
    const bytes = Buffer.from('é\r\nzwei\n\nrest');
    const lines = [...bytes].flatMap((byte) => reader.push(Buffer.from([byte])));
    expect(lines).toEqual(['é', 'zwei', '']);
    expect(reader.rest()).toBe('rest');
  });

  test('the limit is exact', () => {
    const exact = new LineReader(4);
    expect(exact.push(Buffer.from('1234\n'))).toEqual(['1234']);
    expect(exact.overflown).toBe(false);
    const over = new LineReader(4);
    expect(over.push(Buffer.from('ok\n12345\nlater\n'))).toEqual(['ok']);
    expect(over.overflown).toBe(true);
  });
});

describe('ByteTail', () => {
  test('keeps the last bytes and counts all', () => {
    const tail = new ByteTail(4);
    for (const text of ['abc', 'd', 'ef']) tail.push(Buffer.from(text));
    expect(tail.text()).toBe('cdef');
    expect(tail.totalBytes).toBe(6);
  });

  test('last lines leave out empty ones', () => {
    expect(lastLines('a\n\nb\r\n \nc\n', 2)).toBe('b\nc');
  });
});

describe('runCommand', () => {
  const node = process.execPath;

  test('collects output, lines and the exit code', async () => {
    const lines: string[] = [];
    const code = 'console.log("one\\ntwo"); console.error("bad"); process.exitCode = 3';
    const result = await runCommand(node, ['-e', code], { timeoutMs: 10_000, onLine: (line) => lines.push(line) });
    expect(result).toEqual({ code: 3, stdout: 'one\ntwo\n', stderr: 'bad\n', timedOut: false });
    expect(lines).toEqual(['one', 'two']);
  });

  test('ends at the time limit and by the signal', async () => {
    const hang = ['-e', 'setInterval(() => {}, 1000)'];
    expect(await runCommand(node, hang, { timeoutMs: 200 })).toMatchObject({ code: null, timedOut: true });
    const signal = AbortSignal.timeout(200);
    await expect(runCommand(node, hang, { timeoutMs: 10_000, signal })).rejects.toMatchObject({ code: 'interrupted' });
  });

  test('a missing program rejects', async () => {
    await expect(runCommand('/nowhere/x', [], { timeoutMs: 1_000 })).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
