/** Pure: what `runoff engines` prints. One block per engine; names on the left, texts wrapped beside them. */
import type { Capabilities, EngineSettings } from '../core/engine.ts';
import { cleanStrings } from '../report/clean.ts';
import { factLines } from '../report/facts.ts';
import { duration } from '../report/numbers.ts';
import { wrap } from '../report/text-table.ts';
import { coldStartMs } from './cold-start.ts';
import type { ColdStart } from './cold-start.ts';
import type { EngineShipping } from './engine-facts.ts';
import { megabytes } from './engines.ts';
import type { EngineOverview } from './engines.ts';

/** Longer lines of prose are hard to read, however wide the window. */
const WIDTH_MAX = 100;
const WIDTH_MIN = 60;
/** Two spaces, the longest name, and one more. */
const NAME_COLUMNS = 15;

type Row = readonly [name: string, text: string];

/** @param width columns of the terminal */
export function describeEngines(overviews: readonly EngineOverview[], width: number): string {
  return blocks(
    cleanStrings(overviews).map((overview) => ({ title: titleOf(overview), rows: overviewRows(overview) })),
    width,
  );
}

/** The same for shipping facts, each with its source and date. */
export function describeFacts(engines: readonly EngineShipping[], width: number): string {
  return blocks(
    cleanStrings(engines).map((engine) => ({ title: titleOf(engine), rows: factRows(engine) })),
    width,
  );
}

const titleOf = ({ id, title }: { readonly id: string; readonly title: string }): string => `${id}: ${title}`;

function blocks(entries: readonly { readonly title: string; readonly rows: readonly Row[] }[], width: number): string {
  const columns = Math.min(WIDTH_MAX, Math.max(WIDTH_MIN, width));
  const rest = ' '.repeat(NAME_COLUMNS);
  return entries
    .map(({ title, rows }) =>
      [
        ...wrap(title, columns),
        ...rows.flatMap(([name, text]) => wrap(text, columns, { first: `  ${name}`.padEnd(NAME_COLUMNS), rest })),
      ].join('\n'),
    )
    .join('\n\n');
}

function overviewRows(overview: EngineOverview): Row[] {
  const { capabilities, modelFormat } = overview;
  return [
    ...stateRows(overview),
    [
      'model',
      { gguf: 'GGUF file', mlx: 'MLX folder, made from the GGUF', served: 'the one that its server has' }[modelFormat],
    ],
    ['can', abilities(capabilities)],
    ['settings', settingsText(capabilities.settings)],
    ['get it', howToGet(overview)],
  ];
}

function stateRows({ detection, managed, environment }: EngineOverview): Row[] {
  if (detection.state === 'installable') {
    return [['installable', `${detection.what}, about ${megabytes(detection.downloadBytes)} MB to download`]];
  }
  if (detection.state === 'unavailable') return [['unavailable', detection.reason]];
  const { build, device, location, referenceBackend, runningInstance } = detection;
  const library = build.library === null ? '' : `, ${build.library}`;
  return [
    ['available', `${build.version}${library}`],
    ['where', managed ? `${location} (managed environment ${environment})` : location],
    ['device', device === 'unknown' ? 'told after loading a model' : device],
    ...(referenceBackend === null ? [] : [['unranked', referenceBackend] satisfies Row]),
    ...(runningInstance === true
      ? [['running', 'measured as it is; runoff neither starts nor stops it'] satisfies Row]
      : []),
  ];
}

function abilities({ tokenIds, engineTimings, cachedTokenCount, logprobs }: Capabilities): string {
  return [
    tokenIds ? 'takes token ids' : 'takes text only',
    engineTimings ? 'reports its own timings' : 'no timings of its own',
    cachedTokenCount ? 'counts cached tokens' : 'does not count cached tokens',
    logprobs ? 'log-probabilities' : 'no log-probabilities',
  ].join(', ');
}

const SETTING_WORDS: Readonly<Record<keyof EngineSettings, string>> = {
  threads: 'threads',
  contextTokens: 'context',
  batchTokens: 'batch',
  microBatchTokens: 'micro batch',
  kvType: 'KV type',
  flashAttention: 'flash attention',
  mmap: 'mmap',
  gpu: 'GPU',
};

function settingsText(taken: readonly (keyof EngineSettings)[]): string {
  const all = Object.keys(SETTING_WORDS) as (keyof EngineSettings)[];
  const words = all.filter((name) => taken.includes(name)).map((name) => SETTING_WORDS[name]);
  if (words.length === all.length) return `all: ${words.join(', ')}`;
  return words.length === 0 ? 'none: it decides itself' : `${words.join(', ')}; the others are its own choice`;
}

function howToGet({ id, detection, managed, environment, sharesWith }: EngineOverview): string {
  const shared = sharesWith.length === 0 ? '' : ` (the same environment serves ${sharesWith.join(', ')})`;
  if (detection.state === 'installable') return `runoff engines install ${id}${shared}`;
  if (detection.state === 'unavailable') return detection.nextStep;
  if (managed) return `it is there; runoff engines remove ${id} takes it away${shared}`;
  return environment === null ? 'it is there' : `it is there; --engine-path ${id}=PATH names another one`;
}

function factRows(engine: EngineShipping): Row[] {
  const { shipping } = engine;
  const declared: Row[] =
    shipping === null
      ? [['facts', 'its adapter declares none']]
      : factLines(shipping).flatMap(({ name, text, source, date }): Row[] => [
          [name, text],
          ['', `${source}, ${date}`],
        ]);
  return [...declared, ...measuredRows(engine)];
}

function measuredRows({ id, version, installed, coldStarts }: EngineShipping): Row[] {
  if (version === null) return [['measured', `nothing: it is not installed here (runoff engines ${id})`]];
  const size =
    installed === null ? 'not known: it runs elsewhere' : `${megabytes(installed.bytes)} MB: ${installed.what}`;
  const starts: Row[] =
    coldStarts.length === 0
      ? [['first token', `not measured: runoff engines --facts --measure ${id}`]]
      : coldStarts.map((entry) => ['first token', coldStartText(entry)]);
  return [['on disk', `${size} (measured here)`], ...starts];
}

function coldStartText(entry: ColdStart): string {
  const { startsMs, model, promptTokens, threads, device, date } = entry;
  const all = startsMs.map((ms) => duration(ms)).join(', ');
  return (
    `${duration(coldStartMs(entry))} after the start of the process: median of ${startsMs.length} fresh processes (${all}), ` +
    `${model.name}, prompt of ${promptTokens} tokens, ${threads} threads, ${device}, page cache warm (measured here, ${date})`
  );
}
