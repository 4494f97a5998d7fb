import type { ShippingFacts } from '../../core/shipping-facts.ts';

const date = '2026-11-25';
/** Licence, Node.js version and the optional packages that hold the binaries stand in its package.json. */
const PACKAGE = 'https://github.com/withcatai/node-llama-cpp/blob/v3.21.1/package.json';
const GUIDE = 'https://github.com/withcatai/node-llama-cpp/blob/master/docs/guide/index.md';
const DOWNLOADING = 'https://github.com/withcatai/node-llama-cpp/blob/master/docs/guide/downloading-models.md';

/** Of node-llama-cpp, the binding that runs llama.cpp inside a Node.js or Electron application. */
export const shipping: ShippingFacts = {
  installSteps: {
    value: ['npm install node-llama-cpp', 'import { getLlama } from "node-llama-cpp" (an ES module)'],
    source: GUIDE,
    date,
  },
  license: { value: 'MIT', source: PACKAGE, date },
  platforms: {
    value: [
      'linux-x64',
      'linux-arm64',
      'linux-armv7',
      'linux-riscv64',
      'macos-arm64',
      'macos-x64',
      'windows-x64',
      'windows-arm64',
    ],
    source: PACKAGE,
    date,
  },
  accelerators: { value: ['cpu', 'metal', 'cuda', 'vulkan'], source: GUIDE, date },
  // The guide names no limit; a model in several files is loaded by its first.
  modelSizeLimit: { value: null, source: DOWNLOADING, date },
  apiSurfaces: { value: ['in-process (JavaScript, TypeScript)'], source: GUIDE, date },
  needs: { value: ['node'], source: PACKAGE, date },
  takesHubId: { value: true, source: DOWNLOADING, date },
};
