/** Written into twins by src/models/synthesize, read back by the facts of a model. */
export const TWIN_OF_KEY = 'runoff.twin.of';
/** The same in a folder: `{ "runoff_twin": { "of": ... } }` in its config.json. */
export const TWIN_CONFIG_KEY = 'runoff_twin';

const OF_CHARACTERS_MAX = 1_000;

/** Of whose shape a folder's weights are random numbers; null for a real model. @param config what its config.json holds */
export function twinOfConfig(config: unknown): string | null {
  const label = isRecord(config) ? config[TWIN_CONFIG_KEY] : null;
  const of = isRecord(label) ? label['of'] : null;
  return typeof of === 'string' ? of.slice(0, OF_CHARACTERS_MAX) : null;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
