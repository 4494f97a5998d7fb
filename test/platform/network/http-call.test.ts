import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { RequestListener, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { callHttp } from '../../../src/platform/network/http-call.ts';

const LIMITS = { timeoutMs: 5_000, maxBytes: 1_000 };

let server: Server | null = null;
let folder: string | null = null;

afterEach(async () => {
  server?.closeAllConnections();
  server?.close();
  server = null;
  if (folder !== null) await rm(folder, { recursive: true, force: true });
  folder = null;
});

async function serve(listener: RequestListener): Promise<string> {
  const started = createServer(listener);
  server = started;
  await new Promise<void>((resolve) => started.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(started.address() as AddressInfo).port}`;
}

/** Answers with what arrived. */
const echo: RequestListener = (request, response) => {
  const hash = createHash('sha256');
  let length = 0;
  request.on('data', (chunk: Buffer) => {
    hash.update(chunk);
    length += chunk.length;
  });
  request.on('end', () => response.end(`${request.method} ${length} ${hash.digest('hex')}`));
};

async function fileOf(bytes: Buffer): Promise<string> {
  folder = await mkdtemp(join(tmpdir(), 'runoff-http-call-'));
  const path = join(folder, 'body');
  await writeFile(path, bytes);
  return path;
}

describe('callHttp', () => {
  test.each([
    ['HEAD', 404],
    ['DELETE', 500],
    ['POST', 201],
  ] as const)('the status of a %s is a result', async (method, status) => {
    const url = await serve((request, response) => {
      request.resume();
      response.writeHead(status).end();
    });
    expect(await callHttp(url, { method, ...LIMITS })).toEqual({ status, text: '' });
  });

  test('JSON is sent', async () => {
    const url = await serve(echo);
    const { text } = await callHttp(url, { method: 'DELETE', body: { json: { model: 'é' } }, ...LIMITS });
    expect(text).toBe(`DELETE 14 ${createHash('sha256').update('{"model":"é"}').digest('hex')}`);
  });

  test('a file arrives whole, also one that is larger than any buffer', async () => {
    const bytes = Buffer.alloc(3_000_001, 'runoff');
    const url = await serve(echo);
    const { text } = await callHttp(url, { method: 'POST', body: { file: await fileOf(bytes) }, ...LIMITS });
    expect(text).toBe(`POST 3000001 ${createHash('sha256').update(bytes).digest('hex')}`);
  });

  test('an empty file', async () => {
    const url = await serve(echo);
    const { text } = await callHttp(url, { method: 'POST', body: { file: await fileOf(Buffer.alloc(0)) }, ...LIMITS });
    expect(text).toMatch(/^POST 0 /);
  });

  test('a server that refuses before it has read all is heard', async () => {
    const url = await serve((_request, response) => response.writeHead(400, { connection: 'close' }).end('too much'));
    const file = await fileOf(Buffer.alloc(20_000_000));
    const outcome = await callHttp(url, { method: 'POST', body: { file }, ...LIMITS }).catch((error: unknown) => error);
    // Which of the two it is depends on whose packet comes first; it is never a hang and never an unhandled error.
    expect([
      { status: 400, text: 'too much' },
      expect.objectContaining({ code: 'engine-request-failed' }),
    ]).toContainEqual(outcome);
  });

  test('a file that is not there', async () => {
    const url = await serve(echo);
    const call = callHttp(url, { method: 'POST', body: { file: '/nowhere/model.gguf' }, ...LIMITS });
    await expect(call).rejects.toMatchObject({ code: 'model-not-found' });
  });

  test('nobody listens', async () => {
    await expect(callHttp('http://127.0.0.1:1/', { method: 'HEAD', ...LIMITS })).rejects.toMatchObject({
      code: 'engine-request-failed',
      message: expect.stringContaining('ECONNREFUSED') as string,
    });
  });

  test('silence ends at the limit', async () => {
    const url = await serve(() => {});
    const startedMs = performance.now();
    await expect(callHttp(url, { method: 'HEAD', timeoutMs: 100, maxBytes: 10 })).rejects.toMatchObject({
      code: 'engine-timeout',
    });
    expect(performance.now() - startedMs).toBeLessThan(3_000);
  });

  test('an answer that stops in the middle ends at the limit, too', async () => {
    const url = await serve((_request, response) => void response.writeHead(200).write('half'));
    await expect(callHttp(url, { method: 'DELETE', timeoutMs: 100, maxBytes: 10 })).rejects.toMatchObject({
      code: 'engine-timeout',
    });
  });

  test('a connection that is cut', async () => {
    const url = await serve((_request, response) => {
      response.writeHead(200, { 'content-length': 100 }).write('half');
      setTimeout(() => response.destroy(), 20);
    });
    await expect(callHttp(url, { method: 'DELETE', ...LIMITS })).rejects.toMatchObject({
      code: 'engine-request-failed',
    });
  });

  test('too much', async () => {
    const url = await serve((_request, response) => response.end('x'.repeat(1_001)));
    await expect(callHttp(url, { method: 'DELETE', ...LIMITS })).rejects.toMatchObject({
      message: `${url} answered with more than 1000 bytes`,
    });
  });

  test('an interruption', async () => {
    const url = await serve(() => {});
    const controller = new AbortController();
    const call = callHttp(url, { method: 'HEAD', ...LIMITS, signal: controller.signal });
    controller.abort();
    await expect(call).rejects.toMatchObject({ code: 'interrupted' });
  });
});
