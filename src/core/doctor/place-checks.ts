/** Folders: is there room, and may programs start from there? */
import type { DoctorFacts, Place } from './facts.ts';
import { ok, problem, unknown, warning } from './finding.ts';
import type { Finding } from './finding.ts';
import { bytesText, quoted } from './quantity.ts';

/** A run writes some 5 MB of samples and reports; below this the system itself is in trouble. */
const RUNS_BYTES_MIN = 100e6;
/** What is left over must take logs and a repacked model. */
const CACHE_BYTES_SPARE = 500e6;
/** Installed packages are two to three times as large as their download. */
const UNPACKED_FACTOR = 3;

export function checkDisk(facts: DoctorFacts): Finding[] {
  return facts.places.flatMap((place) => (place.use === 'loader' ? [] : [diskFinding(place, facts)]));
}

function diskFinding(place: Place, facts: DoctorFacts): Finding {
  const { use, path, freeBytes } = place;
  const id = `disk-${use}`;
  const name = use === 'cache' ? 'cache folder' : 'folder of the runs';
  if (freeBytes === null) return unknown(id, `free space in the ${name}: the system does not tell`);
  const needed = use === 'cache' ? cacheNeed(facts) : RUNS_BYTES_MIN;
  const spare = use === 'cache' ? CACHE_BYTES_SPARE : 0;
  if (freeBytes >= needed + spare) return ok(id, `${bytesText(freeBytes)} free in the ${name}`);
  const trouble = freeBytes < needed ? problem : warning;
  return trouble(id, {
    what: `${bytesText(freeBytes)} are free in the ${name} (${path}), ${bytesText(needed + spare)} are needed.`,
    why:
      use === 'cache'
        ? 'Engines that are to be installed and the forms of the model are kept there; a full disk stops the preparation.'
        : 'A run that cannot write its samples ends there, and its time is lost.',
    remedy:
      use === 'cache'
        ? `Free some space (runoff cache shows what lies there), or name another folder: RUNOFF_CACHE=${EXAMPLE_FOLDER[facts.host.platform] ?? '/other/disk/runoff'}`
        : 'Free some space, or write elsewhere: runoff run --out FOLDER',
  });
}

const EXAMPLE_FOLDER: Readonly<Record<string, string>> = { win32: 'D:\\runoff' };

/** Packages that are to be installed, and the model once more where an engine needs another form of it. */
function cacheNeed({ engines, model }: DoctorFacts): number {
  const downloads = engines.reduce(
    (sum, { state, downloadBytes }) => sum + (state === 'installable' ? downloadBytes : 0),
    0,
  );
  const converts = engines.some(({ convertsModel, state }) => convertsModel && state !== 'unavailable');
  const modelBytes = model?.state === 'readable' ? model.shape.weightBytes : 0;
  const isLlamafile = model?.state === 'readable' && model.hazards !== null;
  // Other engines read a model from outside of its llamafile; a form for MLX is up to a fifth larger.
  return UNPACKED_FACTOR * downloads + (isLlamafile ? modelBytes : 0) + (converts ? 1.2 * modelBytes : 0);
}

/** `noexec`: files there cannot be started or loaded as libraries. */
export function checkNoExec(facts: DoctorFacts): Finding[] {
  const places = facts.places.filter(({ use }) => use === 'cache' || (use === 'loader' && facts.llamafile !== null));
  return places.flatMap((place) => {
    const id = place.use === 'cache' ? 'noexec-cache' : 'noexec-loader';
    const name = place.use === 'cache' ? 'the cache folder' : 'the folder of the llamafile loader';
    // Windows has no such mounts.
    if (facts.host.platform === 'win32') return [];
    if (place.noExec === null) return [unknown(id, `whether programs may start from ${name}: the mount is not told`)];
    return place.noExec ? [noExecFinding(id, place)] : [ok(id, `programs may start from ${name}`)];
  });
}

function noExecFinding(id: string, { use, path, mountPath }: Place): Finding {
  return problem(id, {
    what: `${path} is mounted noexec.`,
    why:
      use === 'cache'
        ? 'The installed engines lie there: their programs and libraries would not start ("Permission denied", "failed to map segment").'
        : `A llamafile unpacks its loader there and starts it: it ends with "Permission denied".`,
    remedy:
      use === 'cache'
        ? `RUNOFF_CACHE=FOLDER with a folder on another mount, or: sudo mount -o remount,exec ${quoted(mountPath ?? path)}`
        : `Let it unpack elsewhere: TMPDIR=$HOME sh ${quoted('./model.llamafile')}`,
  });
}
