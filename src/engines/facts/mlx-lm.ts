import type { ShippingFacts } from '../../core/shipping-facts.ts';

const date = '2026-11-25';
const PACKAGE = 'https://github.com/ml-explore/mlx-lm/blob/main/setup.py';
const PROJECT = 'https://github.com/ml-explore/mlx-lm/blob/main/README.md';
const SERVER = 'https://github.com/ml-explore/mlx-lm/blob/main/mlx_lm/SERVER.md';
/** What a release builds wheels for. */
const WHEELS = 'https://github.com/ml-explore/mlx/blob/main/.github/workflows/release.yml';
/** What MLX itself runs on, by backend. */
const INSTALL = 'https://ml-explore.github.io/mlx/build/html/install.html';

/** Of mlx-lm with MLX below it. */
export const shipping: ShippingFacts = {
  installSteps: {
    value: [
      'ship a Python of version 3.11 or newer',
      'pip install mlx-lm (Linux: with the extra cpu, cuda12 or cuda13)',
    ],
    source: PACKAGE,
    date,
  },
  license: { value: 'MIT', source: PACKAGE, date },
  // MLX's documentation names macOS and Linux only, but there are wheels for Windows, too.
  platforms: {
    value: ['macos-arm64', 'linux-x64', 'linux-arm64', 'windows-x64 (wheels, undocumented)'],
    source: WHEELS,
    date,
  },
  accelerators: { value: ['metal', 'cuda', 'cpu'], source: INSTALL, date },
  modelSizeLimit: {
    value: 'slow when the model is large next to the memory; macOS 15 or newer wires it',
    source: PROJECT,
    date,
  },
  apiSurfaces: {
    value: ['in-process (Python)', 'HTTP: OpenAI chat, completions (its own page advises against production use)'],
    source: SERVER,
    date,
  },
  needs: { value: ['python'], source: PACKAGE, date },
  takesHubId: { value: true, source: PROJECT, date },
};
