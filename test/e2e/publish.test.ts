/** Publishing to the local hub server: what is shown, what is sent, and what never leaves. */
import { mkdir, writeFile } from 'node:fs/promises';
import { homedir, hostname, userInfo } from 'node:os';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readGgufHeader } from '../../src/models/gguf/read-header.ts';
import { refuse, TOKEN } from '../fixtures/hub/answers.ts';
import { HubServer } from '../fixtures/hub/hub-server.ts';
import { useWorkspace } from './cli.ts';

const get = useWorkspace();
let server: HubServer;

beforeEach(async () => {
  server = await HubServer.start();
  get().moreEnvironment = { HF_ENDPOINT: server.endpoint, HF_TOKEN: TOKEN };
});
afterEach(() => server.stop());

const publish = (...args: readonly string[]) => get().runoff(['publish', ...args]);
const shown = (text: string): string => get().normalise(text).replaceAll(server.endpoint, 'HUB');

describe('a model', () => {
  it('is shown, and nothing is sent', async () => {
    const { code, stdout, stderr } = await publish(
      get().model,
      '--to',
      'me/tiny',
      '--licence',
      'apache-2.0',
      '--source',
      'hf:other/base@0123',
    );
    expect(code).toBe(0);
    expect(shown(stdout)).toMatchInlineSnapshot(`
      "To the public model repository me/tiny at HUB, made if it is not there:
           47.7 kB  Tiny-Test.Q4_0.gguf
            1.0 kB  README.md  (if there is none yet)
      Licence: apache-2.0
        - the licence text and notices go with the files
        - the card says that the files were changed
      Note: no LICENSE file lies beside the model; put it there, and it goes along.
      One commit; nothing else is sent, and the token goes to this address only.

      --- README.md ---
      ---
      license: apache-2.0
      base_model: other/base
      base_model_relation: quantized
      library_name: gguf
      pipeline_tag: text-generation
      tags:
        - runoff
        - gguf
      ---

      # Tiny-Test.Q4\\_0

      A GGUF file, put here with runoff 0.1.0. It is not the original: who trained it and under which terms is said at its source, what was done to it since below.

      ## How it was made

      | | |
      | --- | --- |
      | Source | \`hf:other/base@0123\` |
      | Steps | \`not recorded\` |
      | Architecture | \`llama\` |
      | Parameters | \`37504\` |
      | Quantisation | \`Q4_0\` |
      | Bits per weight, all tensors | \`4.57\` |
      | Weight fingerprint | \`rf1-b7b139294c24889f01973e3ee01da3d57c4bb9be6cfb1fd7b20d3ac53139538e\` |

      ## Files

      | File | Bytes | sha256 |
      | --- | ---: | --- |
      | \`Tiny-Test.Q4_0.gguf\` | 47712 | 4c792827efc1fe75223cce6c7c6a90a3e53c2bd79297c119362dde3cbf8ab442 |

      ## Licence

      apache-2.0, as whoever published it says. What it asks of whoever passes the model on:

      - the licence text and notices go with the files
      - the card says that the files were changed"
    `);
    expect(stderr).toContain('Nothing was sent. With --yes it is.');
    expect(server.seen).toEqual([]);
  });

  it('is sent with --yes: the very bytes, in one commit, and the token to the hub alone', async () => {
    const first = await publish(get().model, '--to', 'me/tiny', '--licence', 'mit', '--yes');
    expect([first.code, first.stdout]).toEqual([0, `${server.endpoint}/me/tiny\n`]);
    expect([...server.published.keys()].toSorted()).toEqual([
      'me/tiny/README.md',
      `me/tiny/${get().model.split('/').at(-1)}`,
    ]);
    expect(server.published.get(`me/tiny/${get().model.split('/').at(-1)}`)?.equals(readFileSync(get().model))).toBe(
      true,
    );
    expect(server.created).toEqual(['model/me/tiny']);
    expect(server.seen.filter(({ origin, authorization }) => origin === 'cdn' && authorization !== null)).toEqual([]);
    const everything = first.stdout + first.stderr + [...server.published.values()].map(String).join('');
    expect(everything).not.toContain(TOKEN);
  });

  it('leaves a card that is there, unless told to replace it', async () => {
    server.add('me/tiny', { 'README.md': 'written by hand' });
    const kept = await publish(get().model, '--to', 'me/tiny', '--licence', 'mit', '--yes');
    expect(kept.stderr).toContain('README.md was there already and was left as it is (--replace-card replaces it).');
    expect([...server.published.keys()]).not.toContain('me/tiny/README.md');
    await publish(get().model, '--to', 'me/tiny', '--licence', 'mit', '--replace-card', '--yes');
    expect(server.published.get('me/tiny/README.md')?.toString()).toContain('license: mit');
  });

  it('is refused without a licence, and with one that forbids it', async () => {
    const none = await publish(get().model, '--to', 'me/tiny', '--yes');
    expect([none.code, none.stderr]).toEqual([1, expect.stringContaining('the model does not say its licence')]);
    const forbidden = await publish(get().model, '--to', 'me/tiny', '--licence', 'cc-by-nd-4.0', '--yes');
    expect(forbidden.stderr).toContain('it forbids passing on changed versions');
    expect(server.seen).toEqual([]);
  });

  it('says what is missing: a token, or its rights', async () => {
    get().moreEnvironment = { HF_ENDPOINT: server.endpoint };
    const none = await publish(get().model, '--to', 'me/tiny', '--licence', 'mit', '--yes');
    expect([none.code, none.stderr]).toEqual([1, expect.stringContaining('there is no token, so nothing can be sent')]);
    get().moreEnvironment = { HF_ENDPOINT: server.endpoint, HF_TOKEN: TOKEN };
    server.intercept = (_request, response) => {
      refuse(response, 403, '', "You don't have the rights to create a model under the namespace");
      return true;
    };
    const read = await publish(get().model, '--to', 'me/tiny', '--licence', 'mit', '--yes');
    expect(read.stderr).toContain(
      "the hub forbids it (You don't have the rights to create a model under the namespace)",
    );
    expect(read.stderr).toContain('The token in HF_TOKEN may lack the right to it');
    const wrong = await publish(get().model, '--to', 'tiny', '--licence', 'mit');
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('that is not OWNER/NAME')]);
  });

  it('goes on after a failure of the network without sending twice what has arrived', async () => {
    let failures = 0;
    server.intercept = (_request, response, { path }) => {
      if (!path.includes('/commit/') || failures > 0) return false;
      failures += 1;
      response.writeHead(500).end();
      return true;
    };
    const args = [get().model, '--to', 'me/tiny', '--licence', 'mit', '--yes'];
    expect((await publish(...args)).code).toBe(1);
    expect(server.published.size).toBe(0);
    expect((await publish(...args)).code).toBe(0);
    expect(server.requests('cdn', 'PUT')).toHaveLength(1);
  });
});

describe('a run', () => {
  it('is sent without what is private, can be derived again, and goes into the card of its model alone', async () => {
    const workspace = get();
    const run = await workspace.runoff(workspace.run(['alpha', 'beta']));
    expect(run).toMatchObject({ code: 0 });
    const dry = await publish(workspace.out, '--to', 'me/speed');
    expect(shown(dry.stdout)).toContain('To the public dataset repository me/speed at HUB');
    expect(server.seen).toEqual([]);

    const sent = await publish(workspace.out, '--to', 'me/speed', '--yes');
    expect(sent).toMatchObject({ code: 0, stdout: `${server.endpoint}/datasets/me/speed\n` });
    expect([...server.published.keys()].toSorted()).toEqual([
      'me/speed/README.md',
      ...['README.md', 'manifest.json', 'record.json', 'report.csv', 'report.html', 'samples.jsonl'].map(
        (name) => `me/speed/runs/out/${name}`,
      ),
    ]);
    const names = [workspace.folder, dirname(workspace.model), homedir(), hostname(), userInfo().username].filter(
      (name) => name.length > 2 && !['root', 'node', 'runner'].includes(name),
    );
    for (const [path, content] of server.published)
      expect({ path, found: names.filter((name) => content.toString().includes(name)) }).toEqual({ path, found: [] });

    const copy = join(workspace.folder, 'copy');
    await mkdir(copy);
    for (const name of ['manifest.json', 'samples.jsonl'])
      await writeFile(join(copy, name), server.published.get(`me/speed/runs/out/${name}`) ?? '');
    const [before, after] = await Promise.all(
      [workspace.out, copy].map((folder) => workspace.runoff(['report', folder])),
    );
    expect(after?.stdout).toBe(before?.stdout);

    const card = await publish(workspace.model, '--to', 'me/tiny', '--licence', 'mit', '--run', workspace.out);
    expect(card.stdout).toContain('## Measured speed');
    expect(card.stdout).toContain('alpha');
    expect(card.stdout).not.toContain(workspace.folder);
    const other = join(workspace.folder, 'other.gguf');
    const changed = Buffer.from(readFileSync(workspace.model));
    const { tensors } = await readGgufHeader(workspace.model);
    changed.writeFloatLE(2, tensors.find(({ name }) => name === 'output_norm.weight')?.offset ?? 0);
    await writeFile(other, changed);
    const refused = await publish(other, '--to', 'me/tiny', '--licence', 'mit', '--run', workspace.out);
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringContaining('neither sha256 nor fingerprint agree'),
    ]);
  });
});
