/** mlx_lm.benchmark, a fresh process each time, and runoff's mlx-lm engine. */
import { median } from 'simple-statistics';
import { realMachinery } from '../../src/app/machinery.ts';
import type { PreparedEngine } from '../../src/app/machinery.ts';
import type { PreparedRun } from '../../src/app/prepare.ts';
import type { Generation } from '../../src/core/engine.ts';
import { AppError } from '../../src/core/errors.ts';
import { lastLines } from '../../src/platform/process/byte-tail.ts';
import { minimumEnvironment } from '../../src/platform/process/environment.ts';
import { runCommand } from '../../src/platform/process/run-command.ts';
import { readMlxBenchmark, typical } from './readings.ts';
import type { PeerReading } from './readings.ts';
import { askFor, clientReading, LOAD_TIMEOUT_MS, warmUp } from './requests.ts';
import type { Shape } from './requests.ts';

const PROGRAM_TIMEOUT_MS = 1_800_000;

/** runoff's mlx-lm engine. */
export async function askMlx(
  prepared: PreparedEngine,
  run: PreparedRun,
  shape: Shape,
  round: number,
): Promise<PeerReading> {
  return typical((await generations(prepared, run, shape, round)).map(clientReading), median);
}

export async function askMlxBenchmark(
  { found, modelPath }: PreparedEngine,
  run: PreparedRun,
  shape: Shape,
  signal: AbortSignal,
): Promise<PeerReading> {
  const { promptTokens, generateTokens, repetitions: trials } = shape;
  const args = [
    '-I',
    '-m',
    'mlx_lm.benchmark',
    '--model',
    modelPath,
    '-p',
    String(promptTokens),
    '-g',
    String(generateTokens),
    '-n',
    String(trials),
    '--prefill-step-size',
    String(run.manifest.settings.batchTokens),
  ];
  const env = { MLX_ENABLE_TF32: '0', HF_HUB_OFFLINE: '1', TRANSFORMERS_OFFLINE: '1', TOKENIZERS_PARALLELISM: 'false' };
  const stdout = await output(found.location, args, env, signal);
  return typical(readMlxBenchmark(stdout, { promptTokens, generateTokens, trials }), median);
}

async function generations(
  prepared: PreparedEngine,
  run: PreparedRun,
  shape: Shape,
  round: number,
): Promise<Generation[]> {
  const running = await realMachinery.start(prepared, run.manifest.settings, LOAD_TIMEOUT_MS);
  try {
    const answers: Generation[] = [];
    await warmUp(running, run, shape, round);
    for (let iteration = 0; iteration < shape.repetitions; iteration++)
      answers.push(await running.session.generate(askFor(run, shape, round, iteration)));
    return answers;
  } finally {
    await running.stop();
  }
}

/** A peer's own program, in the environment that engines get: its settings cannot come from a variable of the user's. */
async function output(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<string> {
  const { code, stdout, stderr, timedOut } = await runCommand(command, args, {
    timeoutMs: PROGRAM_TIMEOUT_MS,
    env: { ...minimumEnvironment(process.platform, process.env), ...env },
    signal,
  });
  if (code === 0) return stdout;
  const end = timedOut ? 'did not end in time' : `ended with ${code}`;
  throw new AppError('engine-launch-failed', `${command} ${args.join(' ')} ${end}:\n${lastLines(stderr, 8)}`);
}
