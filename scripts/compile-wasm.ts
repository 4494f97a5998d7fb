/** Compiles src/models/mlx/quantize.wat to the .wasm beside it: part of `npm run generate`; a test compares the two. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { realpathSync } from 'node:fs';
import wabt from 'wabt';

const SOURCE = new URL('../src/models/mlx/quantize.wat', import.meta.url);
export const COMPILED = new URL('../src/models/mlx/quantize.wasm', import.meta.url);

export async function compileQuantize(): Promise<Uint8Array> {
  const { parseWat } = await wabt();
  const module = parseWat('quantize.wat', readFileSync(SOURCE, 'utf8'), { simd: true });
  try {
    module.resolveNames();
    module.validate();
    return module.toBinary({}).buffer;
  } finally {
    module.destroy();
  }
}

const script = process.argv[1];
if (script !== undefined && import.meta.url === pathToFileURL(realpathSync(script)).href) {
  writeFileSync(COMPILED, await compileQuantize());
  console.log(fileURLToPath(COMPILED));
}
