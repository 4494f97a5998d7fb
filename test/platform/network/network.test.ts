import { createServer } from 'node:http';
import type { RequestListener, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { freePort, isPortTaken } from '../../../src/platform/network/free-port.ts';
import { getJson, streamSse } from '../../../src/platform/network/http.ts';
import { parseSse } from '../../../src/platform/network/sse.ts';

let server: Server | null = null;

afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = null;
});

async function serve(listener: RequestListener): Promise<{ url: string; port: number }> {
  const started = createServer(listener);
  server = started;
  await new Promise<void>((resolve) => started.listen(0, '127.0.0.1', resolve));
  const { port } = started.address() as AddressInfo;
  return { port, url: `http://127.0.0.1:${port}` };
}

const LIMITS = { timeoutMs: 5_000, maxBytes: 1_000 };

describe('ports', () => {
  test('a free one is free, a served one is taken', async () => {
    expect(await isPortTaken(await freePort())).toBe(false);
    const { port } = await serve((_request, response) => response.end());
    expect(await isPortTaken(port)).toBe(true);
  });
});

describe('getJson', () => {
  test('https speaks TLS: a server that does not gets nothing in clear', async () => {
    const arrived: Buffer[] = [];
    const { port } = await serve(() => {});
    server?.on('connection', (socket) => socket.on('data', (bytes: Buffer) => arrived.push(bytes)));
    const headers = { authorization: 'Bearer secret-word' };
    await expect(getJson(`https://127.0.0.1:${port}/x`, { ...LIMITS, headers })).rejects.toMatchObject({
      code: 'engine-request-failed',
    });
    expect(Buffer.concat(arrived).toString('latin1')).not.toContain('secret-word');
  });

  test('a redirect is an error with its status', async () => {
    const { url } = await serve((_request, response) => response.writeHead(307, { location: '/other' }).end());
    await expect(getJson(url, LIMITS)).rejects.toMatchObject({
      code: 'engine-request-failed',
      context: { status: 307 },
    });
  });

  test('answers', async () => {
    const { url } = await serve((request, response) => response.end(JSON.stringify({ path: request.url })));
    expect(await getJson(`${url}/health`, LIMITS)).toEqual({ path: '/health' });
  });

  test('an error status shows the body, shortened', async () => {
    const { url } = await serve((_request, response) =>
      response.writeHead(503).end(`loading model ${'x'.repeat(600)}`),
    );
    await expect(getJson(url, LIMITS)).rejects.toMatchObject({
      code: 'engine-request-failed',
      message: `${url} answered 503: loading model ${'x'.repeat(486)}…`,
      context: { status: 503 },
    });
  });

  test('text that is no JSON', async () => {
    const { url } = await serve((_request, response) => response.end('<html>'));
    await expect(getJson(url, LIMITS)).rejects.toMatchObject({
      message: `${url} answered with something that is not JSON: <html>`,
    });
  });

  test('too much', async () => {
    const { url } = await serve((_request, response) => response.end('x'.repeat(2_000)));
    await expect(getJson(url, LIMITS)).rejects.toMatchObject({
      code: 'engine-request-failed',
      message: `${url} answered with more than 1000 bytes`,
    });
  });

  test('nobody there', async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    await expect(getJson(url, LIMITS)).rejects.toMatchObject({
      code: 'engine-request-failed',
      message: expect.stringContaining('ECONNREFUSED'),
    });
  });

  test('silence', async () => {
    const { url } = await serve(() => {});
    await expect(getJson(url, { ...LIMITS, timeoutMs: 100 })).rejects.toMatchObject({ code: 'engine-timeout' });
  });
});

describe('streamSse', () => {
  test('stamps each arrival and keeps the bytes', async () => {
    const { url } = await serve((request, response) => {
      request
        .on('data', (body: Buffer) => response.write(`data: ${body.toString()}\n\n`))
        .on('end', () => setTimeout(() => response.end('data: [DONE]\n\n'), 50));
    });
    const answer = await streamSse(url, { n: 1 }, LIMITS);
    const events = parseSse(answer.chunks);
    expect(events.map(({ data }) => data)).toEqual(['{"n":1}', '[DONE]']);
    const [first, last] = events.map(({ atMs }) => atMs - answer.startedMs);
    expect(first).toBeGreaterThan(0);
    expect((last ?? 0) - (first ?? 0)).toBeGreaterThan(30);
  });

  test('a server that dies in the middle', async () => {
    const { url } = await serve((_request, response) => {
      response.write('data: 1\n\n');
      setTimeout(() => response.destroy(), 20);
    });
    await expect(streamSse(url, {}, LIMITS)).rejects.toMatchObject({ code: 'engine-request-failed' });
  });

  test('the signal and the caller’s look at chunks', async () => {
    const { url } = await serve((_request, response) => void response.write('data: 1\n\n'));
    const controller = new AbortController();
    const answer = streamSse(url, {}, { ...LIMITS, signal: controller.signal, onChunk: () => controller.abort() });
    await expect(answer).rejects.toMatchObject({ code: 'interrupted' });
  });

  test('an error status', async () => {
    const { url } = await serve((_request, response) => response.writeHead(400).end('{"error":"prompt too long"}'));
    await expect(streamSse(url, {}, LIMITS)).rejects.toMatchObject({
      message: `${url} answered 400: {"error":"prompt too long"}`,
    });
  });
});

describe('parseSse', () => {
  const stamp = (...texts: string[]) => texts.map((text, index) => ({ atMs: index, bytes: Buffer.from(text) }));

  test('an event belongs to the chunk that completes it', () => {
    expect(parseSse(stamp('data: {"a"', ':1}\n', '\ndata: 2\n\ndata: 3\n\n'))).toEqual([
      { atMs: 2, data: '{"a":1}' },
      { atMs: 2, data: '2' },
      { atMs: 2, data: '3' },
    ]);
  });

  test('CRLF, comments, other fields, several data lines, no space', () => {
    expect(parseSse(stamp(': hello\r\nevent: x\r\ndata: a\r\ndata:b\r\n\r\n\r\n'))).toEqual([
      { atMs: 0, data: 'a\nb' },
    ]);
  });

  test('what was cut off is left out', () => {
    expect(parseSse(stamp('data: whole\n\ndata: cut\n'))).toEqual([{ atMs: 0, data: 'whole' }]);
  });

  test('however it is split, the events are the same', () => {
    const bytes = Buffer.from('data: {"text":"größe 🦙"}\r\n\r\ndata: 2\n\n: ping\n\ndata: 3\n\n');
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: bytes.length }), { maxLength: 20 }), (cuts) => {
        const edges = [0, ...cuts.toSorted((a, b) => a - b), bytes.length];
        const chunks = edges.slice(1).map((end, index) => ({ atMs: index, bytes: bytes.subarray(edges[index], end) }));
        expect(parseSse(chunks).map(({ data }) => data)).toEqual(['{"text":"größe 🦙"}', '2', '3']);
      }),
    );
  });
});
