import { describe, expect, test } from 'vitest';
import { renderTerminal } from '../../src/report/terminal.ts';
import { buildRecord } from './fixtures/build.ts';
import { noisy, tie, voided, winner } from './fixtures/records.ts';

const PLAIN = { color: false, width: 100 };
const longestLine = (text: string): number => Math.max(...text.split('\n').map((line) => Array.from(line).length));

describe('terminal report', () => {
  test('a winner', () => {
    expect(renderTerminal(winner, PLAIN)).toMatchInlineSnapshot(`
      "llama-cpp and llama-cpp-fork are faster than llama-server on this machine, by 30% (1.27–1.33×) over
      all prompts.
      Why: llama-server reads prompts at 402 tok/s, llama-cpp at 531: its build was compiled without AVX2.
      SmolLM2-135M-Instruct Q4_0, 64 tokens generated, 4 threads, AMD EPYC 7B13, Debian 12

      engine          prompt     prefill  decode    first  request  95%          load   memory  group
                                   tok/s   tok/s    token     time  interval              peak
      llama-cpp       short            –     118  22.0 ms   1.08 s  1.07-1.09  298 ms  283 MiB  a
      llama-cpp       long           655    99.7   1.83 s   3.09 s  3.05-3.13
      llama-cpp       very-long      531    74.4   7.71 s   9.40 s  9.29-9.51
      llama-cpp       all              –       –        –   4.52 s  4.47-4.58
      llama-cpp-fork  short            –     117  22.4 ms   1.09 s  1.08-1.10  304 ms  284 MiB  a
      llama-cpp-fork  long           649    99.1   1.85 s   3.12 s  3.08-3.16
      llama-cpp-fork  very-long      535    74.1   7.66 s   9.36 s  9.25-9.47
      llama-cpp-fork  all              –       –        –   4.52 s  4.47-4.58
      llama-server    short            –    94.1  31.0 ms   1.37 s  1.35-1.39  633 ms  301 MiB  b
      llama-server    long           501    80.2   2.40 s   3.96 s  3.91-4.01
      llama-server    very-long      402    61.3   10.2 s   12.2 s  12.1-12.4
      llama-server    all              –       –        –   5.86 s  5.79-5.93
      Not ruled out as the fastest: llama-cpp, llama-cpp-fork.
      Group: engines that share a letter are equivalent, inside the 5% margin.

      Request time, all prompts, pair by pair
      - llama-cpp is 1.30x as fast as llama-server (98% interval 1.27-1.33): faster, by more than the 5%
        margin
      - llama-cpp-fork is 1.29x as fast as llama-server (98% interval 1.26-1.32): faster, by more than the
        5% margin
      - llama-cpp against llama-cpp-fork: 1.00x (98% interval 0.98-1.02): equivalent: no difference beyond
        the 5% margin
      Smallest detectable effect (80% power, 12 blocks): a difference of 2.1%, FASTER at 7.3%.

      Equal work
      weights   bit-identical: fingerprint ffffffffffff in every format, 272 tensors
      tokens    equal: every engine read the same prompt token ids
      output    equal count: 64 tokens from every request
      settings  matched: no difference found
      computed  as each engine does: llama-server: 5.45 bits per weight, int8 activations, f16 KV;
                llama-cpp: 5.45 bits per weight, int8 activations, f16 KV; llama-cpp-fork: 5.45 bits per
                weight, int8 activations, f16 KV

      Validity gates: 9 passed, 0 failed, 0 unknown

      Warnings
      - llama-server: events carried 1.06 tokens each: token times are chunk-level

      12 of 12 planned blocks accepted, 1 rejected. Looks planned before the run: after 6, 12.
      Note: SmolLM2-135M is a demonstration model; it predicts nothing for larger ones.
      "
    `);
  });

  test('a preliminary tie', () => {
    expect(renderTerminal(tie, PLAIN)).toMatchInlineSnapshot(`
      "PRELIMINARY: llama-cpp and llama-server are equally fast here: choose by other reasons.
      SmolLM2-135M-Instruct Q4_0, 64 tokens generated, 4 threads, AMD EPYC 7B13, Debian 12

      engine        prompt    prefill  decode   first  request  95%          load   memory  group
                                tok/s   tok/s   token     time  interval              peak
      llama-cpp     standard      498    88.0  1.03 s   1.74 s  1.73-1.76  412 ms  283 MiB  a
      llama-server  standard      495    87.6  1.03 s   1.75 s  1.74-1.77  412 ms  283 MiB  a
      Not ruled out as the fastest: llama-cpp, llama-server.
      Group: engines that share a letter are equivalent, inside the 5% margin.

      Request time, standard, pair by pair
      - llama-cpp against llama-server: 1.00x (98% interval 0.98-1.03): PRELIMINARY, equivalent: no
        difference beyond the 5% margin
      Smallest detectable effect (80% power, 4 blocks): a difference of 2.1%, FASTER at 7.3%.

      Equal work
      weights   bit-identical: fingerprint ffffffffffff in every format, 272 tensors
      tokens    equal: every engine read the same prompt token ids
      output    equal count: 64 tokens from every request
      settings  matched: no difference found
      computed  as each engine does: llama-cpp: 5.45 bits per weight, int8 activations, f16 KV;
                llama-server: 5.45 bits per weight, int8 activations, f16 KV

      Validity gates: 6 passed, 0 failed, 0 unknown

      4 of 4 planned blocks accepted, 0 rejected. Looks planned before the run: after 4.
      Note: SmolLM2-135M is a demonstration model; it predicts nothing for larger ones.
      "
    `);
  });

  test('a noisy run names no winner', () => {
    expect(renderTerminal(noisy, PLAIN)).toMatchInlineSnapshot(`
      "NOISY: No verdict: other programs used the processor in 6 of 12 blocks.
      INTERRUPTED: the run stopped before its plan was done; this is what it had.
      SmolLM2-135M-Instruct Q4_0, 64 tokens generated, 4 threads, AMD EPYC 7B13, Debian 12

      engine        prompt    prefill  decode   first  request  95%          load   memory  group
                                tok/s   tok/s   token     time  interval              peak
      llama-cpp     standard      310    51.0  1.65 s   2.88 s  2.32-3.57  412 ms  283 MiB  –
      llama-server  standard      355    57.0  1.44 s   2.54 s  2.05-3.15  412 ms  283 MiB  –
      Unknown: llama-server and llama-cpp.

      Request time, standard, pair by pair
      - llama-server against llama-cpp: 1.14x (98% interval 0.78-1.64): NOISY: the machine was too busy to
        tell
        6 of 12 blocks were disturbed: foreign CPU 31% (limit 5%).
      Smallest detectable effect (80% power, 6 blocks): a difference of 44%, FASTER at a factor of 2.31.

      Equal work
      weights   bit-identical: fingerprint ffffffffffff in every format, 272 tensors
      tokens    equal: every engine read the same prompt token ids
      output    equal count: 64 tokens from every request
      settings  matched: no difference found
      computed  as each engine does: llama-cpp: 5.45 bits per weight, int8 activations, f16 KV;
                llama-server: 5.45 bits per weight, int8 activations, f16 KV

      Validity gates: 6 passed, 0 failed, 0 unknown

      Warnings
      - other programs used up to 31% of the processor
        Close them, or run on an idle machine.

      6 of 12 planned blocks accepted, 6 rejected. Looks planned before the run: after 6.
      Note: SmolLM2-135M is a demonstration model; it predicts nothing for larger ones.
      "
    `);
  });

  test('a failed gate, a missing engine and an unranked backend', () => {
    expect(renderTerminal(voided, PLAIN)).toMatchInlineSnapshot(`
      "The comparison is void: llama-server answered from its prompt cache.
      FAILED: the run ended with an error; this is what it had.
      SmolLM2-135M-Instruct Q4_0, 64 tokens generated, 4 threads, AMD EPYC 7B13, Debian 12

      engine        prompt     prefill  decode   first  request  95%             load    memory  group
                                 tok/s   tok/s   token     time  interval                  peak
      llama-cpp     standard       498    88.0  1.03 s   1.74 s  –             412 ms   283 MiB  –
      llama-cpp     very-long      401    60.0  10.2 s   11.3 s  –
      llama-cpp     all              –       –       –   6.50 s  –
      llama-server  standard     4,950    87.0  103 ms   830 ms  –             412 ms   283 MiB  void
      llama-server  very-long   40,100    60.0  102 ms   1.16 s  –
      llama-server  all              –       –       –   995 ms  –
      mlx-lm        standard     3.10*   2.40*  165 s*   171 s*  –             2.21 s  1.31 GiB  unranked
      mlx-lm        very-long        –       –       –        –  not measured
      void: llama-server failed a validity gate; its numbers do not describe the work that was asked for
      * mlx-lm, standard: 16 of 64 tokens generated; shown, not compared
      unranked: mlx-lm is a reference backend (MLX has no fast CPU kernels on Linux)

      Request time, all prompts, pair by pair
      - llama-cpp against llama-server: VOID: a validity gate failed
        llama-server failed the gate prompt-cache.
      - llama-cpp against mlx-lm: not compared

      Equal work
      weights   UNPROVEN: llama-server did not say which file it loaded
      tokens    equal: the same token ids
      output    DIFFERENT: mlx-lm generated 16 of 64 tokens
      settings  as shipped (they differ): mlx-lm: batchTokens not settable; llama-server: threads 8, asked
                4

      Validity gates: 1 passed, 1 failed, 1 unknown
      FAILED llama-server prompt-cache: 510 of 512 prompt tokens came from the cache
        Remedy: Start it with --cache-ram 0, or let runoff start it.
      Unknown: mlx-lm truncation

      Not measured
      - llamafile, all prompts: not found on PATH
        Next: runoff setup --engine llamafile
      - mlx-lm, very-long: would take more than the budget (est. 23.0 min)

      2 of 12 planned blocks accepted, 0 rejected. Looks planned before the run: after 2.
      Note: SmolLM2-135M is a demonstration model; it predicts nothing for larger ones.
      "
    `);
  });

  test.each([100, 80])('fits %i columns', (width) => {
    for (const record of [winner, tie, noisy, voided])
      expect(longestLine(renderTerminal(record, { color: false, width }))).toBeLessThanOrEqual(width);
  });

  test('a wide terminal does not make long lines', () => {
    expect(longestLine(renderTerminal(winner, { color: false, width: 240 }))).toBeLessThanOrEqual(100);
  });

  test('80 columns keep load and memory, below the table', () => {
    expect(renderTerminal(tie, { color: false, width: 80 })).toContain('llama-cpp: load 412 ms, peak memory 283 MiB');
  });

  test('long engine names are shortened in the table only', () => {
    const id = 'a-very-long-engine-name-that-somebody-chose-for-good-reasons';
    const record = buildRecord({
      prompts: [{ name: 'standard', tokenCount: 512 }],
      blockCount: 6,
      spread: 0.01,
      engines: [{ id, speeds: { standard: { prefill: 1, decode: 1, ttftMs: 1, requestMs: 1 } } }],
      verdict: { state: 'single-engine', headline: 'One engine ran.' },
    });
    const text = renderTerminal(record, { color: false, width: 80 });
    expect(longestLine(text.split('\n\n')[1] ?? '')).toBeLessThanOrEqual(100);
    expect(text).toContain('a-very-long-engine-n');
    expect(text).toContain('…');
    expect(text).toContain(`${id}: load`);
  });

  test('colours only when asked', () => {
    expect(renderTerminal(winner, PLAIN)).not.toContain('\u001B');
    const coloured = renderTerminal(winner, { color: true, width: 100 });
    expect(coloured).toContain('\u001B[1m');
    // oxlint-disable-next-line no-control-regex -- the escape character is what is looked for.
    expect(coloured.replaceAll(/\u001B\[\d+m/g, '')).toBe(renderTerminal(winner, PLAIN));
  });

  test('escape sequences of a record do not reach the terminal', () => {
    const record = { ...tie, verdict: { ...tie.verdict, headline: 'fast\u001B[2J\u202Eer\nthan' } };
    expect(renderTerminal(record, PLAIN).split('\n')[0]).toBe('PRELIMINARY: fast [2J er than');
  });
});
