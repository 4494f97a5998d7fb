/** Headers of which only the beginning is there. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { AppError } from '../../../src/core/errors.ts';
import { readGgufHead, readGgufHeader } from '../../../src/models/gguf/read-header.ts';
import { fixturePath, temporaryFolder, writeModel } from '../fixture.ts';

const folder = await temporaryFolder();

test('any beginning says what it needs at least, and leads to the header of the whole file', async () => {
  const path = fixturePath('tiny-llama.gguf');
  const [whole, header] = [await readFile(path), await readGgufHeader(path)];
  let length = 24;
  let rounds = 0;
  for (;;) {
    const reading = readGgufHead({ path, bytes: whole.subarray(0, length), fileBytes: whole.length });
    if (reading.state === 'complete') {
      expect(reading.header).toEqual(header);
      break;
    }
    expect(reading.neededBytes).toBeGreaterThan(length);
    expect(reading.neededBytes).toBeLessThanOrEqual(header.dataOffset);
    length = reading.neededBytes;
    rounds += 1;
  }
  expect(rounds).toBeGreaterThan(1);
  expect(length).toBeLessThanOrEqual(header.dataOffset);
});

test('the announced size counts, not the bytes that are there', async () => {
  const path = join(folder, 'model.gguf');
  await writeModel(path);
  const whole = await readFile(path);
  const read = (fileBytes: number): unknown => readGgufHead({ path: 'hub/x.gguf', bytes: whole, fileBytes });
  expect(read(whole.length)).toMatchObject({ state: 'complete' });
  expect(() => read(whole.length - 1)).toThrow(/^hub\/x\.gguf is incomplete: .* 1 bytes are missing\.$/);
  expect(() => read(whole.length - 1)).toThrow(AppError);
});
