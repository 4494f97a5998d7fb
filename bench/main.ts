/** `npm run bench -- NAME`: benches print a table with ratios against a named peer, measured in one run. */
const BENCHES: Readonly<Record<string, () => Promise<void>>> = {
  collectors: async () => (await import('./collectors.ts')).collectors(),
  convert: async () => (await import('./convert.ts')).convert(),
  'convert-mlx': async () => (await import('./convert-mlx.ts')).convertMlx(),
  fidelity: async () => (await import('./fidelity.ts')).fidelity(),
  inspect: async () => (await import('./inspect.ts')).inspect(),
  selftests: async () => (await import('./selftests.ts')).selftests(),
  peers: async () => (await import('./peers.ts')).peers(),
  repack: async () => (await import('./repack.ts')).repack(),
  threads: async () => (await import('./threads.ts')).threads(),
  twins: async () => (await import('./twins.ts')).twins(),
  statistics: async () => (await import('./statistics.ts')).statistics(),
  'time-to-verdict': async () => (await import('./time-to-verdict.ts')).timeToVerdict(),
  startup: async () => (await import('./startup.ts')).startup(),
};

const name = process.argv[2] ?? '';
const bench = BENCHES[name];
if (bench === undefined) {
  console.error(`npm run bench -- ${Object.keys(BENCHES).join(' | ')}`);
  process.exit(2);
}
await bench();
