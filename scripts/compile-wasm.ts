/** Compiles each .wat of the models to the .wasm beside it: part of `npm run generate`; tests compare the two. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { realpathSync } from 'node:fs';
import wabt from 'wabt';

const MODELS = new URL('../src/models/', import.meta.url);
export const COMPILED = ['mlx/quantize.wasm', 'scan/scan.wasm'].map((path) => new URL(path, MODELS));

export async function compileWat(compiled: URL): Promise<Uint8Array> {
  const { parseWat } = await wabt();
  const source = fileURLToPath(compiled).replace(/\.wasm$/, '.wat');
  const module = parseWat(source, readFileSync(source, 'utf8'), { simd: true });
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
  for (const path of COMPILED) {
    writeFileSync(path, await compileWat(path));
    console.log(fileURLToPath(path));
  }
}
