import type { Engine, LaunchRequest } from '../core/engine.ts';
import { mergeSettings } from '../core/tune/merge-settings.ts';
import type { OwnSettings } from '../core/tune/merge-settings.ts';

/** The engine with settings of its own in place of the common ones: tuned, or an arm of a race. */
export function withSettings(engine: Engine, own: OwnSettings): Engine {
  const replaced = (request: LaunchRequest): LaunchRequest => ({
    ...request,
    settings: mergeSettings(request.settings, own),
  });
  return {
    ...engine,
    launchPlan: (request) => engine.launchPlan(replaced(request)),
    connect: (process, request, timeoutMs) => engine.connect(process, replaced(request), timeoutMs),
  };
}
