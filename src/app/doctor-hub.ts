/** What the doctor looks at in a model on the hub: its headers, by range requests; nothing of its weights. */
import type { ModelLook, TokenizerLook } from '../core/doctor/facts.ts';
import { decodeMetadata } from '../models/gguf/read-header.ts';
import type { GgufHeader } from '../models/gguf/read-header.ts';
import { tensorBytes } from '../models/gguf/write.ts';
import { lookAtHub } from '../models/sources/hub-look.ts';
import type { CheckpointLook } from '../models/sources/hub-look.ts';
import type { HubOptions } from '../models/sources/hub.ts';
import { planTwin } from '../models/synthesize/plan-twin.ts';
import { presetNamed } from '../models/synthesize/presets.ts';
import { lookOfHeader } from './doctor-model.ts';

/** `local`: all of it is in the hub's cache, and is looked at as a file. */
export type HubFinding =
  | { readonly kind: 'local'; readonly path: string }
  | { readonly kind: 'remote'; readonly name: string; readonly model: ModelLook };

/**
 * @param spec `hf:OWNER/NAME[@REVISION][:FILE]`
 * @throws AppError as `lookAtHub` and `planTwin`
 */
export async function lookAtHubModel(spec: string, hub: HubOptions): Promise<HubFinding> {
  const look = await lookAtHub(spec, hub);
  if (look.kind === 'local' && look.model.kind === 'gguf') return { kind: 'local', path: look.model.path };
  if (look.kind === 'gguf') {
    const { header, pinned } = look;
    return { kind: 'remote', name: pinned, model: ofHub(header, pinned) };
  }
  const name = look.kind === 'local' ? look.model.pinned : look.pinned;
  return { kind: 'remote', name, model: await ofCheckpoint(spec, name, look, hub) };
}

function ofHub(header: GgufHeader, name: string): ModelLook {
  const file = { path: name, fileBytes: header.fileBytes, hazards: null, fileSystem: null, isOnHub: true };
  return lookOfHeader(header, file);
}

/** As the GGUF in 16 bits that a converter makes of it. */
async function ofCheckpoint(
  spec: string,
  name: string,
  look: CheckpointLook | { readonly model: { readonly fileBytes: number } },
  hub: HubOptions,
): Promise<ModelLook> {
  const ask = { id: spec, preset: presetNamed('BF16'), seed: 0, tokenizer: null, demonstrationModel: null, hub };
  const { file, standInBecause } = await planTwin(ask);
  const tensors = file.tensors.map(({ name: tensor, type, dimensions }) => {
    const columns = dimensions[0] ?? 1;
    const byteLength = tensorBytes({ type, dimensions });
    const rows = dimensions.slice(1).reduce((product, size) => product * size, 1);
    return {
      name: tensor,
      path: name,
      type,
      dimensions,
      columns,
      rows,
      rowBytes: byteLength / rows,
      offset: 0,
      byteLength,
    };
  });
  const header: GgufHeader = {
    path: name,
    fileBytes: 'model' in look ? look.model.fileBytes : look.fileBytes,
    version: 3,
    alignment: file.alignment,
    metadata: decodeMetadata(file.metadata),
    arrayLengths: new Map(),
    valueOffsets: new Map(),
    metadataRange: { start: 0, end: 0 },
    dataOffset: 0,
    tensors,
  };
  const found = ofHub(header, name);
  if (standInBecause === null || found.state === 'unreadable') return found;
  const tokenizer: TokenizerLook = {
    kind: null,
    preTokenizer: null,
    isKnownHere: false,
    untoldBecause: standInBecause,
  };
  return { ...found, tokenizer };
}
