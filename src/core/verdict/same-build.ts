/** Which engines are layers over one and the same library. */
import type { EngineFacts } from '../record.ts';

/** One known library id, and nothing that the two engines reported about their builds contradicts it. */
export function isSameBuild(left: EngineFacts, right: EngineFacts): boolean {
  if (left.libraryId === undefined || left.libraryId !== right.libraryId) return false;
  const [a, b] = [left.build, right.build];
  const openMpDiffers = a?.openMp != null && b?.openMp != null && a.openMp !== b.openMp;
  const sets = [a, b].map((build) => build?.instructionSets?.split(/\s+/).toSorted().join(' '));
  const setsDiffer = sets.every((set) => set !== undefined) && sets[0] !== sets[1];
  return !openMpDiffers && !setsDiffer;
}
