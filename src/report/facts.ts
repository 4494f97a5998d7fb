/** What it takes to ship an engine, in words: for the reports and for `runoff engines --facts`. */
import type { RunRecord } from '../core/record.ts';
import type { Fact, ShippingFacts } from '../core/shipping-facts.ts';
import { median } from '../core/stats/describe.ts';
import { duration } from './numbers.ts';
import type { Cell, ReportView } from './view.ts';

export interface FactLine {
  readonly name: string;
  readonly text: string;
  /** An address, or `measured`. */
  readonly source: string;
  /** When the source was read, YYYY-MM-DD. */
  readonly date: string;
}

const NEEDS = { node: 'Node.js', python: 'Python', compiler: 'a compiler', service: 'a running service' } as const;

/** Every fact in one order and one wording. */
export function factLines(shipping: ShippingFacts): FactLine[] {
  const line = <T>(name: string, fact: Fact<T>, text: string): FactLine => ({
    name,
    text,
    source: fact.source,
    date: fact.date,
  });
  const { installSteps, license, platforms, accelerators, modelSizeLimit, apiSurfaces, needs, takesHubId } = shipping;
  return [
    line('install', installSteps, installSteps.value.join('; ')),
    line('licence', license, licenseText(license.value)),
    line('platforms', platforms, platforms.value.join(', ') || NOT_KNOWN),
    line('accelerators', accelerators, accelerators.value.join(', ')),
    line('model size', modelSizeLimit, modelSizeLimit.value ?? 'no limit but memory'),
    line('interfaces', apiSurfaces, apiSurfaces.value.join('; ')),
    line('users need', needs, needs.value.length === 0 ? 'nothing' : needsText(shipping)),
    line('hub ids', takesHubId, takesHubId.value ? 'downloads a model by its hub id' : 'takes files only'),
  ];
}

/** Of a server behind an address. */
const NOT_KNOWN = 'not known, it depends on the server';

/** NOASSERTION is SPDX for: not looked at, or not to be told. */
function licenseText(id: string): string {
  return id === 'NOASSERTION' ? 'licence not known' : id;
}

function needsText({ needs }: ShippingFacts): string {
  return needs.value.map((need) => NEEDS[need]).join(', ');
}

export interface ShippingView {
  readonly engines: readonly string[];
  /** One cell per engine. */
  readonly rows: readonly { readonly name: string; readonly cells: readonly string[] }[];
  readonly sources: readonly { readonly engine: string; readonly facts: readonly FactLine[] }[];
  readonly note: string;
}

/** The shipping facts of a run's engines beside what the run measured; null where no engine declares facts. */
export function shippingView(view: Pick<ReportView, 'record' | 'engines'>): ShippingView | null {
  const { record } = view;
  const declared = record.engines.map(({ id, shipping }) => ({
    id,
    lines: shipping === null ? null : factLines(shipping),
  }));
  const names = declared.find(({ lines }) => lines !== null)?.lines?.map(({ name }) => name) ?? [];
  if (names.length === 0) return null;
  const prompt = firstTokenPrompt(record);
  const measured = (read: (id: string) => string): string[] => declared.map(({ id }) => read(id));
  const resultOf = (id: string) => view.engines.find((engine) => engine.id === id);
  return {
    engines: declared.map(({ id }) => id),
    rows: [
      ...names.map((name, index) => ({
        name,
        cells: declared.map(({ lines }) => lines?.[index]?.text ?? 'not declared'),
      })),
      { name: 'load, measured', cells: measured((id) => cellText(resultOf(id)?.load)) },
      { name: 'start to first token, measured', cells: measured((id) => startText(record, id, prompt)) },
      { name: 'peak memory, measured', cells: measured((id) => cellText(resultOf(id)?.memory)) },
    ],
    sources: declared.flatMap(({ id, lines }) => (lines === null ? [] : [{ engine: id, facts: lines }])),
    note:
      `Declared facts come from the sources below; the measured ones are of this run. Start to first token: load plus the ` +
      `first token of the prompt “${prompt}”, median over blocks, warm page cache; the first start after a reboot takes longer.`,
  };
}

const cellText = (cell: Cell | null | undefined): string =>
  cell === null || cell === undefined ? 'not measured' : `${cell.value} ${cell.unit}`;

/** `short` where the run has it, else its shortest prompt: what comes before the prompt weighs most there. */
function firstTokenPrompt({ manifest }: RunRecord): string {
  const { prompts } = manifest.plan;
  const shortest = prompts.toSorted((left, right) => left.tokenCount - right.tokenCount)[0];
  return prompts.find(({ name }) => name === 'short')?.name ?? shortest?.name ?? 'short';
}

function startText(record: RunRecord, engine: string, prompt: string): string {
  const ms = startToFirstToken(record, engine, prompt);
  return ms === null ? 'not measured' : duration(ms);
}

/** @returns ms, median over the blocks of load + time to first token; null where the blocks of the two do not match. */
export function startToFirstToken(record: RunRecord, engine: string, prompt: string): number | null {
  const values = (metric: 'load' | 'ttft', of: string): readonly number[] =>
    record.summaries.find((entry) => entry.engine === engine && entry.metric === metric && entry.prompt === of)
      ?.values ?? [];
  const [loads, firsts] = [values('load', '-'), values('ttft', prompt)];
  if (loads.length === 0 || loads.length !== firsts.length) return null;
  return median(loads.map((load, index) => load + (firsts[index] ?? 0)));
}

/** One line for a terminal; null where no engine declares facts. */
export function shippingLine({ engines }: RunRecord): string | null {
  const parts = engines.flatMap(({ id, shipping }) =>
    shipping === null
      ? []
      : [
          `${id} ${licenseText(shipping.license.value)}, needs ${shipping.needs.value.length === 0 ? 'nothing' : needsText(shipping)}`,
        ],
  );
  return parts.length === 0 ? null : `Shipping: ${parts.join('; ')}. All facts with sources: runoff engines --facts`;
}
