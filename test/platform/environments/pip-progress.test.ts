import { expect, test } from 'vitest';
import { pipStep } from '../../../src/platform/environments/pip-progress.ts';

test.each([
  ['Collecting numpy==2.4.6 (from -r /somewhere/requirements.txt (line 22))', 'collecting numpy'],
  ['  Downloading numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.whl (16.9 MB)', 'downloading numpy (16.9 MB)'],
  ['Installing collected packages: typing-inspection, typer', 'unpacking'],
  ['Looking in links: /opt/wheels', null],
  ['WARNING: Running pip as the root user can result in broken permissions', null],
  ['', null],
])('%s', (line, step) => {
  expect(pipStep(line)).toBe(step);
});
