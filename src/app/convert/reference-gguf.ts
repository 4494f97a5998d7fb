/** A GGUF by llama.cpp's own converter: read back, compared where that is possible, its tokenizer checked. */
import { join } from 'node:path';
import { AppError } from '../../core/errors.ts';
import { isConverterType, type QuantName } from '../../models/convert/recipes.ts';
import { writeThenRename } from '../../models/file-io.ts';
import { readGgufHeader, type GgufHeader } from '../../models/gguf/read-header.ts';
import { checkGgufTokenizer } from '../../models/tokenizer/check-gguf.ts';
import { sourceFolderOf } from '../../platform/environments/place-source.ts';
import { llamaCppPlace } from '../tokenizer.ts';
import {
  compareWithSource,
  nameOf,
  readyReference,
  recordReference,
  runReference,
  type Reference,
  type ReferenceAsk,
} from './reference.ts';

export const LLAMA_CPP_REFERENCE: Reference = {
  id: 'llama-cpp-converter',
  title: "llama.cpp's converter",
  packages: ['llama.cpp', 'torch'],
};

export interface GgufReferenceAsk extends ReferenceAsk {
  readonly quant: QuantName;
  readonly out: string;
  readonly strict: boolean;
  /** Options that it has nothing for: refused. */
  readonly refused: readonly string[];
}

export interface ReferenceGguf {
  readonly fileBytes: number;
  readonly bitsPerWeight: number;
  readonly notes: readonly string[];
}

/** @throws AppError `usage`, `environment-failed`, `conversion-failed`, `tokenizer-unknown`, `interrupted` */
export async function convertToGgufByReference(ask: GgufReferenceAsk): Promise<ReferenceGguf> {
  const { out, source } = ask;
  checkOptions(ask);
  const environment = await readyReference(LLAMA_CPP_REFERENCE, ask);
  const run = { reference: LLAMA_CPP_REFERENCE, environment };
  const { header, comparison, notes } = await writeThenRename(out, async (temporary) => {
    await runReference({ ...run, args: argsOf(environment.root, temporary, ask), output: temporary }, ask);
    const read = await readBack(temporary);
    const compared = await compareWithSource(source, temporary, ask);
    return { header: read, comparison: compared, notes: await tokenizerNote(temporary, ask) };
  });
  const args = argsOf(environment.root, out, ask);
  await recordReference({ path: out, kind: 'file' }, { ...run, args, source, comparison });
  const weightBytes = header.tensors.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const weights = header.tensors.reduce((sum, { rows, columns }) => sum + rows * columns, 0);
  const by = `Made by ${nameOf(LLAMA_CPP_REFERENCE, environment)}, not by runoff.`;
  return { fileBytes: header.fileBytes, bitsPerWeight: (8 * weightBytes) / weights, notes: [by, comparison, ...notes] };
}

function checkOptions({ quant, refused }: GgufReferenceAsk): void {
  if (!isConverterType(quant)) {
    throw new AppError('usage', `llama.cpp's converter writes F32, F16, BF16 and Q8_0, not ${quant}.`, {
      hint: "Convert with --quant bf16, then quantise the result with llama.cpp's llama-quantize.",
    });
  }
  const [first] = refused;
  if (first === undefined) return;
  throw new AppError('usage', `llama.cpp's converter, which makes this model, has nothing for ${first}.`, {
    hint: `Leave ${first} out.`,
  });
}

function argsOf(root: string, outfile: string, { source, quant }: GgufReferenceAsk): string[] {
  const program = join(sourceFolderOf(root), 'convert_hf_to_gguf.py');
  return ['-E', '-s', program, source, '--outfile', outfile, '--outtype', quant.toLowerCase()];
}

/** Every length and count is checked while reading. */
async function readBack(path: string): Promise<GgufHeader> {
  const header = await readGgufHeader(path).catch((cause: unknown) => {
    throw new AppError('conversion-failed', "What llama.cpp's converter wrote cannot be read as a GGUF.", {
      hint: 'Check the free space, then convert again.',
      cause,
    });
  });
  if (header.tensors.length > 0) return header;
  throw new AppError('conversion-failed', "llama.cpp's converter wrote a GGUF without tensors.", {
    hint: 'Check that the folder holds the weights (*.safetensors).',
  });
}

/** What was proved is not mentioned. */
async function tokenizerNote(path: string, { source, strict, signal, ui }: GgufReferenceAsk): Promise<string[]> {
  const reason = await whyNotProved(path, { source, signal, ui });
  if (reason === null) return [];
  if (!strict) return [`The tokenizer is not proved: ${reason}.`];
  throw new AppError('tokenizer-unknown', `The tokenizer of the result is not proved: ${reason}.`, {
    hint: 'Install what the proof needs (runoff engines install llama-cpp), or leave --strict out.',
  });
}

async function whyNotProved(
  path: string,
  { source, signal, ui }: Pick<GgufReferenceAsk, 'source' | 'signal' | 'ui'>,
): Promise<string | null> {
  try {
    const { proof } = await checkGgufTokenizer(path, {
      against: source,
      llamaCpp: await llamaCppPlace(ui),
      signal,
      onStatus: (text) => ui.status(text),
    });
    return proof.state === 'proven' ? null : (proof.reason ?? 'llama.cpp tokenises otherwise than the original');
  } catch (error) {
    if (!(error instanceof AppError) || signal.aborted) throw error;
    return error.message.replace(/\.$/, '');
  }
}
