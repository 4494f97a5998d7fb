/** The tables of the bench, as lines. Pure. */
import { median } from 'simple-statistics';
import type { PeerReading } from './readings.ts';
import type { Shape } from './requests.ts';
import { judge, PARTS, ratioOf, roundsToTell, splitShares } from './shares.ts';
import type { Estimate, Part } from './shares.ts';
import type { LlamaRound } from './turns.ts';

export interface MlxRound {
  readonly benchmark: PeerReading;
  readonly runoff: PeerReading;
}

const RATIO_LIMITS = { low: 0.98, high: 1.02 };
const REST_LIMITS = { low: -0.02, high: 0.02 };
const NAME_WIDTH = 44;
const VALUE_WIDTH = 10;

/** Prefill and decode beside llama-bench, and where a token's time goes. */
export function llamaTable(rounds: readonly LlamaRound[], { promptTokens, generateTokens }: Shape): string[] {
  const prefill = rows(rounds, 'prefillMs', `llama-bench pp${promptTokens}`);
  const decode = rows(rounds, 'decodeMs', `llama-bench tg${generateTokens} @ d${promptTokens}`);
  return [
    head(`prefill of ${promptTokens} tokens`, 'ms', 'llama-bench'),
    ...prefill.lines,
    '',
    head(`decode after ${promptTokens} tokens`, 'ms/token', 'llama-bench'),
    ...decode.lines,
    ...computeRows(rounds),
    '',
    ...splitTable(rounds),
    '',
    ...Object.entries(prefill.through).map(
      ([name, ratio]) => `prefill ${name}: within 0.98-1.02: ${judgement(ratio, RATIO_LIMITS, rounds.length)}`,
    ),
  ];
}

/** What the engines spend in the calls that llama-bench times, too. */
function computeRows(rounds: readonly LlamaRound[]): string[] {
  const bench = rounds.map((round) => round.bench.decodeMs);
  const names = {
    library: 'only the calls that compute, libllama',
    server: 'only the calls that compute, llama-server',
    alike: '  with outputs as llama-bench has',
  } as const;
  return (['library', 'server', 'alike'] as const).map((engine) => {
    const computeMs = rounds.map((round) => round[engine].computeMs);
    return row(names[engine], computeMs, bench);
  });
}

/** Where the time of a token goes, engine by engine, in shares of what runoff measured. */
function splitTable(rounds: readonly LlamaRound[]): string[] {
  const library = splitShares(rounds.map(({ library: { token } }) => token));
  const server = splitShares(rounds.map(({ server: { token } }) => token));
  const names: Record<Part, string> = {
    engine: 'engine (calls that compute the model)',
    sampling: 'sampling',
    loop: 'own loop (between these calls)',
    transport: 'transport (HTTP)',
    rest: 'rest, not explained',
  };
  const line = (what: string, left: string, right: string): string =>
    `${what.padEnd(NAME_WIDTH)}${left.padEnd(26)}${right}`;
  return [
    line('of the time of a token, 95%', 'libllama', 'llama-server'),
    ...PARTS.map((part) => line(names[part], shareText(library[part]), shareText(server[part]))),
    ...Object.entries({ libllama: library.rest, 'llama-server': server.rest }).map(([name, rest]) =>
      rest === null ? '' : `rest within 2%, ${name}: ${judgement(rest, REST_LIMITS, rounds.length)}`,
    ),
  ];
}

function judgement(value: Estimate, limits: typeof RATIO_LIMITS, rounds: number): string {
  const judged = judge(value, limits);
  const needed = judged === 'open' ? roundsToTell(value, limits, rounds) : null;
  return needed === null ? judged : `open; where times spread as here, ${needed} rounds would tell`;
}

function rows(
  rounds: readonly LlamaRound[],
  metric: keyof PeerReading,
  peer: string,
): { lines: string[]; through: Record<string, Estimate> } {
  const of = (read: (round: LlamaRound) => PeerReading): number[] => rounds.map((round) => read(round)[metric]);
  const bench = of((round) => round.bench);
  const library = of(({ library: { through } }) => through);
  const loop = of(({ library: { loop: bare } }) => bare);
  const server = of(({ server: { through } }) => through);
  const own = of(({ server: { own: told } }) => told);
  const alike = of(({ alike: { through } }) => through);

  return {
    lines: [
      row(peer, bench, null),
      row('  its loop in the process that runoff drives', loop, bench),
      row('runoff, libllama', library, bench),
      beside('  against its loop in the same process', library, loop),
      row('runoff, llama-server', server, bench),
      beside('  against its loop beside it', server, loop),
      row('  by its own clock', own, bench),
      row('  with outputs as llama-bench has', alike, bench),
      beside('  what its own number of them costs', server, alike),
    ],
    through: {
      'through libllama, of its loop in the same process': ratioOf(library, loop),
      'through libllama, of llama-bench itself': ratioOf(library, bench),
      'through llama-server with its outputs, of llama-bench itself': ratioOf(alike, bench),
      'through llama-server as it is, of llama-bench itself': ratioOf(server, bench),
    },
  };
}

function beside(name: string, through: readonly number[], other: readonly number[]): string {
  return `${name.padEnd(NAME_WIDTH + VALUE_WIDTH)}   ${ratioText(ratioOf(through, other))}`;
}

/** runoff's mlx-lm engine beside mlx_lm.benchmark. */
export function mlxTable(rounds: readonly MlxRound[], { promptTokens, generateTokens }: Shape): string[] {
  const lines = (metric: keyof PeerReading): string[] => {
    const benchmark = rounds.map(({ benchmark: reading }) => reading[metric]);
    return [
      row('mlx_lm.benchmark', benchmark, null),
      row(
        'runoff, mlx-lm',
        rounds.map(({ runoff }) => runoff[metric]),
        benchmark,
      ),
    ];
  };
  return [
    head(`prefill of ${promptTokens} tokens`, 'ms', 'mlx_lm.benchmark'),
    ...lines('prefillMs'),
    head(`decode, ${generateTokens} tokens`, 'ms/token', 'mlx_lm.benchmark'),
    ...lines('decodeMs'),
  ];
}

function head(what: string, unit: string, peer: string): string {
  return `${what.padEnd(NAME_WIDTH)}${unit.padStart(VALUE_WIDTH)}   against ${peer} (95%)`;
}

function row(name: string, values: readonly number[], peer: readonly number[] | null): string {
  const value = median([...values]);
  const text = value >= 100 ? value.toFixed(0) : value.toFixed(2);
  const ratio = peer === null ? '' : `   ${ratioText(ratioOf(values, peer))}`;
  return `${name.padEnd(NAME_WIDTH)}${text.padStart(VALUE_WIDTH)}${ratio}`;
}

/** @returns e.g. `1.004 (0.991-1.017)` */
export function ratioText({ estimate, low, high }: Estimate): string {
  return low === null || high === null
    ? estimate.toFixed(3)
    : `${estimate.toFixed(3)} (${low.toFixed(3)}-${high.toFixed(3)})`;
}

function shareText(share: Estimate | null): string {
  if (share === null) return '-';
  const percent = (value: number): string => (100 * value).toFixed(1);
  const { estimate, low, high } = share;
  return low === null || high === null
    ? `${percent(estimate)}%`
    : `${percent(estimate)}% (${percent(low)} to ${percent(high)})`;
}
