// Raw HTTP to a running llama.cpp server, nothing of runoff in between. argv: port, JSON of the ask.
import { connect } from 'node:net';

const [port, json] = process.argv.slice(2);
const ask = JSON.parse(json);
const answers = [];
for (const prompt of ask.prompts) {
  const body = JSON.stringify({
    prompt,
    n_predict: ask.generateTokens,
    stream: true,
    return_tokens: true,
    cache_prompt: false,
    ignore_eos: true,
    temperature: 0,
    top_k: 1,
    repeat_penalty: 1,
    samplers: ['top_k', 'temperature'],
    logit_bias: ask.bannedTokens.map((token) => [token, false]),
  });
  const head = `POST /completion HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n`;
  answers.push(
    await new Promise((resolve, reject) => {
      const times = [];
      const started = performance.now();
      const socket = connect(Number(port), '127.0.0.1', () => socket.write(head + body));
      socket.setNoDelay(true);
      socket.on('data', (bytes) => {
        const at = performance.now() - started;
        const events =
          bytes.toString('latin1').match(/data: \{"index":0,"content":"(?:[^"\\]|\\.)*","tokens":\[\d/g) ?? [];
        for (const _ of events) times.push(at);
      });
      socket.on('end', () => resolve(times));
      socket.on('error', reject);
    }),
  );
}
console.log(JSON.stringify(answers));
