/** Which event of a stream carried the tokens that came with none: halves of a character are held back until it is whole. */

/** Of a character, at most four tokens: so many can be held back before the event that completes it. */
export const HELD_BACK_MAX = 3;
/** Beyond it a server counts what is no answer: all of the surplus then goes to one event, instead of keeping runoff busy. */
const STEPS_MAX = 4_000_000;

/**
 * Tokens of each event. An event is a token, except where a character of several tokens was held back: its event comes
 * after as many waits, so every token of the surplus goes to the event with the longest wait for each of its tokens. The
 * first two events are left alone: the sample does not use their intervals.
 * @returns counts whose sum is `generated`; as many as there are times.
 */
export function spreadTokens(eventMs: readonly number[], generated: number): number[] {
  const counts = eventMs.map(() => 1);
  const surplus = generated - counts.length;
  if (surplus <= 0 || counts.length === 0) return counts;
  const each = surplus * counts.length > STEPS_MAX ? surplus : 1;
  for (let left = surplus; left > 0; left -= each) {
    const longest = longestWait(eventMs, counts);
    counts[longest] = (counts[longest] ?? 1) + each;
  }
  return counts;
}

function longestWait(eventMs: readonly number[], counts: readonly number[]): number {
  const wait = (index: number): number => ((eventMs[index] ?? 0) - (eventMs[index - 1] ?? 0)) / (counts[index] ?? 1);
  let longest = counts.length - 1;
  for (let index = 2; index < counts.length; index++) if (wait(index) > wait(longest)) longest = index;
  return longest;
}
