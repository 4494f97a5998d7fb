import { describe, expect, test } from 'vitest';
import { machineSchema } from '../../../src/core/machine-schema.ts';
import {
  countPhysicalCores,
  findHypervisor,
  parseAllowedCpus,
  parseCpuinfoTopology,
  parseCpuModel,
  parseOsRelease,
  readPowerSupplies,
} from '../../../src/platform/machine/linux.ts';
import { readMachine, usableMemory } from '../../../src/platform/machine/machine.ts';
import { describeMacos, parseLowPowerMode, parsePmset, parseSysctl } from '../../../src/platform/machine/macos.ts';
import { parseWindowsMachine } from '../../../src/platform/machine/windows.ts';

/** Two cores with two threads each, as Intel numbers them. */
const CPUINFO = [0, 1, 2, 3]
  .map(
    (cpu) =>
      `processor\t: ${cpu}\nmodel name\t: Intel(R) Core(TM) i5-7200U CPU @ 2.50GHz\nphysical id\t: 0\ncore id\t\t: ${cpu % 2}\nflags\t\t: fpu sse2 avx2\n`,
  )
  .join('\n');
const RASPBERRY =
  'processor\t: 0\nBogoMIPS\t: 108.00\nCPU implementer\t: 0x41\n\nHardware\t: BCM2835\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n';

describe('Linux', () => {
  test('cores, not threads, and only the allowed ones', () => {
    const cpus = parseCpuinfoTopology(CPUINFO);
    expect(countPhysicalCores({ allowedCpus: null, cpus })).toBe(2);
    expect(countPhysicalCores({ allowedCpus: [0, 2], cpus })).toBe(1);
    expect(countPhysicalCores({ allowedCpus: [0, 1], cpus })).toBe(2);
    expect(countPhysicalCores({ allowedCpus: null, cpus: parseCpuinfoTopology(RASPBERRY) })).toBeNull();
  });

  test('the same core number in two sockets is two cores', () => {
    const cpus = [0, 1].map((cpu) => ({ cpu, packageId: cpu, coreId: 0 }));
    expect(countPhysicalCores({ allowedCpus: null, cpus })).toBe(2);
  });

  test('allowed CPUs', () => {
    expect(parseAllowedCpus('Name:\tnode\nCpus_allowed_list:\t0-2,5,8-9\n')).toEqual([0, 1, 2, 5, 8, 9]);
    expect(parseAllowedCpus('Name:\tnode\n')).toBeNull();
  });

  test('names', () => {
    expect(parseCpuModel(CPUINFO)).toBe('Intel(R) Core(TM) i5-7200U CPU @ 2.50GHz');
    expect(parseCpuModel(RASPBERRY)).toBe('Raspberry Pi 5 Model B Rev 1.0');
    expect(parseCpuModel('processor\t: 0\n')).toBeNull();
    expect(parseOsRelease('NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 24.04.1 LTS"\n')).toBe('Ubuntu 24.04.1 LTS');
  });

  test.each([
    ['bare metal', '', 'Dell Inc.', 'XPS 13', null],
    ['a Microsoft laptop', '', 'Microsoft Corporation', 'Surface Laptop 5', null],
    ['Hyper-V', 'hypervisor', 'Microsoft Corporation', 'Virtual Machine', 'Microsoft Corporation Virtual Machine'],
    ['KVM', 'hypervisor', 'QEMU', 'Standard PC (Q35 + ICH9, 2009)', 'QEMU Standard PC (Q35 + ICH9, 2009)'],
    ['Firecracker without DMI', 'hypervisor', '', '', 'unknown hypervisor'],
    ['an ARM guest, which has no flag', '', 'Amazon EC2', 'c7g.large', 'Amazon EC2 c7g.large'],
    ['Amazon’s bare metal', '', 'Amazon EC2', 'c7g.metal', null],
  ])('hypervisor: %s', (_name, flag, vendor, product, expected) => {
    expect(
      findHypervisor({ cpuinfo: `flags\t\t: fpu ${flag} avx2\n`, vendor, product, kernel: '6.8.0-45-generic' }),
    ).toBe(expected);
  });

  test('WSL', () => {
    expect(findHypervisor({ cpuinfo: '', vendor: '', product: '', kernel: '5.15.153.1-microsoft-standard-WSL2' })).toBe(
      'WSL 2 (Hyper-V)',
    );
  });

  test('power', () => {
    const mains = (online: string) => ({ type: 'Mains\n', online, status: '' });
    const battery = (status: string) => ({ type: 'Battery\n', online: '', status });
    expect(readPowerSupplies([mains('1\n'), battery('Charging\n')])).toBe('ac');
    expect(readPowerSupplies([mains('0\n'), battery('Discharging\n')])).toBe('battery');
    expect(readPowerSupplies([battery('Full\n')])).toBe('unknown');
    expect(readPowerSupplies([])).toBe('unknown');
  });
});

describe('macOS', () => {
  test('sysctl', () => {
    const values = parseSysctl('hw.physicalcpu: 10\nmachdep.cpu.brand_string: Apple M4 Pro\nkern.hv_vmm_present: 0\n');
    expect(Object.fromEntries(values)).toEqual({
      'hw.physicalcpu': '10',
      'machdep.cpu.brand_string': 'Apple M4 Pro',
      'kern.hv_vmm_present': '0',
    });
  });

  test('power', () => {
    expect(
      parsePmset(
        "Now drawing from 'AC Power'\n -InternalBattery-0 (id=1)\t100%; charged; 0:00 remaining present: true\n",
      ),
    ).toBe('ac');
    expect(
      parsePmset("Now drawing from 'Battery Power'\n -InternalBattery-0 (id=1)\t81%; discharging; 9:01 remaining\n"),
    ).toBe('battery');
    expect(parsePmset('')).toBe('unknown');
    expect(
      parseLowPowerMode('System-wide power settings:\nCurrently in use:\n lowpowermode         1\n sleep 1\n'),
    ).toBe('low power mode');
    expect(parseLowPowerMode(' lowpowermode         0\n')).toBe('automatic');
    expect(parseLowPowerMode(' sleep 1\n')).toBeNull();
    expect(describeMacos('15.6.1\n')).toBe('macOS 15.6.1');
  });
});

describe('Windows', () => {
  const answer = {
    cores: 8,
    cpu: 'AMD Ryzen 7 7840U w/ Radeon 780M Graphics     ',
    manufacturer: 'LENOVO',
    model: '21K5',
    batteries: [1],
    plan: 'Balanced',
  };

  test('a laptop on battery', () => {
    expect(parseWindowsMachine(JSON.stringify(answer))).toEqual({
      physicalCores: 8,
      cpu: 'AMD Ryzen 7 7840U w/ Radeon 780M Graphics',
      hypervisor: null,
      power: 'battery',
      governor: 'Balanced',
    });
  });

  test('a guest without battery and power plan', () => {
    const guest = {
      ...answer,
      manufacturer: 'Microsoft Corporation',
      model: 'Virtual Machine',
      batteries: [],
      plan: null,
    };
    expect(parseWindowsMachine(JSON.stringify(guest))).toMatchObject({
      hypervisor: 'Microsoft Corporation Virtual Machine',
      power: 'ac',
      governor: null,
    });
  });

  test('no answer', () => {
    expect(parseWindowsMachine('')).toBeNull();
    expect(parseWindowsMachine('{"cores":0}')).toBeNull();
  });
});

test('a container’s limit is the memory', () => {
  expect(usableMemory(16e9, 4e9)).toBe(4e9);
  expect(usableMemory(16e9, 0)).toBe(16e9);
  expect(usableMemory(16e9, 1.8e19)).toBe(16e9);
});

test('this machine fits the record', async () => {
  expect(machineSchema.safeParse(await readMachine()).error).toBeUndefined();
});
