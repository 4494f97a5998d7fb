// Raw HTTP over a socket to a running llama.cpp server, nothing of runoff in between.
import { connect } from 'node:net';

const TOKEN_EVENT = /data: \{"index":0,"content":"(?:[^"\\]|\\.)*","tokens":\[\d/g;

/** Times of the tokens, ms since the request. */
export function askRaw(port, { prompt, generateTokens, bannedTokens }) {
  const body = JSON.stringify({
    prompt,
    n_predict: generateTokens,
    stream: true,
    return_tokens: true,
    cache_prompt: false,
    ignore_eos: true,
    temperature: 0,
    top_k: 1,
    repeat_penalty: 1,
    samplers: ['top_k', 'temperature'],
    logit_bias: bannedTokens.map((token) => [token, false]),
  });
  const head = `POST /completion HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n`;
  return new Promise((resolve, reject) => {
    const times = [];
    const started = performance.now();
    const socket = connect(port, '127.0.0.1', () => socket.write(head + body));
    socket.setNoDelay(true);
    socket.on('data', (bytes) => {
      const at = performance.now() - started;
      for (const _ of bytes.toString('latin1').matchAll(TOKEN_EVENT)) times.push(at);
    });
    socket.on('end', () => resolve(times));
    socket.on('error', reject);
  });
}
