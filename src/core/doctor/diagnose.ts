/** All checks of `runoff doctor`, in the order in which a person would look. Pure. */
import { checkBusy, checkCpuQuota, checkPower, checkPowerMode, checkSwap, checkThermal } from './busy-checks.ts';
import type { DoctorFacts } from './facts.ts';
import { bySeverity } from './finding.ts';
import type { Finding } from './finding.ts';
import { checkCpuFallback, checkGpuDriver } from './gpu-checks.ts';
import {
  checkBinfmt,
  checkCommandLineTools,
  checkLlamafile,
  checkQuarantine,
  checkWindowsLimit,
} from './llamafile-checks.ts';
import { checkEngines, checkMusl, checkNode, checkPython, checkTranslation } from './machine-checks.ts';
import { checkFullContext, checkMemory } from './memory-checks.ts';
import {
  checkArchitecture,
  checkContextLength,
  checkFileSystem,
  checkModelFile,
  checkPreTokenizer,
  checkSlowKernels,
} from './model-checks.ts';
import { checkDisk, checkNoExec } from './place-checks.ts';

const CHECKS: readonly ((facts: DoctorFacts) => Finding[])[] = [
  checkModelFile,
  checkMemory,
  checkFullContext,
  checkContextLength,
  checkPreTokenizer,
  checkArchitecture,
  checkSlowKernels,
  checkFileSystem,
  checkLlamafile,
  checkWindowsLimit,
  checkBinfmt,
  checkCommandLineTools,
  checkQuarantine,
  checkNode,
  checkTranslation,
  checkMusl,
  checkEngines,
  checkPython,
  checkGpuDriver,
  checkCpuFallback,
  checkNoExec,
  checkDisk,
  checkPower,
  checkPowerMode,
  checkThermal,
  checkCpuQuota,
  checkBusy,
  checkSwap,
];

/** Problems first, then warnings, then what could not be told, then what is fine. */
export function diagnose(facts: DoctorFacts): Finding[] {
  return bySeverity(CHECKS.flatMap((check) => check(facts)));
}
