// runoff's own worker and a plain node-llama-cpp loop in one process, on one context: what differs is the loop alone.
// argv: environment folder, runoff's worker. Requests with the method "bare" are answered here, all others there.
import { writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { PassThrough } from 'node:stream';
import { pathToFileURL } from 'node:url';

const [root, worker] = process.argv.slice(2);
const { LlamaContext, TokenBias } = await import(
  pathToFileURL(createRequire(join(root, 'package.json')).resolve('node-llama-cpp')).href
);
let sequence;
const { getSequence } = LlamaContext.prototype;
LlamaContext.prototype.getSequence = function (...args) {
  return (sequence = getSequence.apply(this, args));
};

const forWorker = new PassThrough();
const lines = createInterface({ input: process.stdin });
lines.on('line', async (line) => {
  const { id, method, params } = JSON.parse(line);
  if (method === 'bare') writeSync(3, `${JSON.stringify({ id, result: await bare(params) })}\n`);
  else forWorker.write(`${line}\n`);
});
lines.on('close', () => forWorker.end());
Object.defineProperty(process, 'stdin', { value: forWorker });
await import(pathToFileURL(worker).href);

async function bare({ prompt, generateTokens, bannedTokens }) {
  await sequence.clearHistory();
  const bias = new TokenBias(sequence.model.tokenizer);
  for (const token of bannedTokens) bias._biases.set(token, -Infinity);
  const times = [];
  const started = performance.now();
  for await (const _ of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true, tokenBias: bias })) {
    if (times.push(performance.now() - started) >= generateTokens) break;
  }
  return times;
}
