/** Is the model's file whole, and will engines and prompts get along with it? */
import { architectureSince } from './architectures.ts';
import type { DoctorFacts, ReadableModel } from './facts.ts';
import { ok, problem, unknown, warning } from './finding.ts';
import type { Finding } from './finding.ts';
import { LLAMA_PRE_TOKENIZERS } from './pre-tokenizer-names.ts';
import { bytesText, count, exactBytes, quoted } from './quantity.ts';

export function checkModelFile({ model }: DoctorFacts): Finding[] {
  if (model === null) return [];
  if (model.state === 'readable' && model.isOnHub)
    return [ok('model-file', `the model's header is whole (${bytesText(model.fileBytes)} on the hub, not fetched)`)];
  if (model.state === 'readable')
    return [ok('model-file', `the model's file is whole (${bytesText(model.fileBytes)})`)];
  const { path, fileBytes, missingBytes, message, hint } = model;
  if (missingBytes === null || fileBytes === null) {
    return [
      problem('model-file', {
        what: message,
        why: 'No engine will load it.',
        remedy: hint ?? 'Download or convert the model again.',
      }),
    ];
  }
  return [
    problem('model-file', {
      what: `${path} is cut: its header promises ${exactBytes(fileBytes + missingBytes)}, the file has ${exactBytes(fileBytes)}; ${exactBytes(missingBytes)} are missing.`,
      why: 'The download or the copy broke off. Engines refuse it, or map it and crash at the first token.',
      remedy: `Go on with the download: curl --location --continue-at - --output ${quoted(path)} URL`,
    }),
  ];
}

export function checkContextLength({ model, plan }: DoctorFacts): Finding[] {
  if (model?.state !== 'readable') return [];
  const { contextTokens, path } = model;
  const { requestTokens, generateTokens, studyTokens } = plan;
  if (contextTokens === 0) return [unknown('context-length', "the model's context: its header does not state one")];
  if (contextTokens < requestTokens) {
    const prompt = Math.max(1, contextTokens - generateTokens);
    return [
      problem('context-length', {
        what: `The model's context is ${count(contextTokens)} tokens; the default prompts need ${count(requestTokens)}.`,
        why: 'A longer prompt is cut without a word by some engines: a run refuses it.',
        remedy: `runoff run --model ${quoted(path)} --prompt ${prompt} --generate ${Math.min(generateTokens, contextTokens - 1)}`,
      }),
    ];
  }
  const study = contextTokens < studyTokens ? ` (--study needs ${count(studyTokens)})` : '';
  return [ok('context-length', `a context of ${count(contextTokens)} tokens${study}`)];
}

/** The name of a rule for cutting text: a GGUF names it, the engine must have it built in. */
export function checkPreTokenizer({ model }: DoctorFacts): Finding[] {
  if (model?.state !== 'readable') return [];
  const { kind, preTokenizer, isKnownHere, untoldBecause } = model.tokenizer;
  if (untoldBecause !== undefined) return [unknown('pre-tokenizer', `the model's pre-tokenizer: ${untoldBecause}`)];
  if (kind === null) {
    return [
      problem('pre-tokenizer', {
        what: `${model.path} contains no tokenizer.`,
        why: 'Neither runoff nor an engine can turn text into its tokens.',
        remedy: 'Convert the model again with its tokenizer: python convert_hf_to_gguf.py FOLDER',
      }),
    ];
  }
  if (kind !== 'gpt2') return [ok('pre-tokenizer', `a ${kind} tokenizer, which needs no pre-tokenizer`)];
  if (preTokenizer === null || preTokenizer === 'default') return [warning('pre-tokenizer', unnamed(model))];
  if (!LLAMA_PRE_TOKENIZERS.has(preTokenizer)) return [warning('pre-tokenizer', strange(preTokenizer))];
  if (!isKnownHere) return [warning('pre-tokenizer', onlyElsewhere(preTokenizer))];
  return [ok('pre-tokenizer', `pre-tokenizer ${preTokenizer}`)];
}

function unnamed(model: ReadableModel): { what: string; why: string; remedy: string } {
  return {
    what: 'The file does not say how its tokenizer cuts text.',
    why: 'llama.cpp falls back to a general rule and warns of degraded quality; numbers and code are cut in other places than in training.',
    remedy: `Convert the model again with a current llama.cpp, or name the rule: gguf_new_metadata.py --pre-tokenizer NAME ${fileOf(model)} fixed.gguf`,
  };
}

function strange(name: string): { what: string; why: string; remedy: string } {
  return {
    what: `The pre-tokenizer ${name} is not among those of llama.cpp v0.4.0.`,
    why: 'An engine that does not have it refuses the model: "unknown pre-tokenizer type". runoff builds its prompts with a rule like GPT-2’s, so token counts of text differ.',
    remedy: 'Update the engine: a newer llama.cpp may have it. Measure prompts by length: runoff run --prompt 512',
  };
}

function onlyElsewhere(name: string): { what: string; why: string; remedy: string } {
  return {
    what: `runoff does not have the pre-tokenizer ${name}; llama.cpp does.`,
    why: 'runoff builds its prompts with a rule like GPT-2’s: the token ids that it sends are valid and the same for every engine, but not those of the model’s own tokenizer.',
    remedy: 'Speeds are not concerned. Engines that take text only refuse or differ: leave them out with --engine.',
  };
}

/** A model that is younger than the engine. */
export function checkArchitecture({ model, engines }: DoctorFacts): Finding[] {
  if (model?.state !== 'readable') return [];
  const { architecture } = model.shape;
  const readers = engines.filter(({ isLlama, state }) => isLlama && state === 'available');
  if (readers.length === 0) return [];
  const since = architectureSince(architecture);
  if (since === null) {
    return [
      unknown('architecture', `whether the engines know the architecture ${architecture}: it is not in runoff's table`),
    ];
  }
  const told = readers.flatMap(({ id, llamaBuild, ownProgram }) =>
    llamaBuild === null ? [] : [{ id, build: llamaBuild, ownProgram }],
  );
  const old = told.filter(({ build }) => build < since.build);
  const young = told.filter(({ build }) => build >= since.build);
  const untold = readers.filter(({ llamaBuild }) => llamaBuild === null).map(({ id }) => id);
  return [
    ...old.map(({ id, build, ownProgram }) =>
      problem('architecture', {
        what: `${id} holds llama.cpp b${build}; ${architecture} came with b${since.build} (${since.source}).`,
        why: `It ends with "unknown model architecture: '${architecture}'".`,
        remedy:
          ownProgram === null
            ? `Take a newer one: runoff engines remove ${id}, then runoff engines install ${id}`
            : `Update ${ownProgram} to llama.cpp b${since.build} or newer, or name another: --engine-path ${id}=PATH`,
      }),
    ),
    ...(young.length === 0
      ? []
      : [ok('architecture', `${architecture} is known to ${young.map(({ id }) => id).join(' and ')}`)]),
    ...(untold.length === 0
      ? []
      : [
          unknown(
            'architecture',
            `whether ${untold.join(' and ')} know ${architecture} (llama.cpp b${since.build}): the build is told after loading`,
          ),
        ]),
  ];
}

/** Pure: its file for a command line; of one on the hub, its name once it is fetched. */
export function fileOf({ path, isOnHub }: ReadableModel): string {
  return quoted(isOnHub ? (path.split(/[:/]/).at(-1) ?? path) : path);
}

/** llama.cpp rearranges Q4_0 for the vector units of x86 while it loads; for Q4_1 it has no such kernels. */
export function checkSlowKernels({ model, host }: DoctorFacts): Finding[] {
  if (model?.state !== 'readable') return [];
  const { quantisation } = model;
  if (quantisation !== 'Q4_1' || (host.nativeArch ?? host.arch) !== 'x64')
    return [ok('kernels', `${quantisation} on ${host.arch}`)];
  return [
    warning('kernels', {
      what: 'The weights are Q4_1, this processor is x86.',
      why: 'llama.cpp repacks Q4_0 but not Q4_1 for x86: the same model as Q4_0 was 2.75 times faster at prefill and 1.6 times at decode when we measured it.',
      remedy: `llama-quantize --allow-requantize ${fileOf(model)} model-Q4_0.gguf Q4_0 (better: from the F16 original)`,
    }),
  ];
}

/** Types of file systems that are on another machine, or behind a translation. */
const SLOW_FILE_SYSTEMS =
  /^(nfs4?|cifs|smb3?|smbfs|9p|drvfs|fuse\.(sshfs|rclone|s3fs)|afpfs|webdav|virtiofs|vboxsf|prl_fs)$/;

export function checkFileSystem({ model, host }: DoctorFacts): Finding[] {
  if (model?.state !== 'readable' || model.fileSystem === null) return [];
  if (!SLOW_FILE_SYSTEMS.test(model.fileSystem)) return [ok('file-system', `the model lies on ${model.fileSystem}`)];
  return [
    warning('file-system', {
      what: `${model.path} lies on ${model.fileSystem}${host.wsl ? ', a drive of Windows seen through WSL' : ', a file system of another machine'}.`,
      why: 'Loading is slow there, and mapping may not work: load times would be those of the connection.',
      remedy: `Copy it to a disk of this ${host.wsl ? 'Linux system' : 'machine'}: cp ${quoted(model.path)} ~/`,
    }),
  ];
}
