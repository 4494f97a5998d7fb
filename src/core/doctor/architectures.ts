/**
 * Since which build llama.cpp knows an architecture (`general.architecture`): older ones end with "unknown model
 * architecture". A build number is the number of commits up to the one that brought it, as llama.cpp counts it; each
 * row names that pull request, https://github.com/ggml-org/llama.cpp/pull/NUMBER. Counted in the history of master on
 * 2026-11-25; the release tags agree where a thread names one (b6384 for gemma-embedding).
 *
 * Text models only. A row says when the name became known; some models needed fixes afterwards.
 */
const ROWS: readonly (readonly [architecture: string, build: number, pull: number])[] = [
  ['llama', 1041, 2717],
  ['falcon', 1041, 2717],
  ['gpt2', 1041, 2717],
  ['gptneox', 1041, 2717],
  ['mpt', 1041, 2717],
  ['baichuan', 1223, 3009],
  ['starcoder', 1244, 3187],
  ['refact', 1320, 3329],
  ['bloom', 1361, 3553],
  ['stablelm', 1515, 3586],
  ['qwen', 1596, 4281],
  ['phi2', 1658, 4490],
  ['plamo', 1698, 3557],
  ['codeshell', 1920, 5016],
  ['qwen2', 1923, 5037],
  ['orion', 1990, 5118],
  ['internlm2', 2038, 5184],
  ['minicpm', 2087, 5346],
  ['gemma', 2223, 5631],
  ['starcoder2', 2308, 5795],
  ['mamba', 2366, 5328],
  ['command-r', 2440, 6033],
  ['grok', 2512, 6204],
  ['xverse', 2576, 6301],
  ['dbrx', 2665, 6515],
  ['qwen2moe', 2683, 6074],
  ['olmo', 2697, 6741],
  ['phi3', 2717, 6852],
  ['arctic', 2988, 7020],
  ['deepseek2', 3023, 7519],
  ['bitnet', 3208, 7931],
  ['gemma2', 3259, 8156],
  ['jais', 3282, 8118],
  ['openelm', 3305, 7359],
  ['chatglm', 3333, 8031],
  ['nemotron', 3592, 8922],
  ['exaone', 3594, 9025],
  ['rwkv6', 3651, 8980],
  ['minicpm3', 3765, 9322],
  ['olmoe', 3766, 9462],
  ['granite', 3774, 9412],
  ['granitemoe', 3823, 9438],
  ['olmo2', 4168, 10500],
  ['qwen2vl', 4327, 10361],
  ['deepseek', 4333, 10827],
  ['deci', 4380, 10669],
  ['cohere2', 4415, 10900],
  ['phimoe', 4453, 11003],
  ['gemma3', 4875, 12343],
  ['rwkv7', 4907, 12412],
  ['plm', 4977, 12457],
  ['bailingmoe', 5002, 12634],
  ['llama4', 5074, 12791],
  ['qwen3', 5092, 12828],
  ['qwen3moe', 5092, 12828],
  ['glm4', 5115, 12867],
  ['dots1', 5668, 14118],
  ['arcee', 5674, 14185],
  ['gemma3n', 5763, 14400],
  ['ernie4_5', 5771, 14408],
  ['mamba2', 5812, 9126],
  ['hunyuan-moe', 5843, 14425],
  ['smollm3', 5847, 14581],
  ['falcon-h1', 5851, 14534],
  ['jamba', 5856, 7531],
  ['granitehybrid', 5868, 13550],
  ['lfm2', 5873, 14620],
  ['plamo2', 5899, 14560],
  ['ernie4_5-moe', 5924, 14658],
  ['exaone4', 5931, 14630],
  ['smallthinker', 6012, 14898],
  ['hunyuan-dense', 6058, 14878],
  ['glm4moe', 6085, 14939],
  ['gpt-oss', 6096, 15091],
  ['seed_oss', 6257, 15490],
  ['nemotron_h', 6315, 15507],
  ['grovemoe', 6586, 15510],
  ['apertus', 6671, 15852],
  ['lfm2moe', 6709, 16464],
  ['bailingmoe2', 6810, 16063],
  ['qwen3vl', 6887, 16780],
  ['qwen3vlmoe', 6887, 16780],
  ['minimax-m2', 6906, 16831],
  ['pangu-embedded', 6955, 16941],
  ['afmoe', 7061, 16477],
  ['qwen3next', 7186, 16095],
  ['mistral3', 7216, 17644],
  ['nemotron_h_moe', 7418, 18058],
  ['mimo2', 7534, 18328],
  ['plamo3', 7563, 17304],
  ['maincoder', 7614, 18534],
  ['exaone-moe', 7727, 18543],
  ['kimi-linear', 7957, 18755],
  ['step35', 7964, 19283],
  ['qwen35', 7990, 19468],
  ['qwen35moe', 7990, 19468],
  ['glm-dsa', 8036, 19460],
  ['jais2', 8106, 19488],
  ['mistral4', 8388, 20649],
  ['gemma4', 8637, 21309],
];

const BY_NAME = new Map(
  ROWS.map(([architecture, build, pull]) => [architecture, { build, source: `llama.cpp pull request ${pull}` }]),
);

/** @returns null for an architecture that is not in the table: newer than it, or of a fork */
export function architectureSince(architecture: string): { readonly build: number; readonly source: string } | null {
  return BY_NAME.get(architecture) ?? null;
}

/** Version numbers replaced build numbers then: https://github.com/ggml-org/llama.cpp/pull/26839 (2026-11-25). */
const FIRST_VERSIONED_BUILD = 10_335;

/**
 * Pure: the build of a llama.cpp from what it says of itself: `b6384`, `version: 6384 (fb15d64)`, or `v0.4.0`, which is
 * at least the build that version numbers came with. Null: not told.
 */
export function parseLlamaBuild(text: string): number | null {
  const build = /\bb(\d{3,6})\b/.exec(text)?.[1] ?? /\b(\d{3,6}) \([0-9a-f]{6,}\)/.exec(text)?.[1];
  if (build !== undefined) return Number(build);
  return /(^|\s)v?\d+\.\d+\.\d+(\s|$)/.test(text) ? FIRST_VERSIONED_BUILD : null;
}
