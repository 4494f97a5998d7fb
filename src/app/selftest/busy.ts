import { lookAtActivity } from '../../platform/doctor/activity.ts';
import type { Ui } from '../ui.ts';

/** As the noise gate of a run: a block is disturbed by more. */
const FOREIGN_SHARE_MAX = 0.05;
const NAMES_SHOWN = 3;

/** Told before minutes are spent: on a busy machine most checks stay open. */
export async function warnIfBusy(ui: Ui): Promise<void> {
  const { interference, busiest } = await lookAtActivity();
  const share = interference.foreignCpuShare ?? 0;
  if (share <= FOREIGN_SHARE_MAX) return;
  const names = (busiest ?? []).slice(0, NAMES_SHOWN).map(({ name }) => name);
  const who = names.length === 0 ? '' : ` (${names.join(', ')})`;
  ui.line(
    `Other programs use ${Math.round(100 * share)}% of the processor now${who}: many checks will stay open. Ctrl-C, close them, and start again.`,
  );
}
