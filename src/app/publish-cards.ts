/** Pure: the cards of what is published: a model's with how it was made, a dataset's with what its records are. */
import type { PublishedModel } from './publish-model.ts';

export interface ModelCard extends PublishedModel {
  readonly repo: string;
  readonly runoffVersion: string;
  /** Markdown of the run's report; null without a run. */
  readonly speed: string | null;
}

const KINDS = { gguf: 'A GGUF file', mlx: 'A model for MLX', safetensors: 'A safetensors checkpoint' } as const;

export function modelCard(card: ModelCard): string {
  const { name, format, licence, source } = card;
  const base = /^hf:([^@:]+)/.exec(source ?? '')?.[1] ?? null;
  const known = licence.isHubName;
  const lines = [
    ...frontMatter([
      ['license', known ? licence.id : 'other'],
      ...(known ? [] : ([['license_name', licence.id]] as const)),
      ...(base === null
        ? []
        : ([
            ['base_model', base],
            ['base_model_relation', 'quantized'],
          ] as const)),
      ['library_name', format === 'safetensors' ? 'transformers' : format],
      ['pipeline_tag', 'text-generation'],
      ['tags', ['runoff', format]],
    ]),
    `# ${plain(name)}`,
    '',
    `${KINDS[format]}, put here with runoff ${card.runoffVersion}. It is not the original: who trained it and under which terms is said at its source, what was done to it since below.`,
    '',
    '## How it was made',
    '',
    ...table(madeRows(card)),
    '',
    '## Files',
    '',
    '| File | Bytes | sha256 |',
    '| --- | ---: | --- |',
    ...card.files.map(({ path, sizeBytes, sha256 }) => `| ${cell(path)} | ${sizeBytes} | ${sha256 ?? ''} |`),
    '',
    '## Licence',
    '',
    `${plain(licence.id)}, ${licence.said}.${licence.conditions.length === 0 ? '' : ' What it asks of whoever passes the model on:'}`,
    '',
    ...licence.conditions.map((condition) => `- ${condition}`),
    ...(card.speed === null ? [] : ['', '## Measured speed', '', demoted(card.speed)]),
  ];
  return `${lines.join('\n').trimEnd()}\n`;
}

function madeRows({
  source,
  command,
  derivedBy,
  quantisation,
  architecture,
  parameterCount,
  bitsPerWeight,
  fingerprint,
}: ModelCard): [string, string][] {
  return [
    ['Source', source ?? 'not recorded'],
    ['Steps', derivedBy ?? 'not recorded'],
    ...(command === null ? [] : ([['Command', command]] as [string, string][])),
    ['Architecture', architecture],
    ...(parameterCount === null ? [] : ([['Parameters', String(parameterCount)]] as [string, string][])),
    ['Quantisation', quantisation],
    ...(bitsPerWeight === null
      ? []
      : ([['Bits per weight, all tensors', bitsPerWeight.toFixed(2)]] as [string, string][])),
    ['Weight fingerprint', fingerprint ?? 'none: these tensor types cannot be read value by value'],
  ];
}

/** Of the whole dataset: says nothing of a single run, so that it stays right when runs are added. */
export function datasetCard(licence: string | null): string {
  const lines = [
    ...frontMatter([
      ...(licence === null ? [] : ([['license', licence]] as const)),
      ['tags', ['runoff', 'benchmark', 'llm-inference']],
    ]),
    '# Speed measurements of local LLM engines',
    '',
    'Each folder in `runs/` is one measurement made with runoff: engines on one machine, with the same weights, tokens and',
    'settings, in randomised blocks.',
    '',
    '| File | Content |',
    '| --- | --- |',
    '| `README.md` | the report |',
    '| `record.json` | verdict, intervals, checks: everything derived |',
    '| `manifest.json` | plan, settings, machine, models with hashes, engines with builds and commands |',
    '| `samples.jsonl` | every request, warm-ups and rejected blocks included, with the first 32 generated token ids |',
    '| `report.csv`, `report.html` | the same for other programs and for a browser |',
    '',
    'Folders, user names, host names and addresses of servers were taken out before publication. `runoff report FOLDER`',
    'derives each verdict again from the samples.',
  ];
  return `${lines.join('\n')}\n`;
}

type Field = readonly [name: string, value: string | readonly string[]];

function frontMatter(fields: readonly Field[]): string[] {
  const rows = fields.flatMap(([name, value]) =>
    typeof value === 'string' ? [`${name}: ${yaml(value)}`] : [`${name}:`, ...value.map((item) => `  - ${yaml(item)}`)],
  );
  return ['---', ...rows, '---', ''];
}

/** Plain where YAML takes it for a text, else as JSON, which YAML reads. */
function yaml(text: string): string {
  return /^[A-Za-z][\w./-]*$/.test(text) && !/^(true|false|yes|no|on|off|null|y|n)$/i.test(text)
    ? text
    : JSON.stringify(text);
}

function table(rows: readonly (readonly [string, string])[]): string[] {
  return ['| | |', '| --- | --- |', ...rows.map(([name, text]) => `| ${name} | ${cell(text)} |`)];
}

/** Texts come from files' metadata: no markup of theirs is followed. */
function plain(text: string): string {
  return text.replaceAll(/\s+/g, ' ').replaceAll(/[\\`*_{}[\]<>|#~$&]/g, String.raw`\$&`);
}

function cell(text: string): string {
  return `\`${text.replaceAll(/\s+/g, ' ').replaceAll('`', "'").replaceAll('|', '¦')}\``;
}

function demoted(markdown: string): string {
  return markdown.replaceAll(/^(#{1,5}) /gm, '#$1 ').trimEnd();
}
