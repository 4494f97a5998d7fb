/** Written into twins by src/models/synthesize, read back by the facts of a model. */
export const TWIN_OF_KEY = 'runoff.twin.of';
