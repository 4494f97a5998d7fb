import { describe, expect, test } from 'vitest';
import { escapeMarkdown, renderMarkdown } from '../../src/report/markdown.ts';
import { tie, voided } from './fixtures/records.ts';

describe('markdown report', () => {
  test('a preliminary tie', () => {
    expect(renderMarkdown(tie)).toMatchInlineSnapshot(`
      "## PRELIMINARY: llama-cpp and llama-server are equally fast here: choose by other reasons.

      SmolLM2-135M-Instruct Q4\\_0, 64 tokens generated, 4 threads, AMD EPYC 7B13, Debian 12

      ### Results

      | Engine | Prompt | Prefill tok/s | Decode tok/s | First token | Request time (95% interval) | Load | Peak memory | Group |
      | :-- | :-- | --: | --: | --: | --: | --: | --: | :-- |
      | llama-cpp | standard | 498 | 88.0 | 1.03 s | 1.74 s (1.73-1.76) | 412 ms | 283 MiB | a |
      | llama-server | standard | 495 | 87.6 | 1.03 s | 1.75 s (1.74-1.77) | 412 ms | 283 MiB | a |

      Not ruled out as the fastest: llama-cpp, llama-server.<br>
      Group: engines that share a letter are equivalent, inside the 5% margin.

      ### Request time, standard, pair by pair

      - llama-cpp against llama-server: 1.00x (98% interval 0.98-1.03): PRELIMINARY, equivalent: no difference beyond the 5% margin

      Smallest detectable effect (80% power, 4 blocks): a difference of 2.1%, FASTER at 7.3%.

      ### Equal work

      - weights: **bit-identical**: fingerprint ffffffffffff in every format, 272 tensors
      - tokens: **equal**: every engine read the same prompt token ids
      - output: **equal count**: 64 tokens from every request
      - settings: **matched**: no difference found
      - computed: **as each engine does**: llama-cpp: 5.45 bits per weight, int8 activations, f16 KV; llama-server: 5.45 bits per weight, int8 activations, f16 KV

      ### Validity gates: 6 passed, 0 failed, 0 unknown

      ### Method and limits

      - 4 of 4 planned blocks accepted, 0 rejected. Looks planned before the run: after 4.
      - SmolLM2-135M is a demonstration model; it predicts nothing for larger ones.
      - Measured by runoff 0.1.0 on AMD EPYC 7B13, Debian 12.
      "
    `);
  });

  test('a failed gate, a missing engine and an unranked backend', () => {
    expect(renderMarkdown(voided)).toMatchInlineSnapshot(`
      "## The comparison is void: llama-server answered from its prompt cache.

      **FAILED: the run ended with an error; this is what it had.**

      SmolLM2-135M-Instruct Q4\\_0, 64 tokens generated, 4 threads, AMD EPYC 7B13, Debian 12

      ### Results

      | Engine | Prompt | Prefill tok/s | Decode tok/s | First token | Request time (95% interval) | Load | Peak memory | Group |
      | :-- | :-- | --: | --: | --: | --: | --: | --: | :-- |
      | llama-cpp | standard | 498 | 88.0 | 1.03 s | 1.74 s | 412 ms | 283 MiB | – |
      | llama-cpp | very-long | 401 | 60.0 | 10.2 s | 11.3 s |  |  |  |
      | llama-cpp | all prompts | – | – | – | 6.50 s |  |  |  |
      | llama-server | standard | 4,950 | 87.0 | 103 ms | 830 ms | 412 ms | 283 MiB | void |
      | llama-server | very-long | 40,100 | 60.0 | 102 ms | 1.16 s |  |  |  |
      | llama-server | all prompts | – | – | – | 995 ms |  |  |  |
      | mlx-lm | standard | 3.10\\* | 2.40\\* | 165 s\\* | 171 s\\* | 2.21 s | 1.31 GiB | unranked |
      | mlx-lm | very-long | – | – | – | not measured |  |  |  |

      void: llama-server failed a validity gate; its numbers do not describe the work that was asked for<br>
      \\* mlx-lm, standard: 16 of 64 tokens generated; shown, not compared<br>
      unranked: mlx-lm is a reference backend (MLX has no fast CPU kernels on Linux)

      ### Request time, all prompts, pair by pair

      - llama-cpp against llama-server: VOID: a validity gate failed. llama-server failed the gate prompt-cache.
      - llama-cpp against mlx-lm: not compared

      ### Equal work

      - weights: **UNPROVEN**: llama-server did not say which file it loaded
      - tokens: **equal**: the same token ids
      - output: **DIFFERENT**: mlx-lm generated 16 of 64 tokens
      - settings: **as shipped (they differ)**: mlx-lm: batchTokens not settable; llama-server: threads 8, asked 4

      ### Validity gates: 1 passed, 1 failed, 1 unknown

      - **FAILED** llama-server prompt-cache: 510 of 512 prompt tokens came from the cache Remedy: Start it with --cache-ram 0, or let runoff start it.
      - unknown: mlx-lm truncation: the engine gives no log-probabilities

      ### Not measured

      - llamafile, all prompts: not found on PATH Next: runoff setup --engine llamafile
      - mlx-lm, very-long: would take more than the budget (est. 23.0 min)

      ### Method and limits

      - 2 of 12 planned blocks accepted, 0 rejected. Looks planned before the run: after 2.
      - SmolLM2-135M is a demonstration model; it predicts nothing for larger ones.
      - Measured by runoff 0.1.0 on AMD EPYC 7B13, Debian 12.
      "
    `);
  });

  test('markup in a record is text', () => {
    expect(escapeMarkdown('a|b <img src=x> [c](d) `e` *f*')).toBe(String.raw`a\|b \<img src=x\> \[c\](d) \`e\` \*f\*`);
  });

  test('line breaks in a record cannot start a new block', () => {
    const record = { ...tie, warnings: [{ code: 'x', engine: null, message: 'one\n\n# two', hint: null }] };
    expect(renderMarkdown(record)).toContain(String.raw`- one \# two`);
  });
});
