import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import {
  findListenerPid,
  isRelay,
  parseListeningInodes,
  parseLsof,
  parseNetstat,
} from '../../../src/platform/network/listener-pid.ts';

test('Linux: only sockets that listen on exactly this port', () => {
  const text = [
    '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode',
    '   0: 0100007F:04D2 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0',
    '   1: 0100007F:04D2 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1',
    '   2: 0100007F:04D3 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0',
    '',
  ].join('\n');
  expect(parseListeningInodes(text, 1234)).toEqual(['4711']);
  expect(parseListeningInodes(text, 80)).toEqual([]);
});

test('macOS: the first of the processes that share the socket', () => {
  expect(parseLsof('812\n813\n')).toBe(812);
  expect(parseLsof('\n')).toBeNull();
});

test('Windows: a listening socket in any language, not a connection to the same port', () => {
  const text = [
    'Aktive Verbindungen',
    '',
    '  Proto  Lokale Adresse         Remoteadresse          Status           PID',
    '  TCP    127.0.0.1:1234         127.0.0.1:50112        HERGESTELLT     9000',
    '  TCP    0.0.0.0:1234           0.0.0.0:0              ABHÖREN         4321',
    '  TCP    [::]:11234             [::]:0                 ABHÖREN         5555',
  ].join('\r\n');
  expect(parseNetstat(text, 1234)).toBe(4321);
  expect(parseNetstat(text, 234)).toBeNull();
});

test('this process is found by its own server, and nobody after it has closed', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  // oxlint-disable-next-line no-unsafe-type-assertion -- a TCP server has such an address.
  const { port } = server.address() as AddressInfo;
  expect(await findListenerPid(port)).toBe(process.pid);
  await new Promise((resolve) => void server.close(resolve));
  expect(await findListenerPid(port)).toBeNull();
});

test('a relay is not the process that computes', () => {
  expect(['docker-proxy\n', 'ssh\n', 'llama-server\n', ''].map(isRelay)).toEqual([true, true, false, false]);
});
