// The same engine without runoff: a plain node-llama-cpp loop. argv: environment folder, JSON of the ask.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [root, json] = process.argv.slice(2);
const ask = JSON.parse(json);
const { getLlama, TokenBias } = await import(
  pathToFileURL(createRequire(join(root, 'package.json')).resolve('node-llama-cpp')).href
);
const llama = await getLlama({
  gpu: false,
  build: 'never',
  maxThreads: ask.threads,
  logLevel: 'warn',
  progressLogs: false,
});
const model = await llama.loadModel({ modelPath: ask.modelPath, gpuLayers: 0 });
const context = await model.createContext({
  contextSize: ask.contextTokens,
  batchSize: 512,
  threads: ask.threads,
  flashAttention: true,
});
const sequence = context.getSequence();
const bias = new TokenBias(model.tokenizer);
for (const token of ask.bannedTokens) bias._biases.set(token, -Infinity);
const answers = [];
for (const prompt of ask.prompts) {
  await sequence.clearHistory();
  const times = [];
  const started = performance.now();
  for await (const _ of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true, tokenBias: bias })) {
    if (times.push(performance.now() - started) >= ask.generateTokens) break;
  }
  answers.push(times);
}
console.log(JSON.stringify(answers));
process.exit(0);
