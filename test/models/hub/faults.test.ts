/** A network and a server that misbehave: what arrives is right or refused, and nothing looks finished that is not. */
import type { ServerResponse } from 'node:http';
import { readdirSync, readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { gitHash, refuse, sha256, TOKEN } from '../../fixtures/hub/answers.ts';
import type { Intercept } from '../../fixtures/hub/hub-server.ts';
import { failure } from '../fixture.ts';
import { bytes, useHub } from './hub-fixture.ts';

const bench = useHub();
const MODEL = bytes(95_000);

/** Intercepts the content network, from the nth request on or once. */
function cdn(answer: (range: string, response: ServerResponse, count: number) => boolean): Intercept {
  let count = 0;
  return (_request, response, { origin, range }) => {
    if (origin !== 'cdn') return false;
    count += 1;
    return answer(range ?? '', response, count);
  };
}

function rangeOf(range: string): { start: number; end: number } {
  const [, start, end] = /^bytes=(\d+)-(\d+)$/.exec(range) ?? [];
  return { start: Number(start), end: Number(end) + 1 };
}

function partial(response: ServerResponse, range: string, content: Buffer, total = MODEL.length): void {
  const { start, end } = rangeOf(range);
  response.writeHead(206, { 'content-range': `bytes ${start}-${end - 1}/${total}` });
  response.end(content);
}

const blobs = (): string[] => readdirSync(join(bench().cacheFolder, 'models--owner--tiny', 'blobs'));
const snapshots = (): string[] => {
  try {
    return readdirSync(join(bench().cacheFolder, 'models--owner--tiny', 'snapshots'));
  } catch {
    return [];
  }
};

describe('made good without the user', () => {
  const pulled = async (intercept: Intercept): Promise<void> => {
    const { server, pull } = bench();
    server.add('owner/tiny', { 'tiny.gguf': MODEL });
    server.intercept = intercept;
    expect(readFileSync((await pull('hf:owner/tiny')).path).equals(MODEL)).toBe(true);
    expect(blobs()).toEqual([sha256(MODEL)]);
  };

  it('connections that are cut in the middle go on behind the last byte', async () => {
    let cuts = 0;
    await pulled(
      cdn((range, response) => {
        const { start, end } = rangeOf(range);
        if (cuts >= 6 || end - start < 3_000) return false;
        cuts += 1;
        response.writeHead(206, {
          'content-range': `bytes ${start}-${end - 1}/${MODEL.length}`,
          'content-length': end - start,
        });
        response.write(MODEL.subarray(start, start + 2_500));
        setTimeout(() => response.destroy(), 10);
        return true;
      }),
    );
    const continued = bench()
      .server.requests('cdn')
      .filter(({ range }) => rangeOf(range ?? '').start % 10_000 === 2_500);
    expect(continued.length).toBeGreaterThanOrEqual(4);
  });

  it('an answer that ends early without an error', async () => {
    let shortened = 0;
    await pulled(
      cdn((range, response) => {
        const { start, end } = rangeOf(range);
        if (shortened >= 3 || end - start < 3_000) return false;
        shortened += 1;
        partial(response, range, MODEL.subarray(start, start + 2_000));
        return true;
      }),
    );
  });

  it('a server that ignores ranges', () =>
    pulled(
      cdn((_range, response) => {
        response.writeHead(200, { 'content-length': MODEL.length });
        response.end(MODEL);
        return true;
      }),
    ));

  it('5xx, once per range', () => {
    const seen = new Set<string>();
    return pulled(
      cdn((range, response) => {
        if (seen.has(range)) return false;
        seen.add(range);
        response.writeHead(502).end('<html>');
        return true;
      }),
    );
  });

  it('429 with Retry-After: waits as long as it is told', async () => {
    let refusedAtMs = 0;
    let againAtMs = 0;
    const { hub, pull, server } = bench();
    server.add('owner/tiny', { 'tiny.gguf': MODEL });
    server.intercept = (_request, response, { path }) => {
      if (!path.includes('/revision/')) return false;
      if (refusedAtMs === 0) {
        refusedAtMs = performance.now();
        response.writeHead(429, { 'retry-after': '1' }).end();
        return true;
      }
      againAtMs = performance.now();
      return false;
    };
    await pull('hf:owner/tiny', { hub: hub({}, { pauseMsMax: 2_000 }) });
    expect(againAtMs - refusedAtMs).toBeGreaterThanOrEqual(990);
  });

  it('a drip of single bytes: a new connection is taken', () => {
    let drips = 0;
    return pulled(
      cdn((range, response) => {
        const { start, end } = rangeOf(range);
        if (drips > 0) return false;
        drips += 1;
        response.writeHead(206, { 'content-range': `bytes ${start}-${end - 1}/${MODEL.length}` });
        let at = start;
        const timer = setInterval(() => response.write(MODEL.subarray(at, (at += 1))), 20);
        response.on('close', () => clearInterval(timer));
        return true;
      }),
    );
  });

  it('a signed address that expires: the hub is asked for a new one', async () => {
    await pulled(
      cdn((_range, response, count) => {
        if (count !== 3) return false;
        response.writeHead(403).end();
        return true;
      }),
    );
    expect(bench().server.requests('hub', 'HEAD')).toHaveLength(2);
  });

  it('a part of an earlier try that was damaged on the disk since', async () => {
    const { server, pull, cacheFolder } = bench();
    server.add('owner/tiny', { 'tiny.gguf': MODEL });
    server.intercept = cdn((_range, response, count) => count > 4 && response.writeHead(404).end() !== null);
    await failure(pull('hf:owner/tiny'));
    const data = join(cacheFolder, 'models--owner--tiny', 'blobs', `${sha256(MODEL)}.runoff.incomplete`);
    const damaged = await readFile(data);
    damaged[5] = (damaged[5] ?? 0) ^ 0xff;
    await writeFile(data, damaged);
    server.intercept = () => false;
    expect(readFileSync((await pull('hf:owner/tiny')).path).equals(MODEL)).toBe(true);
  });
});

describe('refused, and nothing looks finished', () => {
  const refused = async (
    intercept: Intercept,
  ): Promise<{ code: string; message: string; hint: string | undefined }> => {
    const { server, pull } = bench();
    server.add('owner/tiny', { 'tiny.gguf': MODEL });
    server.intercept = intercept;
    const error = await failure(pull('hf:owner/tiny'));
    expect(snapshots()).toEqual([]);
    return error;
  };

  it('other bytes of the right length', async () => {
    const { code, message, hint } = await refused(
      cdn((range, response) => {
        const { start, end } = rangeOf(range);
        partial(response, range, Buffer.alloc(end - start));
        return true;
      }),
    );
    expect(code).toBe('model-invalid');
    expect(message).toContain(`instead of ${sha256(MODEL)}`);
    expect(hint).toContain('thrown away');
    expect(blobs()).toEqual([]);
  });

  it('other bytes of a small file: its git hash is checked', async () => {
    const { server, pull } = bench();
    server.add('owner/tiny', { 'tiny.gguf': MODEL, 'README.md': 'the card' });
    server.intercept = (request, response, { path }) => {
      if (!path.endsWith('README.md')) return false;
      const body = request.method === 'HEAD' ? '' : 'THE CARD';
      response.writeHead(200, { 'content-length': 8 }).end(body);
      return true;
    };
    const { code, message } = await failure(pull('hf:owner/tiny'));
    expect(code).toBe('model-invalid');
    expect(message).toContain(gitHash(Buffer.from('the card')));
  });

  it('more bytes than announced', async () => {
    const { code, message } = await refused(
      cdn((range, response) => {
        const { start, end } = rangeOf(range);
        partial(response, range, Buffer.concat([MODEL.subarray(start, end), Buffer.from('!')]));
        return true;
      }),
    );
    expect(code).toBe('model-invalid');
    expect(message).toContain('sends more than the 10000 bytes that it announced');
  });

  it('another range than the one asked for', async () => {
    const { code, message } = await refused(
      cdn((range, response) => {
        const { end, start } = rangeOf(range);
        response.writeHead(206, { 'content-range': `bytes ${start + 1}-${end}/${MODEL.length}` });
        response.end(MODEL.subarray(start, end));
        return true;
      }),
    );
    expect(code).toBe('model-invalid');
    expect(message).toContain('were asked for');
  });

  it('a size or a hash that differs from the list', async () => {
    for (const header of [{ 'x-linked-size': '5' }, { 'x-linked-etag': `"${'0'.repeat(64)}"` }]) {
      const { code, message } = await refused((_request, response, { method }) => {
        if (method !== 'HEAD') return false;
        response.writeHead(200, header).end();
        return true;
      });
      expect(code).toBe('model-invalid');
      expect(message).toMatch(/the hub lists .* and announces/);
    }
    expect(bench().server.requests('cdn')).toEqual([]);
  });

  it('redirects without an end, and to an address that is not http', async () => {
    for (const [location, text] of [
      ['/api/models/owner/tiny/revision/main', 'without an end'],
      ['file:///etc/passwd', 'redirects to an address that is not followed'],
    ] as const) {
      const { code, message } = await refused((_request, response) => {
        response.writeHead(302, { location }).end();
        return true;
      });
      expect(code).toBe('download-failed');
      expect(message).toContain(text);
    }
  });

  it('a page instead of the hub', async () => {
    const { code, message } = await refused((_request, response) => {
      response.setHeader('content-type', 'application/json');
      response.end('{"welcome":"to this hotel"}');
      return true;
    });
    expect(code).toBe('download-failed');
    expect(message).toContain('did not send the description of owner/tiny, but something else');
  });

  it('a list that never ends', async () => {
    const { server, hub } = bench();
    const { code } = await refused((_request, response, { path }) => {
      if (!path.includes('/tree/')) return false;
      response.setHeader('link', `<${server.endpoint}${path}>; rel="next"`);
      response.setHeader('content-type', 'application/json');
      response.end('[]');
      return true;
    });
    expect(code).toBe('model-unsupported');
    expect(hub().limits.failuresMax).toBe(3);
  });

  it('a pause that nobody waits for is told', async () => {
    const { code, message, hint } = await refused((_request, response) => {
      response.writeHead(429, { 'retry-after': '3600' }).end();
      return true;
    });
    expect(code).toBe('download-failed');
    expect(message).toContain('asks for fewer requests (429). It asks for a pause of 3600 s.');
    expect(hint).toContain('HF_TOKEN');
  });

  it('an answer that does not come', async () => {
    const { server, hub, pull } = bench();
    server.add('owner/tiny', { 'tiny.gguf': MODEL });
    server.intercept = () => true;
    const { code, message } = await failure(pull('hf:owner/tiny', { hub: hub({}, { headersMs: 100 }) }));
    expect(code).toBe('download-failed');
    expect(message).toContain('no answer within 0.1 s');
  });

  it('names that leave the folder or that other systems do not have', async () => {
    for (const [path, text] of [
      ['../../../../evil.gguf', 'leads elsewhere'],
      ['/etc/evil.gguf', 'leads elsewhere'],
      ['a\\b.gguf', 'not every system allows'],
      ['C:evil.gguf', 'not every system allows'],
      ['aux.gguf', 'a device on Windows'],
      [`${'x'.repeat(300)}.gguf`, 'too long'],
    ] as const) {
      const { server, pull } = bench();
      server.add('owner/tiny', { [path]: MODEL });
      const { code, message } = await failure(pull('hf:owner/tiny'));
      expect(code).toBe('model-invalid');
      expect(message).toContain(text);
    }
    expect(bench().server.requests('cdn')).toEqual([]);
  });

  it('two names that are one on macOS and Windows', async () => {
    const { server, pull } = bench();
    server.add('owner/tiny', { 'tiny.gguf': MODEL, LICENSE: 'a', license: 'b' });
    const { code, message } = await failure(pull('hf:owner/tiny'));
    expect(code).toBe('model-invalid');
    expect(message).toContain('LICENSE and license are one file');
  });
});

describe('an interrupted download', () => {
  it('keeps what has arrived, and asks for the rest alone', async () => {
    const { server, pull } = bench();
    server.add('owner/tiny', { 'tiny.gguf': MODEL });
    const stop = new AbortController();
    server.intercept = cdn((range, response, count) => {
      if (count <= 4) return false;
      const { start, end } = rangeOf(range);
      response.writeHead(206, { 'content-range': `bytes ${start}-${end - 1}/${MODEL.length}` });
      response.write(MODEL.subarray(start, start + 4_000));
      setTimeout(() => stop.abort(), 60);
      return true;
    });
    const { code } = await failure(pull('hf:owner/tiny', { signal: stop.signal }));
    expect(code).toBe('interrupted');
    expect(blobs().toSorted()).toEqual([`${sha256(MODEL)}.runoff.incomplete`, `${sha256(MODEL)}.runoff.json`]);
    server.intercept = () => false;
    server.seen.length = 0;
    expect(readFileSync((await pull('hf:owner/tiny')).path).equals(MODEL)).toBe(true);
    const asked = server.requests('cdn').map(({ range }) => rangeOf(range ?? ''));
    const askedBytes = asked.reduce((sum, { start, end }) => sum + end - start, 0);
    expect(askedBytes).toBeLessThanOrEqual(MODEL.length - 40_000 - 4_000);
    expect(blobs()).toEqual([sha256(MODEL)]);
  });

  it('starts again when the file has changed meanwhile, or its note is not one', async () => {
    const { server, pull, cacheFolder } = bench();
    server.add('owner/tiny', { 'tiny.gguf': MODEL });
    const note = join(cacheFolder, 'models--owner--tiny', 'blobs', `${sha256(MODEL)}.runoff.json`);
    for (const text of [
      '{',
      '{"sizeBytes":95000,"hash":"x","parts":[]}',
      `{"sizeBytes":95000,"hash":"${sha256(MODEL)}","parts":[[0,5,9]]}`,
    ]) {
      server.intercept = cdn((_range, response, count) => count > 2 && response.writeHead(404).end() !== null);
      await failure(pull('hf:owner/tiny'));
      await writeFile(note, text);
    }
    server.intercept = () => false;
    expect(readFileSync((await pull('hf:owner/tiny')).path).equals(MODEL)).toBe(true);
  });
});

describe('what the hub refuses', () => {
  it('is said with what to do, page and token included, never the token itself', async () => {
    const { server, hub, pull } = bench();
    server.add('owner/gated', { 'm.gguf': MODEL }, { access: 'gated' });
    server.add('owner/private', { 'm.gguf': MODEL }, { access: 'private' });
    server.add('owner/open', { 'm.gguf': MODEL });
    const wrongToken = { hub: hub({ token: 'hf_wrong', tokenPlace: 'HF_TOKEN' }) };
    const cases: [string, Parameters<typeof pull>[1]][] = [
      ['hf:owner/gated', {}],
      ['hf:owner/gated', wrongToken],
      ['hf:owner/private', {}],
      ['hf:owner/private', wrongToken],
      ['hf:owner/none', {}],
      ['hf:owner/open@v9', {}],
      ['hf:owner/open:Q9', {}],
    ];
    const messages: string[] = [];
    for (const [spec, options] of cases) {
      const { code, message, hint } = await failure(pull(spec, options));
      messages.push(`${code}: ${message}\n${hint ?? ''}`.replaceAll(server.endpoint, 'HUB'));
    }
    expect(messages.join('\n\n')).not.toContain('hf_wrong');
    expect(messages).toMatchInlineSnapshot(`
      [
        "access-denied: owner/gated/m.gguf: it is gated: its licence must be accepted
      Open HUB/owner/gated, accept the licence, then set HF_TOKEN to a token of that account.",
        "access-denied: owner/gated/m.gguf: it is gated, and the account of the token in HF_TOKEN has not been admitted
      Open HUB/owner/gated with that account and accept the licence; some owners then decide by hand.",
        "model-not-found: owner/private: there is no such public repository at HUB
      Check the name; a private one needs a token in HF_TOKEN.",
        "model-not-found: owner/private: there is no such repository at HUB, or the token in HF_TOKEN may not see it
      Check the name and the account.",
        "model-not-found: owner/none: there is no such public repository at HUB
      Check the name; a private one needs a token in HF_TOKEN.",
        "model-not-found: owner/open: there is no such revision
      HUB/owner/open/commits/main lists them.",
        "model-not-found: owner/open holds no Q9; it holds
            0.1 MB  m.gguf
      Name one of these, for example hf:owner/open:m.gguf.",
      ]
    `);
  });

  it('a token that is not accepted', async () => {
    const { server, hub, pull } = bench();
    server.intercept = (_request, response) => {
      refuse(response, 401, '', 'Invalid credentials in Authorization header');
      return true;
    };
    const { code, message, hint } = await failure(
      pull('hf:owner/x', { hub: hub({ token: TOKEN, tokenPlace: '/home/me/token' }) }),
    );
    expect([code, message, hint]).toEqual([
      'access-denied',
      'owner/x: the hub does not accept the token in /home/me/token',
      `Make a new one at ${server.endpoint}/settings/tokens.`,
    ]);
  });
});
