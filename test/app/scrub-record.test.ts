import { describe, expect, it } from 'vitest';
import type { Manifest, RunEvent } from '../../src/core/record.ts';
import { scrubRecord, type PrivateFacts } from '../../src/app/scrub-record.ts';

const FACTS: PrivateFacts = { homeFolder: '/home/jane doe', userName: 'jdoe', hostNames: ['lab-42.example.org'] };

/** Only the texts matter here; the rest of a record is left out. */
function scrubbed(
  parts: object,
  events: readonly object[] = [],
): { manifest: Record<string, unknown>; events: unknown[]; leftovers: readonly string[] } {
  const { manifest, events: cleaned, leftovers } = scrubRecord(parts as Manifest, events as RunEvent[], FACTS);
  return { manifest: { ...manifest }, events: [...cleaned], leftovers };
}

const text = (value: string): unknown => scrubbed({ note: value }).manifest['note'];

describe('a text', () => {
  it.each([
    ['cannot open /home/jane doe/models/a.gguf', 'cannot open …/a.gguf'],
    ['at /opt/acme/secret project', 'at …/secret project'],
    ['see file:///srv/acme/x.js:12', 'see …/x.js:12'],
    ['open:/srv/acme/x', 'open:…/x'],
    ['--model=/srv/acme/m.gguf', '--model=…/m.gguf'],
    [String.raw`C:\Users\Jane\models\a.gguf is gone`, String.raw`…\a.gguf is gone`],
    ['by jdoe on lab-42 (lab-42.example.org)', 'by NAME on NAME (NAME)'],
    ['~/clients/acme/a.gguf', '…/a.gguf'],
  ])('%s', (before, after) => {
    expect(text(before)).toBe(after);
  });

  it.each([
    '512 tok/s, 3/4 of 12, n/a, and/or',
    'hf:owner/name@0123:a/b.gguf',
    'https://docs.example.org/a/b?c=d',
    'listens on http://127.0.0.1:8080',
    'jdoering, mylab-42, lab-420',
    'llama.cpp b1234; AVX512_VNNI',
  ])('%s is left as it is', (same) => {
    expect(text(same)).toBe(same);
  });
});

describe('fields', () => {
  it('of places keep their last part, and their folders are found in other texts', () => {
    const { manifest, events, leftovers } = scrubbed(
      {
        plan: {
          model: '/data/team blue/m 1.gguf',
          engines: ['/data/team blue/my.ts', 'llama-cpp'],
          prompts: [{ source: '/data/team blue/contract.txt' }],
        },
        models: [{ path: '/data/team blue/m 1.gguf', source: 'hf:o/n@1:m.gguf' }],
        engines: [
          {
            location: '/usr/local/bin/llama-server',
            command: ['/usr/local/bin/llama-server', '--model', '/data/team blue/m 1.gguf', '--port', '80'],
          },
        ],
      },
      [{ type: 'cell-end', error: 'failed to load /data/team blue/m 1.gguf: no such file' }],
    );
    expect(manifest).toEqual({
      plan: { model: 'm 1.gguf', engines: ['my.ts', 'llama-cpp'], prompts: [{ source: 'contract.txt' }] },
      models: [{ path: 'm 1.gguf', source: 'hf:o/n@1:m.gguf' }],
      engines: [{ location: 'llama-server', command: ['llama-server', '--model', 'm 1.gguf', '--port', '80'] }],
    });
    expect(events).toEqual([{ type: 'cell-end', error: 'failed to load …/m 1.gguf: no such file' }]);
    expect(leftovers).toEqual([]);
  });

  it('with a server lose its address, here and in other texts; this machine stays', () => {
    const { manifest, events } = scrubbed(
      {
        plan: { engines: ['openai=http://user:pw@10.0.0.7:8000/v1'] },
        engines: [{ location: 'http://10.0.0.7:8000/v1' }, { location: 'http://127.0.0.1:11434' }],
      },
      [{ type: 'warning', message: '10.0.0.7:8000 answered late' }],
    );
    expect(JSON.stringify([manifest, events])).not.toMatch(/10\.0\.0\.7|user:pw/);
    expect(manifest['engines']).toEqual([{ location: 'http://HOST/v1' }, { location: 'http://127.0.0.1:11434' }]);
    expect(events).toEqual([{ type: 'warning', message: 'HOST answered late' }]);
  });

  it('without texts are untouched', () => {
    const parts = { a: 1.5, b: null, c: [true, { d: 'x' }] };
    expect(scrubbed(parts).manifest).toEqual(parts);
  });
});
