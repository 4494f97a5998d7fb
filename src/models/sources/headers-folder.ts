import { join } from 'node:path';

/** Pure: where headers of models on the hub are kept, in the folder of the models. */
export function headersFolder(modelsFolder: string): string {
  return join(modelsFolder, 'headers');
}
