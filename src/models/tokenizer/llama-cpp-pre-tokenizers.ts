/**
 * llama.cpp's pre-tokenizers: the name in `tokenizer.ggml.pre`, the regexes it stands for and the flags that come with it.
 *
 * Facts from llama.cpp b11434, src/llama-vocab.cpp (llm_tokenizer_bpe and the reading of tokenizer_pre): 92 names, 31 sets of
 * regexes. Where llama.cpp runs an adapted form (tekken, gpt-4o, kimi-k2), the regex of the original tokenizer.json stands
 * here, as its comments give it; whether the adapted form does the same is what the proof finds out.
 */

export interface PreTokenizerFamily {
  /** All names that mean exactly the same; the first one is the usual one. */
  readonly names: readonly string[];
  /** A word that is a token as a whole is taken without looking at the merges. */
  readonly ignoreMerges?: true;
  /** BOS is added unless the header says otherwise. */
  readonly addsBos?: true;
  /** Decoding leaves spaces before punctuation alone (clean_up_tokenization_spaces = false). */
  readonly keepsSpaces?: true;
}

export interface PreTokenizerRules {
  /** Each is applied to what the previous one left, matches and gaps both kept. */
  readonly patterns: readonly string[];
  /** Spaces become ▁ before anything else. */
  readonly escapesSpaces?: true;
  /** false: tokens are text, not the byte-level alphabet. */
  readonly byteLevel?: false;
  readonly families: readonly PreTokenizerFamily[];
}

const BACKTICK = '`';
const CONTRACTIONS = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
/** ByteLevel's own regex. The usual last alternative, `\s+`, is left out: what nothing matches is a piece anyway. */
export const GPT2 = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)`;
const NOT_WORD = String.raw`[^\r\n\p{L}\p{N}]?`;
const UPPER = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`;
const LOWER = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`;
const REST = String.raw` ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
const UPPER_NOT_HAN = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]`;
const LOWER_NOT_HAN = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]`;
const KIMI = String.raw`[\p{Han}]+|${NOT_WORD}${UPPER_NOT_HAN}*${LOWER_NOT_HAN}+${CONTRACTIONS}?|${NOT_WORD}${UPPER_NOT_HAN}+${LOWER_NOT_HAN}*${CONTRACTIONS}?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;

export const PRE_TOKENIZER_RULES: readonly PreTokenizerRules[] = [
  {
    patterns: [String.raw`[\p{P}\$\+<=>\^~\|]+`, GPT2, String.raw`\p{N}+`, String.raw`[0-9][0-9][0-9]`],
    families: [{ names: ['default'] }],
  },
  {
    patterns: [
      String.raw`\p{N}{1,3}`,
      String.raw`${CONTRACTIONS}|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
    ],
    families: [{ names: ['minicpm5'], ignoreMerges: true }],
  },
  {
    patterns: [
      String.raw`${CONTRACTIONS}|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
    ],
    families: [
      {
        names: [
          'llama-bpe',
          'llama3',
          'llama-v3',
          'falcon3',
          'falcon-h1',
          'pixtral',
          'midm-2.0',
          'lfm2',
          'jina-v5-nano',
        ],
        ignoreMerges: true,
        addsBos: true,
      },
      { names: ['dbrx'] },
      { names: ['smaug-bpe'] },
      { names: ['chatglm-bpe'] },
      { names: ['glm4', 'glm5'], ignoreMerges: true },
    ],
  },
  {
    patterns: [
      String.raw`[\r\n]`,
      String.raw`\s?[A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\u{10400}-\u{1044f}\u{104b0}-\u{104d3}\u{104d8}-\u{104fb}\u{10c80}-\u{10cb2}\u{10cc0}-\u{10cf2}\u{118a0}-\u{118df}\u{1e900}-\u{1e943}]+`,
      String.raw`\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+`,
      String.raw`\s+$`,
      String.raw`[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+`,
      String.raw`\p{N}+`,
    ],
    families: [{ names: ['deepseek-llm'], keepsSpaces: true }],
  },
  {
    patterns: [
      String.raw`[\r\n]`,
      String.raw`\s?\p{L}+`,
      String.raw`\s?\p{P}+`,
      String.raw`[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+`,
      String.raw`\p{N}`,
    ],
    families: [{ names: ['deepseek-coder'], keepsSpaces: true }],
  },
  {
    patterns: [
      String.raw`\p{N}{1,3}`,
      String.raw`[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+`,
      String.raw`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_${BACKTICK}{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
    ],
    families: [
      { names: ['deepseek-v3'], keepsSpaces: true },
      { names: ['hunyuan-dense'], keepsSpaces: true },
      { names: ['hy_v4'], keepsSpaces: true },
      { names: ['joyai-llm'], keepsSpaces: true },
    ],
  },
  {
    patterns: [
      String.raw`\p{N}{1,3}`,
      String.raw`[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+`,
      String.raw`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_${BACKTICK}{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+`,
      String.raw`\p{N}`,
    ],
    families: [{ names: ['spark2_5'], keepsSpaces: true }],
  },
  {
    patterns: [
      String.raw`[\uac00-\ud7a3\u3131-\u318e]+|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f]+|[\u3105-\u312f]+|[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+`,
      String.raw`${NOT_WORD}${UPPER}*${LOWER}+${CONTRACTIONS}?|${NOT_WORD}${UPPER}+${LOWER}*${CONTRACTIONS}?|\p{N}|${REST}`,
    ],
    families: [{ names: ['youtu'], ignoreMerges: true, keepsSpaces: true }],
  },
  {
    patterns: [String.raw`[\p{P}\$\+<=>\^~\|${BACKTICK}]+`, GPT2, String.raw`[0-9][0-9][0-9]`],
    families: [{ names: ['falcon'] }],
  },
  {
    patterns: [GPT2],
    families: [
      {
        names: [
          'gpt-2',
          'phi-2',
          'jina-es',
          'jina-de',
          'gigachat',
          'jina-v2-es',
          'jina-v2-de',
          'a.x-4.0',
          'mellum',
          'modern-bert',
        ],
      },
      { names: ['mpt'] },
      { names: ['jina-v1-en', 'jina-v2-code', 'roberta-bpe'] },
      { names: ['olmo'] },
      { names: ['jais'] },
      { names: ['exaone4'] },
      { names: ['trillion'], keepsSpaces: true },
      { names: ['granite-docling'], keepsSpaces: true },
    ],
  },
  {
    patterns: [String.raw`\p{N}`, GPT2],
    families: [
      { names: ['smollm'], keepsSpaces: true },
      { names: ['starcoder'] },
      { names: ['refact'] },
      { names: ['command-r'], keepsSpaces: true },
      { names: ['codeshell'] },
      { names: ['exaone'] },
      { names: ['minerva-7b'] },
      { names: ['mellum2'] },
    ],
  },
  {
    patterns: [
      String.raw`${CONTRACTIONS}|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}`,
    ],
    families: [{ names: ['jais-2'] }],
  },
  {
    patterns: [String.raw`[^\n]+|[\n]+`],
    escapesSpaces: true,
    byteLevel: false,
    families: [
      { names: ['gemma4', 'granite-embed-multi-311m'] },
      { names: ['mmbert'] },
      { names: ['sarvam-moe'], keepsSpaces: true },
    ],
  },
  {
    patterns: [String.raw`\S+`],
    byteLevel: false,
    families: [{ names: ['whitespace'] }],
  },
  {
    patterns: [
      String.raw`${CONTRACTIONS}|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
    ],
    families: [
      { names: ['qwen2', 'deepseek-r1-qwen', 'kormo', 'f2llmv2'], keepsSpaces: true },
      { names: ['stablelm2'] },
      { names: ['megrez'] },
      { names: ['hunyuan'], keepsSpaces: true },
      { names: ['grok-2'], keepsSpaces: true },
      { names: ['solar-open'], keepsSpaces: true },
    ],
  },
  {
    patterns: [
      String.raw`${CONTRACTIONS}|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
    ],
    families: [{ names: ['qwen35'], keepsSpaces: true }],
  },
  {
    patterns: [String.raw` ?[^(\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+`],
    families: [{ names: ['poro-chat'], keepsSpaces: true }, { names: ['bloom'] }, { names: ['gpt3-finnish'] }],
  },
  {
    patterns: [String.raw` ?[^(\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+`, String.raw`\p{N}`],
    families: [{ names: ['viking'], keepsSpaces: true }],
  },
  {
    patterns: [String.raw`${NOT_WORD}${UPPER}*${LOWER}+|${NOT_WORD}${UPPER}+${LOWER}*|\p{N}|${REST}`],
    families: [{ names: ['tekken'], ignoreMerges: true, addsBos: true, keepsSpaces: true }],
  },
  {
    patterns: [
      String.raw`${CONTRACTIONS}|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+`,
    ],
    families: [{ names: ['exaone-moe'] }],
  },
  {
    patterns: [
      String.raw`<sentinel:[0-9]+>`,
      String.raw`(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z`,
      String.raw`([\t\n]|    |  )`,
      String.raw`\p{N}`,
      String.raw`[\p{P}!-/:-@\[-${BACKTICK}{-~]`,
      GPT2,
    ],
    families: [{ names: ['chameleon'], addsBos: true, keepsSpaces: true }],
  },
  {
    patterns: [
      String.raw`${NOT_WORD}${UPPER}*${LOWER}+${CONTRACTIONS}?|${NOT_WORD}${UPPER}+${LOWER}*${CONTRACTIONS}?|\p{N}{1,3}|${REST}`,
    ],
    families: [
      { names: ['gpt-4o', 'llama4', 'kanana2', 'talkie'], keepsSpaces: true },
      { names: ['minimax-m2'], keepsSpaces: true },
    ],
  },
  {
    patterns: [
      String.raw`[^\r\n\p{L}\p{N}]?((?=[\p{L}\p{M}])([^a-z]))*((?=[\p{L}\p{M}])([^A-Z]))+${CONTRACTIONS}?|[^\r\n\p{L}\p{N}]?((?=[\p{L}\p{M}])([^a-z]))+((?=[\p{L}\p{M}])([^A-Z]))*${CONTRACTIONS}?|\p{N}{1,3}|${REST}`,
    ],
    families: [{ names: ['granite-embed-multi-97m'], ignoreMerges: true, keepsSpaces: true }],
  },
  {
    patterns: [
      String.raw`\d{1,3}(?=(?:\d{3})*\b)`,
      String.raw`${NOT_WORD}${UPPER}*${LOWER}+${CONTRACTIONS}?|${NOT_WORD}${UPPER}+${LOWER}*${CONTRACTIONS}?|\p{N}{1,3}|${REST}`,
    ],
    families: [{ names: ['tiny_aya', 'cohere2moe'], keepsSpaces: true }],
  },
  {
    patterns: [String.raw`\p{N}+`, String.raw`(?=(\d{3})+(?!\d))`],
    families: [{ names: ['superbpe'], keepsSpaces: true }],
  },
  {
    patterns: [
      String.raw`'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`,
    ],
    families: [{ names: ['bailingmoe', 'bailingmoe2', 'llada-moe'], keepsSpaces: true }],
  },
  {
    patterns: [
      String.raw`${CONTRACTIONS}|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+`,
    ],
    families: [{ names: ['seed-coder'], keepsSpaces: true }],
  },
  {
    patterns: [KIMI],
    families: [{ names: ['kimi-k2'], keepsSpaces: true }],
  },
  {
    patterns: [String.raw`[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`],
    families: [{ names: ['ufakzeka'], keepsSpaces: true }],
  },
  {
    patterns: [
      String.raw`\p{AFMoE_digits}`,
      String.raw`[\u4e00-\u9fff\u3400-\u4dbf\u8c48-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf\u0e40-\u0e7f\u0e80-\u0eff\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af\u1100-\u11ff]+`,
      String.raw`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_${BACKTICK}{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
    ],
    families: [{ names: ['afmoe'], keepsSpaces: true }],
  },
  {
    patterns: [
      String.raw`[^\n]+|[\n]+`,
      String.raw`${CONTRACTIONS}|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
    ],
    families: [{ names: ['laguna'], keepsSpaces: true }],
  },
];
