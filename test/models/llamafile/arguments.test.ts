import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AppError } from '../../../src/core/errors.ts';
import { dialectOf, formatArguments, parseArguments } from '../../../src/models/llamafile/arguments.ts';

describe('the dialect', () => {
  it('changes with 0.8.17', () => {
    expect(['0.6.2', '0.8.13', '0.8.16', '0.8.17', '0.9.3', '0.10.0', null].map(dialectOf)).toEqual([
      'lines',
      'lines',
      'lines',
      'shell',
      'shell',
      'shell',
      'shell',
    ]);
  });
});

describe('one argument a line', () => {
  it('keeps spaces, skips empty lines, takes both line ends', () => {
    expect(parseArguments('-m\r\nm.gguf\n\n-p\nTell me # more\n...\n', 'lines')).toEqual([
      '-m',
      'm.gguf',
      '-p',
      'Tell me # more',
      '...',
    ]);
  });

  it(String.raw`writes a line break as \n`, () => {
    expect(formatArguments(['-p', 'a\nb'], 'lines')).toBe('-p\na\\nb\n');
    expect(parseArguments('-p\na\\nb\n', 'lines')).toEqual(['-p', 'a\nb']);
  });

  it('refuses what it cannot hold', () => {
    for (const word of ['', 'a\rb', 'a\0b', String.raw`a\nb`])
      expect(() => formatArguments([word], 'lines')).toThrow(AppError);
  });
});

describe('like a shell', () => {
  it.each([
    ['-m m.gguf', ['-m', 'm.gguf']],
    ['-m\nm.gguf\n...\n', ['-m', 'm.gguf', '...']],
    ['# a comment -x\n-c 8 # another\n', ['-c', '8']],
    [`this\\ is' a single arg'"ok"# # comment`, ['this is a single argok#']],
    [String.raw`"\101\x42\n\t\"\q"`, ['AB\n\t"q']],
    [String.raw`"a$HOME" $X`, ['a$HOME', '$X']],
    ["'' -p", ['', '-p']],
    ['a\\\nb', ['ab']],
    ["'not closed", ['not closed']],
    ['"not closed \\', ['not closed ']],
    ['\\', []],
    ['', []],
  ])('%j', (text, words) => {
    expect(parseArguments(text, 'shell')).toEqual(words);
  });

  it('quotes only what needs it, and never the place of the user', () => {
    expect(formatArguments(['-m', '/zip/m.gguf', 'two words', "it's", '', '$HOME', '#x', '...'], 'shell')).toBe(
      "-m\n/zip/m.gguf\n'two words'\n'it'\\''s'\n''\n'$HOME'\n'#x'\n...\n",
    );
  });
});

it.each(['shell', 'lines'] as const)('%s: what was written is read back', (dialect) => {
  const word = fc.string({
    unit: fc.constantFrom('a', ' ', "'", '"', '\\', '\n', '$', '#', '.', '-', 'ü', '=', '\t'),
    maxLength: 12,
  });
  const usable = word.filter((item) => dialect === 'shell' || (item !== '' && !item.includes(String.raw`\n`)));
  fc.assert(
    fc.property(fc.array(usable, { maxLength: 6 }), (words) => {
      expect(parseArguments(formatArguments(words, dialect), dialect)).toEqual(words);
    }),
    { numRuns: 500 },
  );
});
