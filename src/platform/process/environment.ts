/**
 * What a measured process may know of our environment. Everything else stays out, because engines read it silently:
 * LLAMA_ARG_* are llama-server's switches, GGML_* and OMP_* change kernels and threads, MLX_* the matrix units, PYTHON*
 * the modules. A number measured under them would be the environment's, not the engine's.
 */

interface Allowed {
  readonly reason: string;
  readonly names: readonly string[];
}

const EVERYWHERE: readonly Allowed[] = [
  { reason: 'programs and scripts find their interpreters', names: ['PATH'] },
  {
    reason: 'which GPU is ours: set by schedulers on shared machines; ignoring it takes somebody else’s',
    names: ['CUDA_VISIBLE_DEVICES', 'HIP_VISIBLE_DEVICES', 'ROCR_VISIBLE_DEVICES'],
  },
];

const POSIX: readonly Allowed[] = [
  { reason: 'libraries look for their settings and caches', names: ['HOME', 'USER', 'LOGNAME'] },
  { reason: 'temporary files go where there is room', names: ['TMPDIR'] },
  { reason: 'without a UTF-8 locale Python may refuse file names', names: ['LANG', 'LC_ALL', 'LC_CTYPE'] },
];

const PER_PLATFORM: Readonly<Partial<Record<NodeJS.Platform, readonly Allowed[]>>> = {
  linux: [
    ...POSIX,
    { reason: 'a user’s own binary may find its libraries only through it', names: ['LD_LIBRARY_PATH'] },
    { reason: 'Vulkan finds its driver through it', names: ['XDG_RUNTIME_DIR'] },
  ],
  darwin: [...POSIX, { reason: 'Core Foundation asks for it at start', names: ['__CF_USER_TEXT_ENCODING'] }],
  win32: [
    {
      reason: 'no program starts without the system’s folders',
      names: ['SystemRoot', 'SystemDrive', 'windir', 'ComSpec', 'PATHEXT'],
    },
    { reason: 'temporary files', names: ['TEMP', 'TMP'] },
    {
      reason: 'settings and caches',
      names: ['USERPROFILE', 'HOMEDRIVE', 'HOMEPATH', 'APPDATA', 'LOCALAPPDATA', 'ProgramData', 'USERNAME'],
    },
    { reason: 'GPU drivers live there', names: ['ProgramFiles', 'ProgramFiles(x86)', 'ProgramW6432'] },
    { reason: 'runtimes ask for them at start', names: ['NUMBER_OF_PROCESSORS', 'PROCESSOR_ARCHITECTURE', 'OS'] },
  ],
};

/** Pure: the part of `source` that every process needs on this platform. Windows names are matched without case. */
export function minimumEnvironment(
  platform: NodeJS.Platform,
  source: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const fold = (name: string): string => (platform === 'win32' ? name.toUpperCase() : name);
  const lists = [...EVERYWHERE, ...(PER_PLATFORM[platform] ?? POSIX)];
  const allowed = new Set(lists.flatMap(({ names }) => names).map(fold));
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(source)) {
    if (value !== undefined && allowed.has(fold(name))) kept[name] = value;
  }
  return kept;
}
