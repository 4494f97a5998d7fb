/** Keeps an eye on the machine while a run goes on: what it sees between processes goes into the log. */
import type { BusyProgram } from '../core/doctor/facts.ts';
import type { CanaryPlanEvent } from '../core/machine-check-schema.ts';
import type { CanaryCost } from '../core/protocol/canary-plan.ts';
import type { Manifest, RunEvent } from '../core/record.ts';
import type { MachineWatch } from '../platform/canary/machine-watch.ts';
import type { Machinery } from './machinery.ts';

export interface WatcherAsk {
  readonly machinery: Machinery;
  readonly manifest: Manifest;
  readonly events: readonly RunEvent[];
  readonly elapsedMs: () => number;
  readonly append: (event: RunEvent) => Promise<void>;
}

/** More names would not help. */
const NAMES_MAX = 3;

export class Watcher {
  private readonly ask: WatcherAsk;
  private watch: MachineWatch | null = null;
  private plan: CanaryPlanEvent | null = null;
  /** Others at work since the last block ended, by name: the largest share seen. */
  private busy = new Map<string, number>();

  constructor(ask: WatcherAsk) {
    this.ask = ask;
  }

  /** Before the first block of a session: registers the plan, or takes the one that an earlier session registered, and calibrates. */
  async begin(cost: CanaryCost): Promise<void> {
    const { machinery, manifest, events, append } = this.ask;
    const registered = events.find((event) => event.type === 'canary-plan') ?? null;
    const { threads } = manifest.settings;
    const { cpu, cacheBytes = null } = manifest.machine;
    const withCanary = (registered ?? cost).mode !== 'off';
    this.watch = await machinery.openWatch({ withCanary, threads, cacheBytes, cpu });
    this.plan = registered ?? planEvent(cost, this.watch);
    if (registered === null) await append(this.plan);
    const looks = this.watch.canary === null ? 1 : Math.max(1, this.plan.calibrations);
    for (let count = 0; count < looks; count += 1) await this.look(true);
    this.busy.clear();
  }

  /** After a process has stopped, and so before the next one starts. */
  async afterCell(): Promise<void> {
    await this.look(this.plan?.mode === 'cells');
  }

  /** The last look of a block, when all its processes have run. @returns who was busy beside it, the busiest first */
  async closeBlock(): Promise<BusyProgram[]> {
    if (this.plan?.mode === 'blocks') await this.look(true);
    const busiest = [...this.busy]
      .map(([name, coreShare]) => ({ name: name.slice(0, 100), coreShare }))
      .toSorted((left, right) => right.coreShare - left.coreShare)
      .slice(0, NAMES_MAX);
    this.busy.clear();
    return busiest;
  }

  async close(): Promise<void> {
    await this.watch?.close();
    this.watch = null;
  }

  private async look(withCanary: boolean): Promise<void> {
    if (this.watch === null || this.plan === null) return;
    const durationMs =
      withCanary && this.watch.canary !== null && this.plan.mode !== 'off' ? this.plan.durationMs : null;
    const { busiest, ...look } = await this.watch.look(durationMs);
    for (const { name, coreShare } of busiest ?? []) {
      this.busy.set(name, Math.max(coreShare, this.busy.get(name) ?? 0));
    }
    await this.ask.append({ type: 'machine-check', elapsedMs: this.ask.elapsedMs(), ...look });
  }
}

function planEvent(cost: CanaryCost, { canary, trouble, best }: MachineWatch): CanaryPlanEvent {
  const { mode, reason, durationMs, calibrations } = cost;
  const size = { threads: canary?.threads ?? 0, bufferBytes: canary?.bufferBytes ?? 0, best };
  if (canary !== null || mode === 'off')
    return { type: 'canary-plan', mode, reason, durationMs, calibrations, ...size };
  const why = `no canary: ${trouble ?? 'there is none on this machine'}`.slice(0, 1_900);
  return { type: 'canary-plan', mode: 'off', reason: why, durationMs: 0, calibrations: 0, ...size };
}
