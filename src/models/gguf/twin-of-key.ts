import { z } from 'zod';

/** Written into twins by src/models/synthesize, read back by the facts of a model. */
export const TWIN_OF_KEY = 'runoff.twin.of';
/** The same in a folder: `{ "runoff_twin": { "of": ... } }` in its config.json. */
export const TWIN_CONFIG_KEY = 'runoff_twin';

const labelled = z.looseObject({ [TWIN_CONFIG_KEY]: z.looseObject({ of: z.string().max(1_000) }) });

/** Of whose shape a folder's weights are random numbers; null for a real model. @param config what its config.json holds */
export function twinOfConfig(config: unknown): string | null {
  const parsed = labelled.safeParse(config);
  return parsed.success ? parsed.data[TWIN_CONFIG_KEY].of : null;
}
