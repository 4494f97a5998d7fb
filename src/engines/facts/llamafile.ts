import type { ShippingFacts } from '../../core/shipping-facts.ts';

const date = '2026-11-25';
const DOCS = 'https://github.com/mozilla-ai/llamafile/blob/main/docs';
const PROJECT = 'https://github.com/mozilla-ai/llamafile/blob/main/README.md';

/** Of llamafile as its releases ship it. */
export const shipping: ShippingFacts = {
  installSteps: {
    value: [
      'take llamafile from github.com/mozilla-ai/llamafile/releases',
      'put the model into a copy of it: runoff models pack --llamafile llamafile MODEL.gguf',
      'ship that one file, and start it with sh FILE --server (FILE.exe on Windows)',
    ],
    source: `${DOCS}/creating_llamafiles.md`,
    date,
  },
  license: { value: 'Apache-2.0', source: 'https://github.com/mozilla-ai/llamafile/blob/main/LICENSE', date },
  platforms: {
    value: [
      'linux-x64',
      'linux-arm64',
      'macos-arm64',
      'macos-x64',
      'windows-x64',
      'freebsd-x64',
      'netbsd-x64',
      'openbsd-x64',
    ],
    source: `${DOCS}/support.md`,
    date,
  },
  accelerators: { value: ['cpu', 'metal', 'cuda', 'rocm', 'vulkan'], source: `${DOCS}/support.md`, date },
  modelSizeLimit: {
    value: 'on Windows below 4 GiB with the model inside; any size with the weights beside it',
    source: 'https://github.com/mozilla-ai/llamafile/issues/257',
    date,
  },
  apiSurfaces: {
    value: [
      'HTTP: OpenAI chat, completions, responses, embeddings',
      'HTTP: Anthropic messages',
      'HTTP: its own, with token ids',
    ],
    source: `${DOCS}/api.md`,
    date,
  },
  // On Apple silicon the first start compiles its loader.
  needs: { value: [], source: PROJECT, date },
  takesHubId: { value: true, source: `${DOCS}/cli_arguments.md`, date },
};
