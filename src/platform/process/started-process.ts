import type { EngineProcess } from '../../core/engine.ts';
import type { ProcessExit } from '../../core/process-exit.ts';

export interface StopReport extends ProcessExit {
  /** It did not end within the grace and was killed. */
  readonly forced: boolean;
}

export interface StartedProcess extends EngineProcess {
  /** The engine's; its tree is what memory and processor time are read from. */
  readonly pid: number;
  /** The keeper's: ours, not the engine's. */
  readonly keeperPid: number;
  /** Last bytes of stdout, where it is not the reply channel. */
  stdoutTail(): string;
  /** Ends the engine and all that it started; safe to call again, and after its death. */
  stop(graceMs: number): Promise<StopReport>;
}
