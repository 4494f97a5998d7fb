/** Pure: what `runoff doctor` prints. One block for each trouble, then what could not be told, then what is fine. */
import pc from 'picocolors';
import type { Diagnosis, Finding } from '../core/doctor/finding.ts';
import { cleanStrings } from '../report/clean.ts';
import { wrap } from '../report/text-table.ts';

/** Longer lines of prose are hard to read, however wide the window. */
const WIDTH_MAX = 100;
const WIDTH_MIN = 60;
const LABELS = { problem: 'PROBLEM', warning: 'WARNING' } as const;
/** The longest label and two spaces. */
const INDENT = ' '.repeat(9);

export interface DoctorTextOptions {
  readonly color: boolean;
  /** Columns of the terminal. */
  readonly width: number;
}

type Colors = ReturnType<typeof pc.createColors>;

export function describeDiagnosis(diagnosis: Diagnosis, { color, width }: DoctorTextOptions): string {
  const columns = Math.min(WIDTH_MAX, Math.max(WIDTH_MIN, width));
  const colors = pc.createColors(color);
  const { machine, model, engines, findings } = cleanStrings(diagnosis);
  const troubles = findings.filter(({ severity }) => severity === 'problem' || severity === 'warning');
  const unknowns = findings.filter(({ severity }) => severity === 'unknown');
  const fine = findings.filter(({ severity }) => severity === 'ok');
  const parts = [
    [
      ...wrap(machine, columns, { first: 'Machine  ', rest: INDENT }),
      ...wrap(model ?? 'none: name a .gguf or .llamafile file', columns, { first: 'Model    ', rest: INDENT }),
      ...wrap(engines.join(', '), columns, { first: 'Engines  ', rest: INDENT }),
    ].map((line) => colors.dim(line)),
    ...troubles.map((finding) => block(finding, columns, colors)),
    unknowns.length === 0
      ? []
      : ['Could not be told:', ...unknowns.flatMap(({ what }) => wrap(what, columns, { first: '- ', rest: '  ' }))],
    fine.length === 0 ? [] : wrap(`Checked and fine: ${fine.map(({ what }) => what).join('; ')}.`, columns),
    wrap(closing(findings), columns).map((line) => colors.bold(line)),
  ];
  return `${parts
    .filter((part) => part.length > 0)
    .map((part) => part.join('\n'))
    .join('\n\n')}\n`;
}

function block({ severity, what, why, remedy }: Finding, width: number, colors: Colors): string[] {
  const isProblem = severity === 'problem';
  const label = LABELS[isProblem ? 'problem' : 'warning'];
  const paint = isProblem ? colors.red : colors.yellow;
  const [first = '', ...rest] = wrap(what, width, { first: `${label}  `, rest: INDENT });
  return [
    first.replace(label, () => paint(colors.bold(label))),
    ...rest,
    ...(why === null ? [] : wrap(why, width, { first: `${INDENT}Why: `, rest: `${INDENT}     ` })),
    ...(remedy === null ? [] : wrap(remedy, width, { first: `${INDENT}Do:  `, rest: `${INDENT}     ` })),
  ];
}

/** Pure: the sentence that the exit code says in a number. */
export function closing(findings: readonly Pick<Finding, 'severity'>[]): string {
  const count = (severity: Finding['severity']): number =>
    findings.filter((finding) => finding.severity === severity).length;
  const [problems, warnings] = [count('problem'), count('warning')];
  if (problems > 0) {
    return `${plural(problems, 'problem')}${warnings > 0 ? ` and ${plural(warnings, 'warning')}` : ''}: a run would fail or mislead. Solve ${problems === 1 ? 'it' : 'them'} first.`;
  }
  if (warnings > 0)
    return `No problem, ${plural(warnings, 'warning')}: a run works, but read ${warnings === 1 ? 'it' : 'them'} before you trust its figures.`;
  return 'Nothing stands in the way of a run.';
}

function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`;
}
