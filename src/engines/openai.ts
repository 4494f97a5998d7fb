import { AppError, messageOf } from '../core/errors.ts';
import type { Detection, Engine } from '../core/engine.ts';
import { shipping } from './facts/openai.ts';
import { parseAddress } from './shared/openai-address.ts';
import { connectOpenAi, findModel, hasCompletions, shortened, withKeyHint } from './shared/openai-session.ts';
import type { ServedModel } from './shared/openai-session.ts';

/** A server that runs answers its list of models in milliseconds, one across a network in a second. */
const ANSWER_TIMEOUT_MS = 5_000;
const SYNTAX = '--engine openai=http://127.0.0.1:1234/v1, or openai=URL#MODEL for one of several models';

const NEXT_STEP = `Start the server, and give the address that ends before /completions: ${SYNTAX}. A server that lists no models wants one named (mlx_lm.server: #default_model).`;

/** llama.cpp's server says so while it loads a model. */
const BUSY = 'The server runs and is not ready: wait until its model is loaded, and run again.';

/** Any running server with the OpenAI completions API, by its address. Nothing is started, changed or stopped. */
export const engine: Engine = {
  id: 'openai',
  title: 'Running server with the OpenAI API (text completions)',
  modelFormat: 'served',
  environment: null,
  capabilities: { tokenIds: false, engineTimings: false, cachedTokenCount: true, logprobs: true, settings: [] },
  shipping,

  async detect(host): Promise<Detection> {
    if (host.enginePath === null) {
      return { state: 'unavailable', reason: 'it needs the address of a server', nextStep: `Give it: ${SYNTAX}.` };
    }
    return detectServer(host.enginePath);
  },

  launchPlan: () => null,

  connect: connectOpenAi,
};

async function detectServer(given: string): Promise<Detection> {
  const address = parseAddress(given);
  if (address === null) {
    return {
      state: 'unavailable',
      reason: 'what it was given is no plain http or https address of a server',
      nextStep: `Give it without password and query: ${SYNTAX}.`,
    };
  }
  const { base } = address;
  try {
    const model = await findModel(address, ANSWER_TIMEOUT_MS);
    return (await hasCompletions(base, ANSWER_TIMEOUT_MS)) ? describeServer(base, model) : noCompletions(base);
  } catch (cause) {
    const error = withKeyHint(cause);
    const { hint, context } = error instanceof AppError ? error : { hint: undefined, context: {} };
    const nextStep = hint ?? ('status' in context && context['status'] === 503 ? BUSY : NEXT_STEP);
    return { state: 'unavailable', reason: messageOf(error), nextStep };
  }
}

function noCompletions(base: string): Detection {
  return {
    state: 'unavailable',
    reason: `${base} has no /completions: its chat endpoint puts a template around the prompt, which is other work`,
    nextStep: 'Use a server with text completions, or the engine that is inside it.',
  };
}

/** Pure: what is known of a server that answers. */
export function describeServer(base: string, { id, owned_by: owner, meta }: ServedModel): Detection {
  const told = (text: string | null | undefined, before: string): string =>
    text === null || text === undefined || text === '' ? '' : `${before}${shortened(text)}`;
  return {
    state: 'available',
    build: {
      version: `running server${told(owner, ' of ')}, model ${nameOf(id)}${told(meta?.ftype, ', ')}`,
      library: null,
      openMp: null,
      instructionSets: null,
    },
    device: 'unknown',
    location: `${base}#${id}`,
    variant: 'running',
    referenceBackend: null,
    runningInstance: true,
    servedModel: nameOf(id),
  };
}

/** llama.cpp's server and mlx_lm.server call a model by its whole path. */
function nameOf(id: string): string {
  const isPath = /^(\/|[A-Za-z]:\\)/.test(id);
  return shortened(isPath ? (id.split(/[\\/]/).findLast((part) => part !== '') ?? id) : id);
}
