import type { ShippingFacts } from '../../core/shipping-facts.ts';

const date = '2026-11-25';
const DOCS = 'https://github.com/ollama/ollama/blob/main/docs';

/** Of Ollama as its installers and archives ship it. */
export const shipping: ShippingFacts = {
  installSteps: {
    value: [
      'have the user install Ollama, or ship its archive (some GB with all GPU libraries) beside the application',
      'start ollama serve, or find the server that runs',
      'make the model there: ollama pull NAME, or ollama create from a GGUF file',
    ],
    source: `${DOCS}/linux.mdx`,
    date,
  },
  license: { value: 'MIT', source: 'https://github.com/ollama/ollama/blob/main/LICENSE', date },
  platforms: {
    value: ['linux-x64', 'linux-arm64', 'macos-arm64', 'macos-x64', 'windows-x64', 'windows-arm64'],
    source: 'https://github.com/ollama/ollama/blob/main/.github/workflows/release.yaml',
    date,
  },
  accelerators: { value: ['cpu', 'metal', 'cuda', 'rocm', 'vulkan'], source: `${DOCS}/gpu.mdx`, date },
  // A model larger than the GPU's memory is split between it and the CPU.
  modelSizeLimit: { value: null, source: `${DOCS}/faq.mdx`, date },
  apiSurfaces: {
    value: [
      'HTTP: its own, with text',
      'HTTP: OpenAI chat, completions, responses, embeddings',
      'HTTP: Anthropic messages',
    ],
    source: 'https://github.com/ollama/ollama/blob/main/server/routes.go',
    date,
  },
  needs: { value: ['service'], source: `${DOCS}/faq.mdx`, date },
  takesHubId: { value: true, source: `${DOCS}/api.md`, date },
};
