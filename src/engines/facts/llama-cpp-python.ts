import type { ShippingFacts } from '../../core/shipping-facts.ts';

const date = '2026-11-25';
/** The project's page: requirements, installation per accelerator, its APIs. */
const PACKAGE = 'https://github.com/abetlen/llama-cpp-python/blob/main/README.md';
/** What the project builds and tests wheels for, on an index of its own; PyPI has the source only. */
const WHEELS = 'https://github.com/abetlen/llama-cpp-python/blob/main/.github/workflows/build-and-release.yaml';

/** Of llama-cpp-python as a Python application ships it. */
export const shipping: ShippingFacts = {
  installSteps: {
    value: [
      'pip install llama-cpp-python (compiles llama.cpp: a C++ compiler and minutes on every machine that installs it)',
      "or a wheel from the project's own index: --extra-index-url https://abetlen.github.io/llama-cpp-python/whl/cpu",
      'from llama_cpp import Llama',
    ],
    source: PACKAGE,
    date,
  },
  license: { value: 'MIT', source: PACKAGE, date },
  platforms: {
    value: ['linux-x64', 'linux-arm64', 'linux-riscv64', 'macos-arm64', 'windows-x64'],
    source: WHEELS,
    date,
  },
  accelerators: { value: ['cpu', 'metal', 'cuda', 'vulkan', 'rocm', 'sycl'], source: PACKAGE, date },
  // The page names no limit.
  modelSizeLimit: { value: null, source: PACKAGE, date },
  apiSurfaces: {
    value: ['in-process (Python)', 'HTTP: OpenAI chat, completions, embeddings (python -m llama_cpp.server)'],
    source: PACKAGE,
    date,
  },
  needs: { value: ['python', 'compiler'], source: PACKAGE, date },
  takesHubId: { value: true, source: PACKAGE, date },
};
