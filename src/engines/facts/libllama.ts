import type { ShippingFacts } from '../../core/shipping-facts.ts';

const date = '2026-11-25';
const BUILD = 'https://github.com/ggml-org/llama.cpp/blob/master/docs/build.md';
/** A release lists one archive per platform and accelerator; each holds the shared libraries. */
const RELEASE = 'https://github.com/ggml-org/llama.cpp/releases/tag/b11429';
const PROJECT = 'https://github.com/ggml-org/llama.cpp/blob/master/README.md';
const HEADER = 'https://github.com/ggml-org/llama.cpp/blob/master/include/llama.h';

/** Of llama.cpp's C library as an application links it; runoff calls it through Python only to measure it. */
export const shipping: ShippingFacts = {
  installSteps: {
    value: [
      'git clone https://github.com/ggml-org/llama.cpp',
      'cmake -B build && cmake --build build --config Release',
      'link libllama and the ggml libraries, and include llama.h',
    ],
    source: BUILD,
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
  apiSurfaces: { value: ['in-process (C)'], source: HEADER, date },
  needs: { value: ['compiler'], source: BUILD, date },
  // Its functions take paths of files.
  takesHubId: { value: false, source: HEADER, date },
};
