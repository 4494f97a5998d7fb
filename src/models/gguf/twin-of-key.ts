/** Written into twins by src/models/synthesize, read back by the facts of a model. */
export const TWIN_OF_KEY = 'runoff.twin.of';
/** The same in a folder: `{ "runoff_twin": { "of": ... } }` in its config.json. */
export const TWIN_CONFIG_KEY = 'runoff_twin';
