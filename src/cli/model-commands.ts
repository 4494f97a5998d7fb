/** The subcommands of `runoff models` that compare and convert weights. */
import { Option, type Command } from 'commander';
import { fraction, integer, oneOf } from './option-values.ts';

export function addVerify(models: Command): void {
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

export function addConvert(models: Command): void {
  models
    .command('convert')
    .description(
      'a Hugging Face folder (safetensors) or a .gguf file into another format; needs little memory whatever the size',
    )
    .argument('<source>', 'Hugging Face folder with config.json, tokenizer and safetensors, or path of a .gguf file')
    .addOption(new Option('-t, --to <format>', 'format to write').choices(['mlx']).makeOptionMandatory())
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
    )
    .option('-o, --out <path>', 'folder to write (default: name of the source with the format, in this folder)')
    .option('--overwrite', 'replace the output when it exists and is a model')
    .option('--threads <n>', 'threads that convert (default: all processors)', integer(1, 64))
    .action(async (source: string, options: Record<string, unknown>) =>
      (await import('./commands/convert.ts')).convertCommand(source, options),
    );
}
