/** What `runoff doctor` says: one finding per thing that was looked at. */
import { z } from 'zod';

/** In the order in which they are shown. */
const SEVERITIES = ['problem', 'warning', 'unknown', 'ok'] as const;
/** No finding holds more than a few sentences and one command. */
const TEXT_CHARACTERS_MAX = 2_000;

const text = z.string().min(1).max(TEXT_CHARACTERS_MAX);

const findingSchema = z.object({
  /** Stable: scripts may match on it. */
  id: z.string().regex(/^[a-z0-9-]+$/),
  severity: z.enum(SEVERITIES),
  /** What was seen, with the value. */
  what: text,
  /** Why it matters for a measurement or for shipping; null where nothing is wrong. */
  why: text.nullable(),
  /** What to do, with the exact command where there is one; null where nothing is wrong. */
  remedy: text.nullable(),
});
export type Finding = z.infer<typeof findingSchema>;

/** What `runoff doctor --json` prints. */
export const diagnosisSchema = z.object({
  schemaVersion: z.literal(1),
  /** `linux x64, 2 cores, 8.2 GB of memory`. */
  machine: text,
  /** Path of the model that was looked at; null: none. */
  model: text.nullable(),
  engines: z.array(text).max(100),
  findings: z.array(findingSchema).max(1_000),
});
export type Diagnosis = z.infer<typeof diagnosisSchema>;

export interface Trouble {
  readonly what: string;
  readonly why: string;
  readonly remedy: string;
}

export const problem = (id: string, trouble: Trouble): Finding => make(id, 'problem', trouble);
export const warning = (id: string, trouble: Trouble): Finding => make(id, 'warning', trouble);
/** @param what a few words, for the line of everything that is fine */
export const ok = (id: string, what: string): Finding => make(id, 'ok', { what, why: null, remedy: null });
/** @param what a subject and the reason, e.g. `free disk space: the system does not tell` */
export const unknown = (id: string, what: string): Finding => make(id, 'unknown', { what, why: null, remedy: null });

/** Paths and messages of other programs can be long; a finding stays one that its schema takes. */
function make(
  id: string,
  severity: Finding['severity'],
  { what, why, remedy }: { what: string; why: string | null; remedy: string | null },
): Finding {
  return {
    id,
    severity,
    what: shorten(what),
    why: why === null ? null : shorten(why),
    remedy: remedy === null ? null : shorten(remedy),
  };
}

function shorten(value: string): string {
  return value.length <= TEXT_CHARACTERS_MAX ? value : `${value.slice(0, TEXT_CHARACTERS_MAX - 1)}…`;
}

/** Problems first; within a severity the order of the checks stays. */
export function bySeverity(findings: readonly Finding[]): Finding[] {
  return SEVERITIES.flatMap((severity) => findings.filter((finding) => finding.severity === severity));
}
