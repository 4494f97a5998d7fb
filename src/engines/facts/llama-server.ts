import type { ShippingFacts } from '../../core/shipping-facts.ts';

const date = '2026-11-25';
/** A release lists one archive per platform and accelerator. */
const RELEASE = 'https://github.com/ggml-org/llama.cpp/releases/tag/b11429';
const PROJECT = 'https://github.com/ggml-org/llama.cpp/blob/master/README.md';
const SERVER = 'https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md';

/** Of llama.cpp's own server as its releases ship it; the wheel that runoff brings holds the same server for Python. */
export const shipping: ShippingFacts = {
  installSteps: {
    value: [
      'take the archive of the platform from github.com/ggml-org/llama.cpp/releases',
      'ship llama-server with the libraries beside it, and start it as a child process',
    ],
    source: PROJECT,
    date,
  },
  license: { value: 'MIT', source: PROJECT, date },
  platforms: {
    value: ['linux-x64', 'linux-arm64', 'linux-s390x', 'macos-arm64', 'macos-x64', 'windows-x64', 'windows-arm64'],
    source: RELEASE,
    date,
  },
  accelerators: { value: ['cpu', 'metal', 'cuda', 'vulkan', 'rocm', 'sycl', 'openvino'], source: RELEASE, date },
  // Models larger than the GPU's memory are split between it and the CPU.
  modelSizeLimit: { value: null, source: PROJECT, date },
  apiSurfaces: {
    value: [
      'HTTP: OpenAI chat, completions, responses, embeddings',
      'HTTP: Anthropic messages',
      'HTTP: its own, with token ids',
    ],
    source: SERVER,
    date,
  },
  needs: { value: [], source: PROJECT, date },
  takesHubId: { value: true, source: SERVER, date },
};
