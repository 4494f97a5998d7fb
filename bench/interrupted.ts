/** Aborted by Ctrl-C. The programs that a bench starts are in groups of their own: they do not hear of it. */
export function untilInterrupted(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => controller.abort());
  return controller.signal;
}
