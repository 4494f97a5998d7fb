/**
 * llama.cpp's `llama_print_system_info()`: `CPU : SSE3 = 1 | AVX2 = 1 | OPENMP = 1 | REPACK = 1 | `. Features that are
 * off are left out, so a line without OPENMP means a build without it.
 */
export function parseSystemInfo(text: string): { openMp: boolean | null; instructionSets: string | null } {
  const features = [...text.matchAll(/\b([A-Z][A-Z0-9_]*) = (\d+)/g)];
  if (features.length === 0) return { openMp: null, instructionSets: null };
  const on = features.filter(([, , value]) => value !== '0').map(([, name]) => name ?? '');
  return { openMp: on.includes('OPENMP'), instructionSets: on.join(' ') };
}

/**
 * For layers that attach no threadpool to their context: without OpenMP ggml then makes one for every graph, and a graph
 * is what a decoded token takes. Source: ggml_graph_compute in ggml-cpu.c.
 */
export function threadsWithoutPool(openMp: boolean | null): { disposableThreads?: true } {
  return openMp === false ? { disposableThreads: true } : {};
}
