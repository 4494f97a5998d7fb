import { describe, expect, test } from 'vitest';
import { renderCsv } from '../../src/report/csv.ts';
import { sample } from './fixtures/build.ts';
import { tie } from './fixtures/records.ts';

const rows = (text: string): string[][] =>
  text
    .split('\r\n')
    .slice(0, -1)
    .map((line) => line.split(','));

describe('csv report', () => {
  test('one row per measured sample, rejected blocks flagged', () => {
    const samples = [
      sample({ kind: 'warmup' }),
      sample({}),
      sample({ block: 1, attempt: 0, ttftMs: 2_000 }),
      sample({
        engine: 'llama-server',
        block: 1,
        attempt: 1,
        promptTokens: 5,
        generatedTokens: 16,
        cachedTokens: null,
      }),
    ];
    const text = renderCsv(tie, samples, { acceptedBlocks: new Set(['0/0', '1/1']) });
    expect(text.replaceAll('\r\n', '\n')).toMatchInlineSnapshot(`
      "run_id,model,format,quantisation,bits_per_weight,engine,engine_version,device,ranked,threads,prompt,block,attempt,iteration,accepted,prompt_tokens,cached_tokens,generated_tokens,generated_tokens_asked,prefill_tokens_per_s,decode_tokens_per_s,ttft_ms,request_ms,time_per_token_ms_mean,time_per_token_ms_p50,time_per_token_ms_p90,time_per_token_ms_p99,engine_prefill_ms,engine_decode_ms,events_per_token,engine_load_ms_mean,engine_memory_peak_bytes_mean,cpu,os,started_at,memory_bandwidth_bytes_per_s,bytes_per_token,decode_limit_tokens_per_s,decode_limit_share_mean,twin_of,retired_after_blocks
      2026-11-24-2359,SmolLM2-135M-Instruct,gguf,Q4_0,5.45,llama-cpp,1.2.3,cpu,true,4,standard,0,0,0,true,512,0,64,64,500,50,1024,2304,20,19.8,21.5,24.1235,1020.5,1270,1,412,296747008,AMD EPYC 7B13,Debian 12,2026-11-24T23:59:00.000Z,,,,,,
      2026-11-24-2359,SmolLM2-135M-Instruct,gguf,Q4_0,5.45,llama-cpp,1.2.3,cpu,true,4,standard,1,0,0,false,512,0,64,64,256,50,2000,2304,20,19.8,21.5,24.1235,1020.5,1270,1,412,296747008,AMD EPYC 7B13,Debian 12,2026-11-24T23:59:00.000Z,,,,,,
      2026-11-24-2359,SmolLM2-135M-Instruct,gguf,Q4_0,5.45,llama-server,1.2.3,cpu,true,4,standard,1,1,0,true,5,,16,64,,,1024,2304,20,19.8,21.5,24.1235,1020.5,1270,1,412,296747008,AMD EPYC 7B13,Debian 12,2026-11-24T23:59:00.000Z,,,,,,
      "
    `);
  });

  test('every record ends with CRLF and has every field', () => {
    const text = renderCsv(tie, [sample({}), sample({})]);
    expect(text.endsWith('\r\n')).toBe(true);
    expect(new Set(rows(text).map((row) => row.length)).size).toBe(1);
  });

  test('without the accepted blocks the column is empty, not a guess', () => {
    const [header = [], line = []] = rows(renderCsv(tie, [sample({})]));
    expect(line[header.indexOf('accepted')]).toBe('');
  });

  test.each([
    ['=1+1', "'=1+1"],
    ['+1', "'+1"],
    ['-1', "'-1"],
    ['@SUM(A1)', "'@SUM(A1)"],
    [' =1', "' =1"],
    ['plain', 'plain'],
    ['a"b', '"a""b"'],
    ['a\nb', '"a\nb"'],
  ])('text cell %j is written as %j', (prompt, cell) => {
    expect(renderCsv(tie, [sample({ prompt })])).toContain(`,4,${cell},0,0,0,`);
  });

  test('cached tokens do not count as prefill', () => {
    const [header = [], line = []] = rows(
      renderCsv(tie, [sample({ promptTokens: 512, cachedTokens: 256, ttftMs: 1_000 })]),
    );
    expect(line[header.indexOf('prefill_tokens_per_s')]).toBe('256');
  });
});
