import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { oldNodeMessage } from '../../src/cli/node-version.ts';

test('an old Node.js is told, with the way that works', () => {
  expect(oldNodeMessage('20.20.2')).toBe(
    'runoff: it needs Node.js 22.13 or newer, and this is 20.20.2.\n  In a clone, npm start -- COMMAND uses the Node.js that its dependencies bring.\n',
  );
  expect(oldNodeMessage('22.12.9')).not.toBeNull();
  expect(oldNodeMessage('22.13.0')).toBeNull();
  expect(oldNodeMessage('24.0.0')).toBeNull();
});

test('the limit is the one of the package', () => {
  const { engines } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    engines: { node: string };
  };
  expect(oldNodeMessage('1.0.0')).toContain(`Node.js ${engines.node.replace('>=', '')} or newer`);
});
