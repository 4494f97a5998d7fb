import type { AvailableEngine, Detection, EnvironmentLocator } from '../../core/engine.ts';

export type ReadyEnvironment = Extract<Awaited<ReturnType<EnvironmentLocator['inspect']>>, { state: 'ready' }>;

/** Detection of an engine that a managed environment provides: ready, to be installed, or impossible with the reason. */
export async function detectManaged(
  environments: EnvironmentLocator,
  id: string,
  whenReady: (ready: ReadyEnvironment) => AvailableEngine | Promise<AvailableEngine>,
): Promise<Detection> {
  const environment = await environments.inspect(id);
  switch (environment.state) {
    case 'ready':
      return whenReady(environment);
    case 'impossible':
      return { state: 'unavailable', reason: environment.reason, nextStep: environment.nextStep };
    case 'absent':
    case 'broken':
      return { ...environment, state: 'installable' };
  }
}
