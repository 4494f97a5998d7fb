/** Where an engine's compute threads come from, in words. */
import type { EngineFacts } from '../record.ts';

/** Only what decides: more than one thread, on the CPU. */
type ThreadFacts = Pick<EngineFacts, 'build' | 'device' | 'settings'>;

/** `on`, `off`, or off with what it costs; null: unknown. */
export function describeOpenMp(facts: ThreadFacts): string | null {
  const { build } = facts;
  if (build === null || build.openMp === null) return null;
  if (build.openMp) return 'on';
  return createsThreads(facts) && usesSeveral(facts) ? 'off, threads created anew for every token' : 'off';
}

/** For `runoff tune`: why more threads may bring less than they should; null where nothing is known to stand in the way. */
export function threadsNote(facts: ThreadFacts & Pick<EngineFacts, 'id'>): string | null {
  if (!createsThreads(facts)) return null;
  return `${facts.id} is built without OpenMP and keeps no threadpool: with more than one thread it creates threads anew for every token, which costs a part of what they bring. A build with OpenMP keeps them.`;
}

function createsThreads({ build, device }: ThreadFacts): boolean {
  return build?.disposableThreads === true && device === 'cpu';
}

/** Unknown counts as several: one is rarely what an engine is asked for. */
function usesSeveral({ settings }: ThreadFacts): boolean {
  return (settings?.threads ?? 2) > 1;
}
