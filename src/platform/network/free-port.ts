import { connect, createServer } from 'node:net';
import { AppError } from '../../core/errors.ts';

const HOST = '127.0.0.1';
/** A local connection is answered in microseconds; a full backlog may take a little. */
const CONNECT_TIMEOUT_MS = 500;
/** Each try gets another port of tens of thousands. */
const TRIES_MAX = 20;

/** A TCP port of 127.0.0.1 that nobody serves on. @throws AppError `port-taken` when none is found. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < TRIES_MAX; attempt += 1) {
    const port = await boundPort();
    // Binding is not proof: a server with SO_REUSEPORT shares its port with everybody.
    if (!(await isPortTaken(port))) return port;
  }
  throw new AppError('port-taken', `no free TCP port on ${HOST} after ${TRIES_MAX} tries`, {
    hint: 'Close programs that hold many connections and run again.',
  });
}

/** True when somebody accepts connections there. */
export function isPortTaken(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: HOST, port, timeout: CONNECT_TIMEOUT_MS });
    const answer = (taken: boolean): void => {
      socket.destroy();
      resolve(taken);
    };
    socket.on('connect', () => answer(true));
    // Silence is a full backlog: somebody is there.
    socket.on('timeout', () => answer(true));
    socket.on('error', () => answer(false));
  });
}

function boundPort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', (error) =>
      reject(new AppError('port-taken', `cannot listen on ${HOST}: ${error.message}`, { cause: error })),
    );
    server.listen(0, HOST, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
