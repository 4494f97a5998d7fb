/** Paths of files come from the server: before one is used on this disk it must be a plain path below a folder. */
import { AppError } from '../../core/errors.ts';

const PATH_CHARACTERS_MAX = 1_000;
/** Most file systems' limit. */
const NAME_BYTES_MAX = 255;
/** Devices on Windows, with any extension. */
const DEVICE = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;

/** Pure: null, or why a path is not used. The same on every system, so that a cache can be moved. */
export function pathFault(path: string): string | null {
  if (path.length === 0 || path.length > PATH_CHARACTERS_MAX) return 'its length';
  if (/[<>:"|?*\\]|\p{Cc}/u.test(path)) return 'a character that not every system allows';
  for (const name of path.split('/')) {
    if (name === '' || name === '.' || name === '..') return 'a part that leads elsewhere';
    if (/[. ]$/.test(name)) return 'a name that ends with a dot or a space';
    if (DEVICE.test(name)) return 'a name that means a device on Windows';
    if (Buffer.byteLength(name) > NAME_BYTES_MAX) return 'a name that is too long';
  }
  return null;
}

/** @throws AppError `model-invalid` for a path that is not used, or two that are one where case does not count */
export function checkPaths(paths: readonly string[], repo: string): void {
  const seen = new Map<string, string>();
  for (const path of paths) {
    const fault = pathFault(path);
    if (fault !== null) throw unusable(repo, `the file name ${JSON.stringify(path.slice(0, 100))} has ${fault}`);
    const folded = path.normalize('NFC').toLowerCase();
    const other = seen.get(folded);
    if (other === path) throw unusable(repo, `${path} is listed twice`);
    if (other !== undefined) throw unusable(repo, `${other} and ${path} are one file on macOS and Windows`);
    seen.set(folded, path);
  }
}

function unusable(repo: string, reason: string): AppError {
  return new AppError('model-invalid', `${repo} is not used: ${reason}.`, {
    hint: 'Nothing was written. Tell its owner, or take another repository.',
  });
}
