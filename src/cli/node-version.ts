/** As package.json's `engines`: below it, parts of the language that runoff uses are missing. */
const MINIMUM = [22, 13] as const;

/** Pure: what to tell somebody whose Node.js is too old; null where it is not. */
export function oldNodeMessage(version: string): string | null {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > MINIMUM[0] || (major === MINIMUM[0] && minor >= MINIMUM[1])) return null;
  return (
    `runoff: it needs Node.js ${MINIMUM.join('.')} or newer, and this is ${version}.\n` +
    '  In a clone, npm start -- COMMAND uses the Node.js that its dependencies bring.\n'
  );
}
