/** A hub server, an empty cache and small limits, for the tests of this folder. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach } from 'vitest';
import type { NetworkLimits } from '../../../src/models/hub/limits.ts';
import type { Hub } from '../../../src/models/hub/request.ts';
import { pullFromHub, type HubModel, type HubOptions } from '../../../src/models/sources/hub.ts';
import { HubServer } from '../../fixtures/hub/hub-server.ts';

/** Parts of a few kilobytes, so that small files have several. */
export const LIMITS: NetworkLimits = {
  headersMs: 2_000,
  stallMs: 200,
  stallBytes: 1_000,
  failuresMax: 3,
  backoffMs: 5,
  pauseMsMax: 300,
  connections: 4,
  partBytes: 10_000,
};

export interface HubBench {
  readonly server: HubServer;
  readonly cacheFolder: string;
  /** Lines that were shown. */
  readonly progress: string[];
  hub(more?: Partial<Hub['settings']>, limits?: Partial<NetworkLimits>): Hub;
  pull(spec: string, options?: Partial<HubOptions>): Promise<HubModel>;
}

/** A fresh one for every test of the file; call the result inside a test. */
export function useHub(): () => HubBench {
  let bench: HubBench | null = null;
  beforeEach(async () => {
    const server = await HubServer.start();
    const cacheFolder = await mkdtemp(join(tmpdir(), 'runoff-hub-'));
    const progress: string[] = [];
    const hub: HubBench['hub'] = (more = {}, limits = {}) => ({
      settings: {
        endpoint: server.endpoint,
        cacheFolder,
        token: null,
        tokenPlace: 'HF_TOKEN',
        offlineBecause: null,
        symlinks: true,
        ...more,
      },
      limits: { ...LIMITS, ...limits },
    });
    bench = {
      server,
      cacheFolder,
      progress,
      hub,
      pull: (spec, options = {}) =>
        pullFromHub(spec, { hub: hub(), onProgress: (text) => progress.push(text), ...options }),
    };
  });
  afterEach(async () => {
    await bench?.server.stop();
    if (bench !== null) await rm(bench.cacheFolder, { recursive: true, force: true });
  });
  return () => {
    if (bench === null) throw new TypeError('the hub is there inside tests only');
    return bench;
  };
}

/** Bytes that are nowhere the same, so that a range in the wrong place shows. */
export function bytes(length: number, seed = 1): Buffer {
  const out = Buffer.alloc(length);
  let state = seed;
  for (let i = 0; i < length; i += 1) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    out[i] = state >>> 16;
  }
  return out;
}
