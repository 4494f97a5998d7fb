/**
 * Writes what is derived from the code: the JSON schemas in schema/, docs/CLI.md and the canary's binary. Run it after a
 * change of a schema, a command, an exit code or the canary; test/docs.test.ts fails while the committed files are stale.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Argument, Command, Option } from 'commander';
import wabt from 'wabt';
import { z } from 'zod';
import { planFileSchema } from '../src/app/plan.ts';
import { buildProgram } from '../src/cli/program.ts';
import { eventSchema, manifestSchema, recordSchema, SCHEMA_VERSION } from '../src/core/record.ts';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const compiler = await wabt();

/** Text by path from the repository's root. The same code gives the same bytes. */
export function generatedFiles(): ReadonlyMap<string, string> {
  return new Map([
    ['schema/plan.schema.json', planJsonSchema()],
    ['schema/manifest.schema.json', jsonSchema(manifestSchema, `manifest.json of a run, version ${SCHEMA_VERSION}`)],
    ['schema/event.schema.json', jsonSchema(eventSchema, `One line of samples.jsonl, version ${SCHEMA_VERSION}`)],
    ['schema/record.schema.json', jsonSchema(recordSchema, `record.json of a run, version ${SCHEMA_VERSION}`)],
    ['docs/CLI.md', commandLineReference()],
    ['src/platform/canary/canary-wasm.ts', canaryModule()],
  ]);
}

/** The canary is read as text, reviewed as text, and shipped as the bytes that this makes of it. */
function canaryModule(): string {
  const features = { simd: true, threads: true, bulk_memory: true };
  const source = readFileSync(join(ROOT, 'src', 'platform', 'canary', 'canary.wat'), 'utf8');
  const module = compiler.parseWat('canary.wat', source, features);
  const { buffer } = module.toBinary({});
  module.destroy();
  const lines =
    Buffer.from(buffer)
      .toString('base64')
      .match(/.{1,100}/g) ?? [];
  return [
    '/** Made by `npm run generate` from canary.wat. Do not edit. */',
    `export const CANARY_WASM =\n  ${lines.map((line) => `'${line}'`).join(' +\n  ')};`,
    '',
  ].join('\n');
}

function jsonSchema(schema: z.ZodType, title: string, extraProperties: object = {}): string {
  const { $schema, ...rest } = z.toJSONSchema(schema);
  const properties = rest.properties === undefined ? {} : { properties: { ...extraProperties, ...rest.properties } };
  return `${JSON.stringify({ $schema, title, ...rest, ...properties }, null, 2)}\n`;
}

/** A plan file may name its schema, for editors; everything else unknown is refused. */
function planJsonSchema(): string {
  return jsonSchema(planFileSchema, 'Plan file of runoff (runoff.config.json)', { $schema: { type: 'string' } });
}

function commandLineReference(): string {
  const program = buildProgram();
  const commands = program.commands.flatMap((command) => describeCommand(program.name(), command));
  const lines = [
    '# Command line',
    '',
    '<!-- Made by `npm run generate` from src/cli. Do not edit. -->',
    '',
    'In a clone, `npm start` is `runoff run --yes`, and `npm start -- COMMAND OPTIONS` is `runoff COMMAND OPTIONS`.',
    '',
    ...commands,
    '## Exit codes',
    '',
    ...table(['Code', 'Meaning'], exitCodes()),
    '',
    '## Environment variables',
    '',
    ...table(['Variable', 'Meaning'], ENVIRONMENT_VARIABLES),
    '',
  ];
  return lines.join('\n');
}

const ENVIRONMENT_VARIABLES = [
  ['`RUNOFF_CACHE`', "Folder for models, managed environments and proofs, instead of the system's cache folder."],
  ['`RUNOFF_DEBUG`', 'Set to anything: errors are printed with their stack and context.'],
  ['`NO_COLOR`', 'Set to anything: no colours on a terminal.'],
];

/** A command, and below it its own commands as `runoff engines install`. */
function describeCommand(programName: string, command: Command): string[] {
  const usage = `${programName} ${command.name()} ${command.usage()}`;
  const args = command.registeredArguments.map((argument) => [code(argument.name()), describe(argument)]);
  const options = command.options.map((option) => [code(option.flags), describe(option)]);
  return [
    `## ${programName} ${command.name()}`,
    '',
    `${upperFirst(command.description())}.`,
    '',
    '```',
    usage.trim(),
    '```',
    '',
    ...(args.length === 0 ? [] : [...table(['Argument', 'Meaning'], args), '']),
    ...(options.length === 0 ? [] : [...table(['Option', 'Meaning'], options), '']),
    ...command.commands.flatMap((below) => describeCommand(`${programName} ${command.name()}`, below)),
  ];
}

function describe(item: Argument | Option): string {
  const { description, argChoices, defaultValue } = item as Argument & Option;
  const choices = argChoices === undefined ? [] : [`one of ${argChoices.map(code).join(', ')}`];
  // `--no-install` has the default true of `install`, which says nothing.
  const preset = typeof defaultValue === 'string' ? [`default ${code(defaultValue)}`] : [];
  return [description, ...choices, ...preset].join('; ');
}

/** From the source, so that the comment beside a code is its documentation. */
function exitCodes(): string[][] {
  const source = readFileSync(join(ROOT, 'src', 'cli', 'exit-codes.ts'), 'utf8');
  const entries = [...source.matchAll(/\/\*\* ([^*]+) \*\/\s+(\w+): (\d+),/g)];
  return entries.map(([, meaning, name, number]) => [code(number ?? ''), `${meaning ?? ''} (\`${name ?? ''}\`)`]);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)];
}

function code(text: string): string {
  return `\`${text}\``;
}

function upperFirst(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

if (import.meta.main) {
  for (const [path, text] of generatedFiles()) {
    const target = join(ROOT, path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, text);
    console.log(path);
  }
}
