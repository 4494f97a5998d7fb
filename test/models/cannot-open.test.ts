import { expect, test } from 'vitest';
import { cannotOpen } from '../../src/models/cannot-open.ts';

test.each([
  ['ENOENT', 'There is no file /models/a.gguf.', 'Check the path.'],
  ['ENOTDIR', 'There is no file /models/a.gguf.', 'Check the path.'],
  ['EACCES', 'The file /models/a.gguf cannot be opened (EACCES).', 'Check its permissions.'],
])('%s', (code, message, hint) => {
  const cause = Object.assign(new Error('no'), { code });
  expect(cannotOpen('file /models/a.gguf', cause)).toMatchObject({ code: 'model-not-found', message, hint, cause });
});

test('without a code it says what is known', () => {
  expect(cannotOpen('file /models/a.gguf', 'odd').message).toBe('The file /models/a.gguf cannot be opened.');
});
