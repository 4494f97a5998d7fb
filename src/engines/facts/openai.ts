import type { ShippingFacts } from '../../core/shipping-facts.ts';

const date = '2026-11-25';
/** The API; which server is behind it, and what that one takes, cannot be known from here. */
const API = 'https://platform.openai.com/docs/api-reference/completions';

/** Of a server that only its API is known of: what it takes to ship it depends on the server. */
export const shipping: ShippingFacts = {
  installSteps: {
    value: ['depends on the server behind the address', 'call POST /completions of it'],
    source: API,
    date,
  },
  license: { value: 'NOASSERTION', source: 'https://spdx.github.io/spdx-spec/v2.3/package-information/', date },
  platforms: { value: [], source: API, date },
  accelerators: { value: [], source: API, date },
  // Not known: the API says nothing about the size of models.
  modelSizeLimit: { value: 'depends on the server', source: API, date },
  apiSurfaces: { value: ['HTTP: OpenAI completions'], source: API, date },
  needs: { value: ['service'], source: API, date },
  // The API names a model that the server has.
  takesHubId: { value: false, source: API, date },
};
