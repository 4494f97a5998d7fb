/**
 * Every guard against a trap of llamafile (docs/LLAMAFILE.md), taken away or turned into its opposite: the test of the trap
 * must then fail. `npm run mutations` tries them all.
 */
export interface Mutation {
  /** As its row in docs/LLAMAFILE.md is called. */
  readonly trap: string;
  /** From the root. */
  readonly file: string;
  /** Occurs once in the file. */
  readonly from: string;
  readonly to: string;
}

const ARGUMENTS = 'src/engines/shared/llamafile-arguments.ts';
const PROGRAM = 'src/engines/shared/llamafile-program.ts';
const LOG = 'src/engines/shared/llamafile-log.ts';
const V1 = 'src/engines/shared/llamafile-v1.ts';
const V2 = 'src/engines/shared/llamafile-v2.ts';
const ENGINE = 'src/engines/llamafile.ts';
const MACHINERY = 'src/app/machinery.ts';
const HAZARDS = 'src/models/llamafile/hazards.ts';
const ZIP = 'src/models/llamafile/zip.ts';
const DOCTOR = 'src/core/doctor/llamafile-checks.ts';

export const MUTATIONS: readonly Mutation[] = [
  // How it is started.
  {
    trap: 'the default mode chats, opens a browser, or ends with stdin',
    file: ARGUMENTS,
    from: "    '--server',\n    NO_BROWSER,",
    to: '    NO_BROWSER,',
  },
  {
    trap: '`--nobrowser` ends llamafiler and 0.10 with an error',
    file: ARGUMENTS,
    from: "    '--server',\n    '--v2',",
    to: "    '--server',\n    NO_BROWSER,\n    '--v2',",
  },
  {
    trap: '0.10 has no browser switch, and a cache in RAM',
    file: 'src/engines/shared/llama-server-arguments.ts',
    from: "    '--cache-ram',\n    '0',\n",
    to: '',
  },
  {
    trap: '0.10 has no browser switch, and a cache in RAM',
    file: ARGUMENTS,
    from: "    '--server',\n    ...llamaServerArguments",
    to: "    '--server',\n    NO_BROWSER,\n    ...llamaServerArguments",
  },
  {
    trap: '`-p` and `--cli` in `.args` change or end the server',
    file: PROGRAM,
    from: '    argumentTrouble(path, facts, api) ??\n',
    to: '',
  },
  {
    trap: '`--prompt` is no `-p`, and any other argument may change the work',
    file: ARGUMENTS,
    from: "else if (!HARMLESS.has(word) && !(word === NO_BROWSER && api === 'v1'))",
    to: "else if (word === '--cli' || word === '-p')",
  },
  {
    trap: '`.args` behind `...` overrule every flag',
    file: ARGUMENTS,
    from: 'if (behind.length > 0) return',
    to: 'if (behind.length > 1_000) return',
  },
  {
    trap: '`.args` before `...`: context, host, layers',
    file: ARGUMENTS,
    from: "    NO_BROWSER,\n    '--host',\n    '127.0.0.1',",
    to: '    NO_BROWSER,',
  },
  {
    trap: '`.args` before `...`: context, host, layers',
    file: ARGUMENTS,
    from: '    ...gpuArguments(settings),\n  ];\n}\n\nfunction kvArguments',
    to: '  ];\n}\n\nfunction kvArguments',
  },
  {
    trap: '`--nobrowser` in `.args` of a server that has none',
    file: ARGUMENTS,
    from: "word === NO_BROWSER && api === 'v1'",
    to: 'word === NO_BROWSER',
  },
  {
    trap: 'lines or shell words in `.args`, by version',
    file: 'src/models/llamafile/arguments.ts',
    from: "version !== null && isBefore(version, SHELL_SINCE) ? 'lines' : 'shell'",
    to: "version === '' ? 'lines' : 'shell'",
  },
  {
    trap: 'it writes logs into the working folder, and prefers a model that lies there',
    file: MACHINERY,
    from: '{ ...plan, cwd: workFolder }',
    to: '{ ...plan }',
  },
  {
    trap: 'it writes logs into the working folder, and prefers a model that lies there',
    file: MACHINERY,
    from: '        await removeFolder();\n      }\n    };',
    to: '      }\n    };',
  },
  {
    trap: 'a path with `@` is a file inside a zip',
    file: ARGUMENTS,
    from: "modelPath.includes('@')",
    to: 'modelPath.length === 0',
  },
  {
    trap: 'several models inside',
    file: PROGRAM,
    from: 'models.filter(({ name }) => name === named)',
    to: 'models.slice(0, named === null ? 0 : 1)',
  },
  {
    trap: 'several models inside, and `.args` name none',
    file: PROGRAM,
    from: 'if (models.length < 2 || carriedModel',
    to: 'if (models.length < 20 || carriedModel',
  },
  {
    trap: "another model inside than the run's",
    file: 'src/app/carried-model.ts',
    from: 'if (sha256 === model.facts.sha256) return',
    to: 'if (sha256 !== null) return',
  },
  {
    trap: 'the version decides the switches',
    file: PROGRAM,
    from: "isBefore(version, LLAMA_SERVER_SINCE) ? 'v1' : 'llama-server'",
    to: "isBefore(version, LLAMA_SERVER_SINCE) ? 'v1' : 'v1'",
  },
  {
    trap: 'the version is read without running it, and a model may hold a lie',
    file: 'src/models/llamafile/read-llamafile.ts',
    from: 'findVersion(file, programRanges(file.byteLength, entries))',
    to: 'findVersion(file, programRanges(file.byteLength, entries.slice(0, 0)))',
  },
  {
    trap: 'before 0.6.2 nothing tells when the model is loaded',
    file: PROGRAM,
    from: "if (name !== 'llamafile' || isBefore(version, SERVER_SINCE)) return null;",
    to: "if (name !== 'llamafile') return null;",
  },
  {
    trap: '`-fa` from 0.8.8, KV types from 0.7',
    file: ARGUMENTS,
    from: 'settings.flashAttention && !isBefore(version, FLASH_ATTENTION_SINCE)',
    to: 'settings.flashAttention',
  },
  {
    trap: '`-fa` from 0.8.8, KV types from 0.7',
    file: ARGUMENTS,
    from: "  if (kvType === 'f16') return [];\n  throw refused(`llamafile ${version} keeps",
    to: '  if (kvType !== null) return [];\n  throw refused(`llamafile ${version} keeps',
  },
  {
    trap: '`--server --v2` takes its address in one piece',
    file: ARGUMENTS,
    from: "    '-l',\n    `127.0.0.1:${port}`,",
    to: "    '--host',\n    '127.0.0.1',\n    '--port',\n    String(port),",
  },
  // Whose server answers, and when.
  {
    trap: 'SO_REUSEPORT: a second server on a busy port succeeds',
    file: ARGUMENTS,
    from: "    '-a',\n    runId,\n",
    to: '',
  },
  {
    trap: 'the stranger on a shared port answers at once',
    file: V1,
    from: '  await findOurs({ base, name: NAME, request });\n',
    to: '',
  },
  {
    trap: 'the stranger on a shared port answers later',
    file: V1,
    from: "  if (model !== reader.runId) throw portTaken(reader.port, model ?? 'unknown');\n",
    to: '',
  },
  {
    trap: 'on a taken port it serves on one of the next ten',
    file: V1,
    from: 'if (port !== null && port !== asked) throw',
    to: 'if (port !== null && port < 0) throw',
  },
  {
    trap: 'llamafiler has no names for models',
    file: V2,
    from: '`http://127.0.0.1:${request.port}/${request.runId}`',
    to: '`http://127.0.0.1:${request.port}`',
  },
  {
    trap: '0.6.2 logs "listening" before the model is loaded',
    file: V1,
    from: '    url: `${base}/health`,\n    isReady: isHealthy,',
    to: '    url: `${base}/v1/models`,\n    isReady: () => true,',
  },
  {
    trap: 'an old engine and a new model',
    file: LOG,
    from: "  [/tensor 'output\\.weight' not found/, 'This llamafile knows no tied embeddings: use a newer one.'],\n",
    to: '',
  },
  {
    trap: 'an old engine and a new model, before it is started',
    file: HAZARDS,
    from: "    return refused === null ? [] : [{ ...refused, os: 'all', remedy }];",
    to: "    return refused === null || remedy !== '' ? [] : [{ ...refused, os: 'all', remedy }];",
  },
  // Equal work.
  {
    trap: 'a prompt that does not fit is cut under 200',
    file: V1,
    from: 'truncated: item.truncated ?? null,',
    to: 'truncated: null,',
  },
  {
    trap: 'a prompt that does not fit is cut under 200',
    file: V1,
    from: 'promptTokenCount: evaluated,',
    to: 'promptTokenCount: evaluated * 0 + 400,',
  },
  {
    trap: 'a cut prompt is a count that differs',
    file: 'src/core/validity/gates.ts',
    from: "if (reported === asked) return passed('token-count'",
    to: "if (reported <= asked) return passed('token-count'",
  },
  {
    trap: 'a context that is shifted while it answers',
    file: V1,
    from: 'truncated: item.truncated ?? null,',
    to: 'truncated: null,',
  },
  {
    trap: 'llamafiler refuses a prompt that does not fit with 500',
    file: 'src/platform/network/http.ts',
    from: 'if (status < 200 || status > 299) {',
    to: 'if (status < 200 || status > 599) {',
  },
  {
    trap: 'chat cuts without any flag, and always says "stop"',
    file: V1,
    from: '`${base}/completion`',
    to: '`${base}/v1/chat/completions`',
  },
  {
    trap: '`cache_prompt: true` reuses even uncached requests',
    file: V1,
    from: 'cache_prompt: false,',
    to: 'cache_prompt: true,',
  },
  {
    trap: 'no counter tells what came from the cache',
    file: V1,
    from: 'timings === undefined ? null : Math.max(0, evaluated - timings.prompt_n)',
    to: 'timings === undefined ? null : 0',
  },
  {
    trap: "llamafiler's cache cannot be switched off",
    file: V2,
    from: '  await streamSse(url, requestBody({ ...ask, promptText: flush, generateTokens: 1 }, runId), options);\n',
    to: '',
  },
  {
    trap: "llamafiler's cache is told by its log alone",
    file: V2,
    from: 'Number(kept) + Number(relocated)',
    to: 'Number(kept) + 0 * Number(relocated)',
  },
  {
    trap: '`ignore_eos` masks the EOS token alone',
    file: V1,
    from: 'logit_bias: bannedTokens.map((token) => [token, false]),',
    to: 'logit_bias: bannedTokens.slice(0, 0),',
  },
  {
    trap: 'the object form of `logit_bias` is ignored',
    file: V1,
    from: 'logit_bias: bannedTokens.map((token) => [token, false]),',
    to: 'logit_bias: Object.fromEntries(bannedTokens.map((token) => [token, -100])),',
  },
  { trap: '0.6.2 penalises repetition by default', file: V1, from: '    repeat_penalty: 1,\n', to: '' },
  { trap: 'it samples by default', file: V1, from: '    temperature: 0,\n', to: '' },
  {
    trap: '`n_predict: 0` generates a token',
    file: V1,
    from: "  assert(generateTokens > 0, 'v1 cannot generate nothing');\n",
    to: '',
  },
  // What an answer says.
  {
    trap: 'the first token is counted and not timed',
    file: V1,
    from: 'Math.max(0, timings.predicted_n - 1)',
    to: 'Math.max(0, timings.predicted_n)',
  },
  {
    trap: 'one token "at 250,000 tokens/s"',
    file: V1,
    from: 'Math.max(0, timings.predicted_n - 1)',
    to: 'Math.max(1, timings.predicted_n - 1)',
  },
  {
    trap: 'no [DONE] and no usage in v1',
    file: V1,
    from: '    if (!item.stop) pieces.push({ atMs, text: item.content });\n    else return',
    to: "    if (!item.stop) pieces.push({ atMs, text: item.content });\n    if (data === '[DONE]') return",
  },
  {
    trap: 'errors under 200, on lines called `error:`',
    file: V1,
    from: '  if (told !== undefined)\n    throw',
    to: "  if (told === '')\n    throw",
  },
  { trap: 'llamafiler seeds a role chunk', file: V2, from: "if (text !== '') pieces.push", to: 'pieces.push' },
  {
    trap: 'llamafiler ignores masks: an early end is counted',
    file: V2,
    from: "usage.completion_tokens - (end.reason === 'stop' ? 1 : 0)",
    to: 'usage.completion_tokens',
  },
  {
    trap: 'half characters are held back',
    file: V1,
    from: 'eventTokenCounts: spreadTokens(times, predicted),',
    to: 'eventTokenCounts: times.map(() => 1),',
  },
  {
    trap: 'a dropped request keeps computing',
    file: MACHINERY,
    from: '        if (plan !== null) await process.stop(STOP_GRACE_MS);\n',
    to: '',
  },
  // Platforms.
  {
    trap: 'Windows starts no program of 4 GiB or more',
    file: PROGRAM,
    from: 'if (fileBytes >= WINDOWS_PROGRAM_BYTES_LIMIT) {',
    to: 'if (fileBytes > WINDOWS_PROGRAM_BYTES_LIMIT) {',
  },
  {
    trap: 'Windows starts no program of 4 GiB or more: inspect',
    file: HAZARDS,
    from: 'if (fileBytes <= WINDOWS_EXECUTABLE_BYTES_MAX) return [];',
    to: 'if (fileBytes <= WINDOWS_EXECUTABLE_BYTES_MAX + 1) return [];',
  },
  {
    trap: 'Windows starts no program of 4 GiB or more: doctor',
    file: DOCTOR,
    from: 'if (fileBytes < WINDOWS_PROGRAM_BYTES_LIMIT)',
    to: 'if (fileBytes <= WINDOWS_PROGRAM_BYTES_LIMIT)',
  },
  {
    trap: 'Windows takes `.exe` only',
    file: PROGRAM,
    from: 'if (/\\.exe$/i.test(path)) return null;',
    to: "if (path !== '') return null;",
  },
  {
    trap: 'ENOEXEC, WINE and binfmt_misc take the magic',
    file: ENGINE,
    from: "const isDirect = isNative || process.platform === 'win32';",
    to: "const isDirect = isNative || process.platform !== 'aix';",
  },
  {
    trap: 'WINE and WSL take over what users start by hand',
    file: DOCTOR,
    from: 'binfmt.filter(takesLlamafiles)',
    to: 'binfmt.filter((entry) => !takesLlamafiles(entry))',
  },
  {
    trap: 'the loader needs a folder, gzip and dd',
    file: 'src/platform/process/environment.ts',
    from: "names: ['TMPDIR'] },",
    to: 'names: [] },',
  },
  {
    trap: 'the loader needs a folder, gzip and dd',
    file: 'src/platform/process/environment.ts',
    from: "names: ['PATH'] },",
    to: 'names: [] },',
  },
  {
    trap: '`--assimilate` rewrites the file',
    file: ARGUMENTS,
    from: "    '--server',\n    NO_BROWSER,",
    to: "    '--server',\n    '--assimilate',\n    NO_BROWSER,",
  },
  {
    trap: 'no compiler on macOS, a noexec folder, no gzip',
    file: LOG,
    from: '  [/please run: xcode-select --install/,',
    to: '  [/please run: xcode-select --nothing/,',
  },
  {
    trap: 'no compiler on macOS, a noexec folder, no gzip',
    file: LOG,
    from: '/Permission denied|cannot create',
    to: '/cannot create',
  },
  {
    trap: 'no compiler on macOS, a noexec folder, no gzip',
    file: LOG,
    from: '  [/(gzip|dd): (command )?not found/,',
    to: '  [/(gzip|dd): (command )?not there/,',
  },
  {
    trap: 'no compiler on macOS: doctor',
    file: DOCTOR,
    from: 'if (llamafile.commandLineTools) return [ok(',
    to: 'if (llamafile.commandLineTools !== null) return [ok(',
  },
  {
    trap: 'Gatekeeper: doctor',
    file: DOCTOR,
    from: 'if (quarantine.marked.length === 0) return',
    to: 'if (quarantine.marked.length < 100) return',
  },
  {
    trap: 'NVIDIA and AMD stay idle without `-ngl`; Metal does not',
    file: ARGUMENTS,
    from: "['--gpu', 'disable'] : ['-ngl', ALL_LAYERS];",
    to: "['--gpu', 'disable'] : [];",
  },
  {
    trap: 'Metal computes unless it is told not to',
    file: ARGUMENTS,
    from: "gpu === 'off' ? ['--gpu', 'disable'] : ['-ngl', ALL_LAYERS];",
    to: "gpu === 'off' ? [] : ['-ngl', ALL_LAYERS];",
  },
  {
    trap: 'silent fall back to the CPU',
    file: LOG,
    from: 'const FALLBACK = /falling back to CPU/;',
    to: 'const FALLBACK = /falling back to nothing/;',
  },
  {
    trap: '0 layers offloaded, and a GPU in the log',
    file: LOG,
    from: "device: offloaded === 0 ? 'cpu' :",
    to: "device: offloaded < 0 ? 'cpu' :",
  },
  {
    trap: 'own kernels: same bytes, other logits',
    file: V1,
    from: "      ...(device === 'cpu' ? [cpuKernels(request.engine)] : []),\n",
    to: '',
  },
  {
    trap: 'default contexts by version',
    file: ARGUMENTS,
    from: "    '--ctx-size',\n    String(settings.contextTokens),\n    '-t',\n    threads,\n    '-tb',\n    threads,\n    '-b',\n    String(settings.batchTokens),\n    '-np',",
    to: "    '-t',\n    threads,\n    '-tb',\n    threads,\n    '-b',\n    String(settings.batchTokens),\n    '-np',",
  },
  {
    trap: 'threads from the topology',
    file: ARGUMENTS,
    from: "    '-t',\n    threads,\n    '-tb',\n    threads,\n    '-b',\n    String(settings.batchTokens),\n    '-np',",
    to: "    '-b',\n    String(settings.batchTokens),\n    '-np',",
  },
  {
    trap: 'llamafiler computes with 20 threads at most',
    file: V2,
    from: 'settings.threads > THREADS_MAX ? { threads: THREADS_MAX } : {}',
    to: 'settings.threads > 1_000 ? { threads: THREADS_MAX } : {}',
  },
  // What inspect tells of the file.
  {
    trap: '`--server` in `.args` is ignored, or wins, by version',
    file: HAZARDS,
    from: "if (defaults?.words.includes('--server') !== true) return [];",
    to: "if (defaults?.words.includes('--serve') !== true) return [];",
  },
  {
    trap: '`-p` of 0.10 is the system prompt, and it waits',
    file: HAZARDS,
    from: "function promptFlag({ generation }: LlamafileFacts): Hazard[] {\n  if (generation !== '0.10') return [];",
    to: "function promptFlag({ generation }: LlamafileFacts): Hazard[] {\n  if (generation !== '0.9') return [];",
  },
  {
    trap: 'a prompt is cut to the default context: inspect',
    file: HAZARDS,
    from: "version === '0.8.13' ? \"the model's maximum\" : '8,192 tokens'",
    to: "version === '' ? \"the model's maximum\" : '8,192 tokens'",
  },
  {
    trap: 'three magics',
    file: 'src/models/llamafile/executable.ts',
    from: `["MZqFpD='", "jartsr='", "APEDBG='"]`,
    to: `["MZqFpD='", "APEDBG='"]`,
  },
  {
    trap: 'ELF headers are text, with octal codes',
    file: 'src/models/llamafile/executable.ts',
    from: 'Number.parseInt(digits, 8) & 0xff',
    to: 'Number.parseInt(digits, 10) & 0xff',
  },
  {
    trap: '32-bit sizes are 0xffffffff even for `.args`',
    file: ZIP,
    from: 'if (!short.includes(SENTINEL_32)) return [...short];',
    to: 'if (short.length > 0) return [...short];',
  },
  {
    trap: 'the local header has a length of its own',
    file: ZIP,
    from: 'RECORD_BYTES.local + nameBytes + header.readUInt16LE(28)',
    to: 'RECORD_BYTES.local + nameBytes + 28',
  },
  {
    trap: 'the directory is found from the last 64 KiB',
    file: ZIP,
    from: 'const TAIL_BYTES = 65_536 + RECORD_BYTES.end;',
    to: 'const TAIL_BYTES = RECORD_BYTES.end;',
  },
  {
    trap: 'a model that does not start at a multiple of 64 KiB: pack',
    file: 'src/models/llamafile/pack.ts',
    from: 'const position = Math.ceil((end + header) / MODEL_ALIGNMENT) * MODEL_ALIGNMENT;',
    to: 'const position = end + header;',
  },
  {
    trap: 'a model that does not start at a multiple of 64 KiB: inspect',
    file: HAZARDS,
    from: '    if (aligned) return [];',
    to: '    if (aligned || !aligned) return [];',
  },
  {
    trap: 'a compressed model cannot be mapped',
    file: PROGRAM,
    from: 'if (compressed !== undefined)',
    to: "if (compressed !== undefined && path === '')",
  },
  {
    trap: 'the model inside may be damaged',
    file: 'src/models/llamafile/extract.ts',
    from: "    if (checksum !== entry.crc32) throw damaged(path, entry, 'its checksum is wrong');\n",
    to: '',
  },
];
