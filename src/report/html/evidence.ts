/** The lower half of the page: why the numbers can be believed, and under which conditions they were taken. */
import type { EngineFacts, GateEvent, ModelFacts } from '../../core/record.ts';
import { describeOpenMp } from '../../core/verdict/compute-threads.ts';
import { LATENCY_CAPTION, LATENCY_HEAD } from '../latency.ts';
import type { LatencyRow } from '../latency.ts';
import { bytes, count, excess, percent } from '../numbers.ts';
import type { ReportView } from '../view.ts';
import { gateQuestions, metricWords, type Tone } from '../words.ts';
import { details, html, list, type Markup, section, table } from './markup.ts';
import { badge } from './results.ts';

export function certificate(view: ReportView): Markup {
  const { models } = view.record.manifest;
  return section(
    'Equal work',
    html`<dl>${view.certificate.map(
      ({ name, state, tone, detail }) => html`<dt>${name} ${badge(state, tone)}</dt><dd>${detail}</dd>`,
    )}</dl>\n`,
    agreement(view),
    table({
      caption: 'Model files',
      head: ['Model', 'Format', 'Quantisation', 'Bits per weight', 'On disk', 'Made by', 'SHA-256'],
      wordColumns: [0, 1, 2, 5, 6],
      rows: models.map(modelRow),
    }),
    arithmetic(view),
  );
}

/** The difference between the two views is what binding, transport and streaming cost. */
export function latency(rows: readonly LatencyRow[]): Markup | null {
  if (rows.length === 0) return null;
  return section(
    'Latency, two views',
    table({
      caption: LATENCY_CAPTION,
      head: ['Engine', 'Prompt', ...LATENCY_HEAD, 'Requests'],
      wordColumns: [0, 1],
      rows: rows.map(({ engine, prompt, cells, requestCount }) => [engine, prompt, ...cells, requestCount]),
    }),
  );
}

function modelRow(model: ModelFacts): (Markup | string)[] {
  if (model.format === 'served')
    return [model.name, 'served', 'unknown', 'unknown', 'unknown', 'unknown', 'cannot be read from outside'];
  return [
    model.name,
    model.format,
    model.quantisation,
    model.bitsPerWeight === null ? 'unknown' : model.bitsPerWeight.toFixed(2),
    bytes(model.fileBytes),
    model.derivedBy ?? 'the original',
    model.sha256 === null ? 'not hashed' : html`<code>${model.sha256}</code>`,
  ];
}

function agreement(view: ReportView): Markup | null {
  const entries = view.record.certificate.agreement;
  if (entries.length === 0) return null;
  return table({
    caption: 'Do the engines write the same text? Shares over the first 32 tokens, always taking the likeliest token',
    head: ['Engines', 'Requests', 'Same up to the first difference', 'Same first token'],
    wordColumns: [0],
    rows: entries.map(({ a, b, requestCount, top1Share, firstTokenShare }) => [
      `${a} and ${b}`,
      requestCount,
      percent(top1Share),
      percent(firstTokenShare),
    ]),
  });
}

function arithmetic(view: ReportView): Markup | null {
  const entries = view.record.certificate.arithmetic;
  if (entries.length === 0) return null;
  return table({
    caption: 'Arithmetic: equal weights can still be computed with differently',
    head: ['Engine', 'Bits per weight', 'Numeric mode'],
    wordColumns: [0, 2],
    rows: entries.map(({ engine, bitsPerWeight, numericMode }) => [
      engine,
      bitsPerWeight === null ? 'unknown' : bitsPerWeight.toFixed(2),
      numericMode ?? 'unknown',
    ]),
  });
}

const gateTones: Readonly<Record<GateEvent['outcome'], Tone>> = { passed: 'good', failed: 'bad', unknown: 'caution' };
const gateOrder: readonly GateEvent['outcome'][] = ['failed', 'unknown', 'passed'];

export function gates(view: ReportView): Markup {
  const ordered = gateOrder.flatMap((outcome) => view.record.gates.filter((gate) => gate.outcome === outcome));
  return section(
    'Validity gates',
    html`<p>${view.gateCounts}. A failed gate voids every comparison with its engine; differing settings
only label it.</p>`,
    ordered.length === 0
      ? null
      : table({
          caption: 'Checked before anything was timed',
          head: ['Engine', 'Gate', 'Outcome', 'What was seen'],
          rows: ordered.map(({ engine, gate, outcome, detail, remedy }) => [
            engine,
            html`${gate}<br><span class="quiet">${gateQuestions[gate]}</span>`,
            badge(outcome === 'failed' ? 'FAILED' : outcome, gateTones[outcome]),
            html`${detail}${remedy === null ? null : html`<br><strong>Remedy:</strong> ${remedy}`}`,
          ]),
        }),
  );
}

export function settings(view: ReportView): Markup {
  const { manifest, engines } = view.record;
  const running = engines.filter(({ state }) => state === 'available');
  const names = Object.keys(manifest.settings) as (keyof typeof manifest.settings)[];
  return section(
    'Settings',
    table({
      caption: 'Asked of every engine, and what each reported after loading',
      head: ['Setting', 'Asked', ...running.map(({ id }) => id)],
      rows: names.map((name) => {
        const asked = String(manifest.settings[name]);
        return [settingLabel(name), asked, ...running.map((engine) => reported(engine, name, asked))];
      }),
    }),
  );
}

/** `microBatchTokens` as `micro batch tokens`. */
const settingLabel = (name: string): string => name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);

function reported(engine: EngineFacts, name: keyof NonNullable<EngineFacts['settings']>, asked: string): Markup {
  const value = engine.settings?.[name];
  if (value === undefined) return html`<span class="quiet">not reported</span>`;
  return String(value) === asked
    ? html`${String(value)}`
    : html`<strong>${String(value)}</strong> ${badge('differs', 'caution')}`;
}

export function environment(view: ReportView): Markup {
  const { manifest, engines } = view.record;
  const { machine } = manifest;
  const rows: [string, string][] = [
    ['processor', machine.cpu],
    ['cores', `${machine.physicalCores} physical, ${machine.logicalCores} logical`],
    ['memory', bytes(machine.memoryBytes)],
    ['system', `${machine.os}, kernel ${machine.kernel}`],
    ['virtual machine', machine.hypervisor ?? 'none seen'],
    ['frequency governor', machine.governor ?? 'unknown'],
    ['power', machine.power],
    ['Node.js', machine.node],
    ['runoff', manifest.runoffVersion],
    ['run', `${manifest.runId}, started ${manifest.startedAt}, seed ${manifest.plan.seed}`],
  ];
  return section(
    'Environment',
    table({ caption: 'Machine', head: ['What', 'Value'], rows }),
    engines.map(engineDetails),
  );
}

function engineDetails(engine: EngineFacts): Markup {
  const { build } = engine;
  const facts: [string, string | null | undefined][] = [
    ['state', engine.state === 'available' ? null : `unavailable: ${engine.reason ?? 'unknown reason'}`],
    ['version', build?.version],
    ['library', build?.library],
    ['OpenMP', describeOpenMp(engine)],
    ['instruction sets', build?.instructionSets],
    ['device', engine.device],
    ['numeric mode', engine.numericMode],
    ['location', engine.location],
    ['reference backend', engine.referenceBackend],
  ];
  const known = facts.filter(([, value]) => typeof value === 'string');
  return details(
    `${engine.title} (${engine.id})`,
    list(known.map(([name, value]) => html`${name}: ${value ?? null}`)),
    engine.command === null ? null : html`<pre><code>${engine.command.map(shellWord).join(' ')}</code></pre>`,
  );
}

const shellWord = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;

/** Of a process' requests. */
function whatCounts(iterations: number): string {
  if (iterations < 2) return '';
  if (iterations === 2) return ', of which the mean counts';
  return '; the mean of the faster two thirds counts, because what else happens on the machine only adds time (latencies are of all)';
}

export function method(view: ReportView): Markup {
  const { plan } = view.record.manifest;
  const margin = excess(plan.margin);
  return section(
    'Method',
    html`<dl>
<dt>Blocks</dt><dd>${view.blocks} A block starts a fresh process of every engine, one after the other, never two at once; warms it up
with requests that are thrown away; then measures ${count(plan.iterations, 'request')} per prompt${whatCounts(plan.iterations)}. The order is random in one block and
mirrored in the next. A block that other work on the machine disturbed is rejected whole and run again; nothing is dropped for its result.</dd>
<dt>Intervals</dt><dd>In the table: 95% t intervals for the geometric mean over blocks, each by itself. Between two engines: from the
difference within each block, widened so that all pairs and all planned looks hold together; their confidence is printed beside them.</dd>
<dt>Verdicts</dt><dd>FASTER: the difference is shown to be beyond the ${margin} margin. FASTER, SIZE UNRESOLVED: a difference is shown, but it may
be inside the margin. EQUIVALENT: the difference is shown to be inside the margin. INCONCLUSIVE: neither is shown. NOISY: too many blocks were
disturbed. VOID: a validity gate failed.</dd>
<dt>Margin</dt><dd>Engines whose times differ by less than ${margin} are treated as no different in practice.</dd>
<dt>Preliminary</dt><dd>Fewer than 6 blocks: take it as a hint.</dd>
</dl>\n`,
  );
}

export function definitions(): Markup {
  return section(
    'What the numbers mean',
    html`<dl>${Object.values(metricWords).map(
      ({ name, better, definition }) =>
        html`<dt>${name} <span class="quiet">(${better})</span></dt><dd>${definition}</dd>`,
    )}</dl>\n`,
  );
}
