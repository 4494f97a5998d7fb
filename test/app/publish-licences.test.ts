import { describe, expect, it } from 'vitest';
import { decideLicence } from '../../src/app/publish-model.ts';
import { judgeLicence } from '../../src/models/hub/licences.ts';

function refusal(...args: Parameters<typeof decideLicence>): string {
  try {
    decideLicence(...args);
  } catch (error) {
    const { code, message, hint } = error as { code: string; message: string; hint: string };
    return `${code}: ${message} | ${hint}`;
  }
  return 'none';
}

describe('a licence', () => {
  it.each([
    ['apache-2.0', 'allowed'],
    ['Apache License 2.0', 'allowed'],
    ['MIT', 'allowed'],
    ['llama3.2', 'allowed'],
    ['gemma', 'allowed'],
    ['cc-by-nc-4.0', 'allowed'],
    ['cc-by-nc-nd-4.0', 'refused'],
    ['cc-by-nd-4.0', 'refused'],
    ['llama-noncommercial', 'refused'],
    ['All rights reserved', 'refused'],
    ['other', 'unknown'],
    ['unknown', 'unknown'],
    ['', 'unknown'],
    ['qwen-research', 'unknown'],
    ['constructor', 'unknown'],
  ])('%s is %s', (id, state) => {
    expect(judgeLicence(id).state).toBe(state);
  });
});

describe('what a publication goes by', () => {
  it('is what the file says, with its conditions', () => {
    expect(decideLicence('apache-2.0', 'as the file says', null)).toMatchObject({
      id: 'apache-2.0',
      said: 'as the file says',
      conditions: [expect.stringContaining('licence text'), expect.anything()],
    });
  });

  it('is what the user says where the file says nothing, also a name of its own', () => {
    expect(decideLicence(null, '', 'mit')).toMatchObject({ id: 'mit', isHubName: true });
    expect(decideLicence('other', '', 'qwen-research')).toMatchObject({ id: 'qwen-research', isHubName: false });
  });

  it('is refused with the reason', () => {
    expect([
      refusal(null, '', null),
      refusal('other', '', 'other'),
      refusal('cc-by-nc-nd-4.0', '', 'mit'),
      refusal('qwen-research', '', null),
      refusal('apache-2.0', '', 'mit'),
    ]).toMatchInlineSnapshot(`
      [
        "publish-refused: the model does not say its licence | Read it, make sure that it allows to pass the model on, and name it by --licence, e.g. --licence apache-2.0.",
        "publish-refused: the model does not say its licence | Read it, make sure that it allows to pass the model on, and name it by --licence, e.g. --licence apache-2.0.",
        "publish-refused: its licence is cc-by-nc-nd-4.0: it forbids passing on changed versions ("no derivatives"), and a converted or quantised model is one | Nothing was sent. Ask the author of the model.",
        "publish-refused: the licence "qwen-research" is not one that runoff knows | Read it, make sure that it allows to pass the model on, and name it by --licence, e.g. --licence apache-2.0.",
        "publish-refused: the file says that its licence is apache-2.0, and --licence says mit | A licence is carried over, not chosen: leave --licence out.",
      ]
    `);
  });
});
