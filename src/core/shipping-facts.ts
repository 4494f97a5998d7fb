/** What it takes to ship an engine inside an application, as data: every fact with where it comes from. Types only. */

/** `source`: a page or file that anybody can look up; `date`: when it was looked up, YYYY-MM-DD. */
export interface Fact<T> {
  readonly value: T;
  readonly source: string;
  readonly date: string;
}

export interface ShippingFacts {
  /** What a developer does to have it in the application, in order, one command or action each. */
  readonly installSteps: Fact<readonly string[]>;
  /** SPDX expression of the engine. */
  readonly license: Fact<string>;
  /** e.g. `linux-x64`, `macos-arm64`, `windows-x64`. */
  readonly platforms: Fact<readonly string[]>;
  /** e.g. `cpu`, `metal`, `cuda`, `vulkan`, `rocm`. */
  readonly accelerators: Fact<readonly string[]>;
  /** In words, e.g. `4 GiB in one executable on Windows`; null: none beyond memory. */
  readonly modelSizeLimit: Fact<string | null>;
  /** e.g. `in-process (JavaScript)`, `HTTP: OpenAI chat, completions`. */
  readonly apiSurfaces: Fact<readonly string[]>;
  /** What must be on the END USER's machine or in the build: `node`, `python`, `compiler`, `service`; empty: nothing. */
  readonly needs: Fact<readonly ('node' | 'python' | 'compiler' | 'service')[]>;
  /** Downloads a model by a hub id by itself. */
  readonly takesHubId: Fact<boolean>;
}
