/** What the hub's statuses and error codes mean, and what to do about each. */
import { AppError, type ErrorCode } from '../../core/errors.ts';
import type { HubSettings } from './settings.ts';

/** Of what a server says about itself in our message. */
const TEXT_CHARACTERS_MAX = 200;
/** Where `what` names a file, the repository is the part before. */
const REPO = /^(?:datasets\/)?[\w.-]+(?:\/[\w.-]+)?/;

/** An answer that is not a success, as an error. The body is dropped: it may be a page. */
export async function refusal(
  response: Response,
  { what, settings }: { what: string; settings: HubSettings },
): Promise<AppError> {
  await response.body?.cancel();
  const { status, headers } = response;
  const code = headers.get('x-error-code') ?? '';
  const said = (headers.get('x-error-message') ?? '').replaceAll(/[^\x20-\x7E]/g, ' ').slice(0, TEXT_CHARACTERS_MAX);
  const { endpoint, token, tokenPlace } = settings;
  const page = `${endpoint}/${REPO.exec(what)?.[0] ?? ''}`;
  const fail = (kind: ErrorCode, message: string, hint: string): AppError =>
    new AppError(kind, `${what}: ${message}`, { hint, context: { status, code, said } });
  if (code === 'GatedRepo') return gated(fail, { page, token, tokenPlace });
  if (code === 'RevisionNotFound')
    return fail('model-not-found', 'there is no such revision', `${page}/commits/main lists them.`);
  if (code === 'EntryNotFound')
    return fail('model-not-found', 'there is no such file', `${page}/tree/main lists them.`);
  if (/access to this resource is disabled/i.test(said))
    return fail('access-denied', 'the hub has disabled it', `${page} says why.`);
  if (status === 401 && token !== null && /invalid credentials/i.test(said))
    return fail(
      'access-denied',
      `the hub does not accept the token in ${tokenPlace}`,
      `Make a new one at ${endpoint}/settings/tokens.`,
    );
  if (code === 'RepoNotFound' || status === 401 || status === 404)
    return missing(fail, { token, tokenPlace, endpoint });
  if (status === 403)
    return fail(
      'access-denied',
      `the hub forbids it${said === '' ? '' : ` (${said})`}`,
      `The token in ${tokenPlace} may lack the right to it: ${endpoint}/settings/tokens.`,
    );
  return unexpected(response, { what, said });
}

type Fail = (kind: ErrorCode, message: string, hint: string) => AppError;

function gated(
  fail: Fail,
  { page, token, tokenPlace }: { page: string; token: string | null; tokenPlace: string },
): AppError {
  return token === null
    ? fail(
        'access-denied',
        'it is gated: its licence must be accepted',
        `Open ${page}, accept the licence, then set HF_TOKEN to a token of that account.`,
      )
    : fail(
        'access-denied',
        `it is gated, and the account of the token in ${tokenPlace} has not been admitted`,
        `Open ${page} with that account and accept the licence; some owners then decide by hand.`,
      );
}

/** The hub does not tell private ones and missing ones apart. */
function missing(
  fail: Fail,
  { token, tokenPlace, endpoint }: { token: string | null; tokenPlace: string; endpoint: string },
): AppError {
  return token === null
    ? fail(
        'model-not-found',
        `there is no such public repository at ${endpoint}`,
        'Check the name; a private one needs a token in HF_TOKEN.',
      )
    : fail(
        'model-not-found',
        `there is no such repository at ${endpoint}, or the token in ${tokenPlace} may not see it`,
        'Check the name and the account.',
      );
}

function unexpected(response: Response, { what, said }: { what: string; said: string }): AppError {
  const { status } = response;
  const pauseMs = retryAfterMs(response.headers);
  const isBusy = status === 429;
  const message = isBusy
    ? 'the hub asks for fewer requests (429)'
    : `the server answered ${status}${said === '' ? '' : ` (${said})`}`;
  const pause = pauseMs === null ? '' : ` It asks for a pause of ${Math.ceil(pauseMs / 1_000)} s.`;
  return new AppError('download-failed', `${what}: ${message}.${pause}`, {
    hint: isBusy
      ? 'Wait and run it again, with a token in HF_TOKEN: accounts may ask more often.'
      : 'Run it again later: it goes on where it stopped.',
    context: {
      status,
      retryable: isBusy || status === 408 || status >= 500,
      unreachable: status >= 500,
      ...(pauseMs === null ? {} : { pauseMs }),
    },
  });
}

/** Pure: `Retry-After` as seconds or a date, else the reset of the hub's own `RateLimit: "api";r=0;t=55`. */
export function retryAfterMs(headers: Headers, nowMs = Date.now()): number | null {
  const text = headers.get('retry-after')?.trim() ?? '';
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1_000;
  const date = text === '' ? Number.NaN : Date.parse(text);
  if (!Number.isNaN(date)) return Math.max(0, date - nowMs);
  const reset = /;\s*r=0\s*;\s*t=(\d{1,9})/.exec(headers.get('ratelimit') ?? '');
  return reset === null ? null : Number(reset[1]) * 1_000;
}
