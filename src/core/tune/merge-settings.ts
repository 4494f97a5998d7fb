import type { EngineSettings } from '../engine.ts';

/** As a schema reads them: a missing field may also be there and undefined. */
export type OwnSettings = { readonly [Name in keyof EngineSettings]?: EngineSettings[Name] | undefined };

/** The common settings with an engine's own in place of them. */
export function mergeSettings(common: EngineSettings, own: OwnSettings | undefined): EngineSettings {
  const given = Object.entries(own ?? {}).filter(([, value]) => value !== undefined);
  return { ...common, ...Object.fromEntries(given) };
}
