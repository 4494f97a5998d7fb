/** Written from the documentation of nvidia-smi, sysfs and Win32_VideoController; no machine here has a GPU. */
import { describe, expect, test } from 'vitest';
import { linuxGpus, macGpus, nvidiaNames, windowsGpus } from '../../../src/platform/doctor/gpus.ts';
import type { LinuxGpuFacts } from '../../../src/platform/doctor/gpus.ts';

const NONE: LinuxGpuFacts = { pci: [], nvidiaSmi: null, nvidiaDevice: null, renderNodes: [] };
const NVIDIA = { address: '0000:01:00.0', vendor: '0x10de', class: '0x030000' };
const AMD = { address: '0000:03:00.0', vendor: '0x1002', class: '0x030000' };
const INTEL = { address: '0000:00:02.0', vendor: '0x8086', class: '0x030000' };
const SMI = 'GPU 0: NVIDIA GeForce RTX 4070 (UUID: GPU-3b6c5d60-1f2e)\nGPU 1: Tesla T4 (UUID: GPU-aa)\n';

describe('Linux', () => {
  test('names of nvidia-smi', () => {
    expect(nvidiaNames(SMI)).toEqual(['NVIDIA GeForce RTX 4070', 'Tesla T4']);
    expect(nvidiaNames("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n")).toEqual([]);
    expect(nvidiaNames(null)).toEqual([]);
  });

  test('with a driver it is named once', () => {
    expect(linuxGpus({ ...NONE, pci: [NVIDIA], nvidiaSmi: SMI.split('\n')[0] ?? '', nvidiaDevice: true })).toEqual([
      { vendor: 'nvidia', name: 'NVIDIA GeForce RTX 4070', driver: 'works', integrated: false },
    ]);
  });

  test.each([
    ['without a driver', null, 'missing'],
    ['without the right to use it', false, 'no-access'],
    ['without nvidia-smi', true, 'unknown'],
  ])('NVIDIA %s', (_name, nvidiaDevice, driver) => {
    expect(linuxGpus({ ...NONE, pci: [NVIDIA], nvidiaDevice })).toMatchObject([
      { vendor: 'nvidia', name: null, driver },
    ]);
  });

  test('AMD by its render node', () => {
    expect(linuxGpus({ ...NONE, pci: [AMD] })).toMatchObject([{ vendor: 'amd', driver: 'missing' }]);
    expect(linuxGpus({ ...NONE, pci: [AMD], renderNodes: [{ vendor: '0x8086', accessible: true }] })).toMatchObject([
      { driver: 'missing' },
    ]);
    expect(linuxGpus({ ...NONE, pci: [AMD], renderNodes: [{ vendor: '0x1002', accessible: false }] })).toMatchObject([
      { driver: 'no-access' },
    ]);
    expect(linuxGpus({ ...NONE, pci: [AMD], renderNodes: [{ vendor: '0x1002', accessible: true }] })).toMatchObject([
      { driver: 'works' },
    ]);
  });

  test('an accelerator without a screen, and Intel inside the processor', () => {
    expect(linuxGpus({ ...NONE, pci: [{ ...AMD, class: '0x120000' }] })).toHaveLength(1);
    expect(linuxGpus({ ...NONE, pci: [INTEL] })).toMatchObject([{ vendor: 'intel', integrated: true }]);
    expect(linuxGpus({ ...NONE, pci: [{ ...INTEL, address: '0000:03:00.0' }] })).toMatchObject([{ integrated: false }]);
  });

  test('no GPU: bridges, sound, the adapters of virtual machines', () => {
    const others = [
      { ...NVIDIA, class: '0x040300' },
      { ...INTEL, class: '0x060000' },
      { address: '0000:00:02.0', vendor: '0x1af4', class: '0x030000' },
    ];
    expect(linuxGpus({ ...NONE, pci: others })).toEqual([]);
  });
});

describe('Windows', () => {
  test.each([
    [
      'a card with its driver',
      { name: 'NVIDIA GeForce RTX 4070', maker: 'NVIDIA', error: 0 },
      { vendor: 'nvidia', driver: 'works', integrated: false },
    ],
    [
      'a card whose driver does not start',
      { name: 'AMD Radeon RX 7800 XT', maker: 'Advanced Micro Devices, Inc.', error: 43 },
      { vendor: 'amd', driver: 'missing', integrated: false },
    ],
    [
      'graphics of the processor',
      { name: 'Intel(R) UHD Graphics 770', maker: 'Intel Corporation', error: 0 },
      { vendor: 'intel', driver: 'works', integrated: true },
    ],
    [
      'a separate card of Intel',
      { name: 'Intel(R) Arc(TM) A770 Graphics', maker: 'Intel Corporation', error: 0 },
      { vendor: 'intel', driver: 'works', integrated: false },
    ],
  ])('%s', (_name, controller, expected) => expect(windowsGpus([controller])).toMatchObject([expected]));

  test('no driver at all: Microsoft’s basic adapter', () => {
    expect(
      windowsGpus([{ name: 'Microsoft Basic Display Adapter', maker: '(Standard display types)', error: 0 }]),
    ).toEqual([]);
  });
});

test('macOS: Apple silicon has Metal, of Intel nothing is told', () => {
  expect(macGpus('arm64')).toMatchObject([{ vendor: 'apple', driver: 'works' }]);
  expect(macGpus('x64')).toBeNull();
});
