/** The vocabulary of the protocol: plans, cells, requests, progress, actions. Types only. */

export interface PilotCosts {
  /** Launch, load and stop of one process, ms. */
  readonly startMs: number;
  readonly prefillMsPerToken: number;
  readonly decodeMsPerToken: number;
}

export interface PlannedEngine {
  readonly id: string;
  /** Why this backend is not ranked; null for the ranked ones. */
  readonly referenceBackend: string | null;
  readonly pilot: PilotCosts;
}

export interface PlanInput {
  readonly engines: readonly PlannedEngine[];
  readonly prompts: readonly { readonly name: string; readonly tokenCount: number }[];
  readonly generateTokens: number;
  /** Measured iterations per prompt and process. */
  readonly iterations: number;
  /** Most blocks per engine. */
  readonly maxBlocks: number;
  /** Wall-clock time until the deadline, ms. */
  readonly remainingMs: number;
  /** A first look after four blocks: for who asks which is faster, not by how much. */
  readonly earlyLook: boolean;
}

/** One prompt of one engine. */
export interface PromptCell {
  readonly prompt: string;
  readonly promptTokens: number;
  readonly generateTokens: number;
  readonly iterations: number;
  /** Measured in the blocks 0..blocks-1. */
  readonly blocks: number;
  /** Set when this engine does less than the others on this prompt: shown, never compared. */
  readonly shortened: string | null;
  /** Its requests in one block, full-shape warm-up included, ms. */
  readonly estimateMs: number;
}

export interface EngineSchedule {
  readonly engine: string;
  readonly referenceBackend: string | null;
  readonly pilot: PilotCosts;
  readonly cells: readonly PromptCell[];
  /** Blocks that this engine takes part in: 0..blocks-1. */
  readonly blocks: number;
  /** Start, warm-ups and requests of one process in block 0, ms. */
  readonly estimateMsPerBlock: number;
  readonly estimateMsTotal: number;
}

export interface NotMeasured {
  readonly engine: string;
  readonly prompt: string;
  readonly reason: string;
  readonly estimateMs: number | null;
}

export interface RunPlan {
  readonly state: 'comparison' | 'single-engine' | 'refused';
  readonly engines: readonly EngineSchedule[];
  /** N: blocks planned for the ranked engines; even where the budget allows. */
  readonly blocks: number;
  readonly iterations: number;
  readonly generateTokens: number;
  /** Looks to register before the run: counts of accepted blocks. */
  readonly looks: readonly number[];
  readonly estimateMsPerBlock: number;
  readonly estimateMsTotal: number;
  readonly notMeasured: readonly NotMeasured[];
  /** What was reduced and why, each a sentence. */
  readonly notes: readonly string[];
}

/** One request of a process, in order. */
export interface PlannedRequest {
  readonly kind: 'warmup' | 'measured';
  /** Prompt name, or WARMUP_PROMPT for the small first requests. */
  readonly prompt: string;
  /** Counts within (kind, prompt) of this process. */
  readonly iteration: number;
  readonly promptTokens: number;
  readonly generateTokens: number;
  readonly estimateMs: number;
}

export interface DoneCell {
  readonly engine: string;
  readonly block: number;
  readonly attempt: number;
  /** `cut`: ended by the deadline or the user; its block counts for nothing. */
  readonly state: 'complete' | 'failed' | 'cut';
  readonly durationMs: number;
}

export interface DoneBlock {
  readonly block: number;
  readonly attempt: number;
  /** `abandoned`: an interruption tore it apart in time; it is run again from the start and charged to nobody. */
  readonly state: 'accepted' | 'rejected' | 'abandoned';
  readonly reasons: readonly string[];
}

/** Everything that decides the next step; append what happened and ask again. */
export interface Progress {
  readonly cells: readonly DoneCell[];
  readonly blocks: readonly DoneBlock[];
  /** Looks that were taken, with the answer of `isResolved`. */
  readonly looks: readonly { readonly blocks: number; readonly resolved: boolean }[];
  /** Engines that the caller dropped after a `drop-engine` action. */
  readonly dropped: readonly string[];
  /** Engines that a look found too far behind to be measured on. */
  readonly retired: readonly string[];
}

export interface RunState {
  readonly plan: RunPlan;
  readonly seed: number;
  /** On the clock of `nowMs`. */
  readonly deadlineMs: number;
  readonly progress: Progress;
}

export type StopReason = 'complete' | 'resolved' | 'budget' | 'noisy' | 'nothing-left';

export type Action =
  /** Run this process: `cellRequests(schedule, block)` lists its requests. */
  | {
      readonly type: 'cell';
      readonly engine: string;
      readonly block: number;
      readonly attempt: number;
      readonly requests: readonly PlannedRequest[];
      readonly startEstimateMs: number;
      readonly predictedMs: number;
    }
  /** Every process of the block ran: judge its noise and append a `block-end`. */
  | { readonly type: 'close-block'; readonly block: number; readonly attempt: number }
  /** A registered look is due: test it, and append the answer to `progress.looks` and whom it retires to `progress.retired`. */
  | { readonly type: 'look'; readonly blocks: number }
  /** Append the engine to `progress.dropped` and say so: what is left of it is `notMeasured`. */
  | { readonly type: 'drop-engine'; readonly engine: string; readonly reason: string }
  | { readonly type: 'stop'; readonly reason: StopReason; readonly detail: string };
