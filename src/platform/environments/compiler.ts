/** Whether there is a C++ compiler that CMake will find, and how to get one where there is none. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { findOnPath } from '../process/find-on-path.ts';
import { readCommand } from '../process/run-command.ts';

/** vswhere reads a few files; a virus scanner may hold it up. */
const VSWHERE_TIMEOUT_MS = 15_000;
const VC_TOOLS = 'Microsoft.VisualStudio.Component.VC.Tools.x86.x64';
const APPLE_COMPILERS = [
  '/Library/Developer/CommandLineTools/usr/bin/c++',
  '/Applications/Xcode.app/Contents/Developer/Toolchains/XcodeDefault.xctoolchain/usr/bin/c++',
];

export interface CompilerFacts {
  readonly platform: NodeJS.Platform;
  /** C and C++ compilers found on PATH or named by CC and CXX. */
  readonly c: string | null;
  readonly cxx: string | null;
  /** macOS: Apple's compiler itself. The one on PATH is a stub that opens a dialog when this is missing. */
  readonly apple: boolean;
  /** Windows: folder of a Visual Studio with C++ tools. */
  readonly visualStudio: string | null;
}

export interface Missing {
  readonly reason: string;
  readonly nextStep: string;
}

/** Pure: what is missing to compile `title`; null when nothing is. */
export function missingCompiler(facts: CompilerFacts, title: string): Missing | null {
  const needs = `${title} is compiled on this machine, and there is no C++ compiler`;
  switch (facts.platform) {
    case 'darwin':
      return facts.apple ? null : { reason: needs, nextStep: 'xcode-select --install, then run again.' };
    case 'win32':
      if (facts.visualStudio !== null) return null;
      return {
        reason: needs,
        nextStep:
          'Install the Visual Studio Build Tools with the workload "Desktop development with C++" (winget install Microsoft.VisualStudio.2022.BuildTools), then run again.',
      };
    default:
      if (facts.c !== null && facts.cxx !== null) return null;
      return {
        reason: needs,
        nextStep:
          'Debian/Ubuntu: sudo apt install build-essential; Fedora: sudo dnf install gcc-c++; Alpine: sudo apk add build-base; then run again.',
      };
  }
}

/** Starts one program on Windows, none elsewhere. */
export async function readCompilerFacts(): Promise<CompilerFacts> {
  const { platform, env } = process;
  return {
    platform,
    c: named(env['CC']) ?? firstOnPath(['cc', 'gcc', 'clang']),
    cxx: named(env['CXX']) ?? firstOnPath(['c++', 'g++', 'clang++']),
    apple: platform === 'darwin' && APPLE_COMPILERS.some((path) => existsSync(path)),
    visualStudio: platform === 'win32' ? await findVisualStudio() : null,
  };
}

/** CC and CXX hold a path or a name, sometimes with options behind it. */
function named(value: string | undefined): string | null {
  const [program = ''] = (value ?? '').trim().split(' ');
  if (program === '') return null;
  return existsSync(program) ? program : findOnPath(program);
}

function firstOnPath(programs: readonly string[]): string | null {
  for (const program of programs) {
    const path = findOnPath(program);
    if (path !== null) return path;
  }
  return null;
}

/** Microsoft's own program for this question; it comes with every Visual Studio since 2017. */
async function findVisualStudio(): Promise<string | null> {
  const programs = process.env['ProgramFiles(x86)'] ?? 'C:\\Program Files (x86)';
  const vswhere = join(programs, 'Microsoft Visual Studio', 'Installer', 'vswhere.exe');
  if (!existsSync(vswhere)) return null;
  const args = ['-latest', '-products', '*', '-requires', VC_TOOLS, '-property', 'installationPath'];
  const answer = await readCommand(vswhere, args, VSWHERE_TIMEOUT_MS);
  return answer === null || answer.trim() === '' ? null : (answer.trim().split(/\r?\n/)[0] ?? null);
}
