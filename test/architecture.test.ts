/** The directions of docs/ARCHITECTURE.md and the house rules that no linter knows, read from the source text. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const SOURCE = join(ROOT, 'src');
const FILE_LINES_MAX = 400;
/** Data tables and generated code may be longer. */
const LONG_FILES: readonly string[] = [];

/** What each folder of src may import beside itself. Adapters use platform and core, never each other. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  core: [],
  platform: ['core'],
  engines: ['core', 'platform'],
  models: ['core', 'platform'],
  store: ['core', 'platform'],
  report: ['core', 'platform'],
  app: ['core', 'platform', 'engines', 'models', 'store', 'report'],
  cli: [
    'app',
    'core/errors.ts',
    'platform/process/start-process.ts',
    'platform/folders.ts',
    'platform/files/atomic-write.ts',
  ],
};
const CORE_PACKAGES = ['zod', 'jstat', 'simple-statistics'];
/** Files of src/engines that are no engines. */
const NOT_ENGINES = ['registry'];
/** A TypeError is a programmer's error: `assert` throws it, and workers, which have no other class at hand. */
const TYPE_ERROR_FILES = /^(core\/assert\.ts|engines\/workers\/)/;

interface Import {
  /** As written. */
  readonly specifier: string;
  /** From src; null for packages and node:. */
  readonly target: string | null;
  /** Erased before the code runs. */
  readonly typeOnly: boolean;
}

const files = readdirSync(SOURCE, { recursive: true, encoding: 'utf8' })
  .map((path) => path.split(sep).join('/'))
  .filter((path) => path.endsWith('.ts') && !path.endsWith('.d.ts'))
  .toSorted();
const texts = new Map(files.map((path) => [path, readFileSync(join(SOURCE, path), 'utf8')]));
const imports = new Map(files.map((path) => [path, importsOf(path)]));

function importsOf(path: string): Import[] {
  const text = texts.get(path) ?? '';
  const statements = [...text.matchAll(/^(?:import|export)\s+(type\s)?(?:[^;'"]*?\sfrom\s+)?'([^']+)'/gm)];
  const dynamic = [...text.matchAll(/import\(\s*'([^']+)'\s*\)/g)];
  return [
    ...statements.map(([, type, specifier = '']) => resolveImport(path, specifier, type !== undefined)),
    ...dynamic.map(([, specifier = '']) => resolveImport(path, specifier, false)),
  ];
}

function resolveImport(path: string, specifier: string, typeOnly: boolean): Import {
  const target = specifier.startsWith('.') ? posix.join(posix.dirname(path), specifier) : null;
  return { specifier, target, typeOnly };
}

function layerOf(path: string): string {
  return path.split('/')[0] ?? '';
}

test('the scan sees the imports', () => {
  expect(files.length).toBeGreaterThan(50);
  expect(imports.get('cli/program.ts')?.map(({ specifier }) => specifier)).toContain('./commands/run.ts');
  const unknown = [...imports.values()]
    .flat()
    .flatMap(({ target }) => (target !== null && target.endsWith('.ts') && !texts.has(target) ? [target] : []));
  expect(unknown.filter((target) => !target.endsWith('.d.ts'))).toEqual([]);
});

describe('directions', () => {
  test.each(Object.keys(ALLOWED))('%s', (layer) => {
    const allowed = ALLOWED[layer] ?? [];
    const wrong = files
      .filter((path) => layerOf(path) === layer)
      .flatMap((path) =>
        (imports.get(path) ?? []).flatMap(({ target }) => {
          if (target === null || layerOf(target) === layer) return [];
          return allowed.includes(layerOf(target)) || allowed.includes(target) ? [] : [`${path} imports ${target}`];
        }),
      );
    expect(wrong).toEqual([]);
  });

  test('every folder of src has its directions', () => {
    expect([...new Set(files.map(layerOf))].toSorted()).toEqual(Object.keys(ALLOWED).toSorted());
  });

  test('core uses no package but three, and nothing of Node', () => {
    const wrong = files
      .filter((path) => layerOf(path) === 'core')
      .flatMap((path) =>
        (imports.get(path) ?? []).flatMap(({ specifier, target }) =>
          target === null && !CORE_PACKAGES.includes(specifier) ? [`${path} imports ${specifier}`] : [],
        ),
      );
    expect(wrong).toEqual([]);
  });

  test('core reads no clock and no chance', () => {
    const impure = files.filter(
      (path) =>
        layerOf(path) === 'core' &&
        /\b(Date\.now|new Date\(\)|performance\.now|Math\.random|process\.[a-z])/.test(texts.get(path) ?? ''),
    );
    expect(impure).toEqual([]);
  });
});

test('no file imports itself, over others or at once', () => {
  const edges = new Map(
    [...imports].map(([path, list]) => [
      path,
      list.flatMap(({ target, typeOnly }) => (target === null || typeOnly ? [] : [target])),
    ]),
  );
  expect(findCycle(edges)).toBeNull();
});

/** One cycle as `a > b > a`, or null. */
function findCycle(edges: ReadonlyMap<string, readonly string[]>): string | null {
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): string | null => {
    if (trail.includes(path)) return [...trail.slice(trail.indexOf(path)), path].join(' > ');
    if (done.has(path)) return null;
    for (const next of edges.get(path) ?? []) {
      const cycle = visit(next, [...trail, path]);
      if (cycle !== null) return cycle;
    }
    done.add(path);
    return null;
  };
  for (const path of edges.keys()) {
    const cycle = visit(path, []);
    if (cycle !== null) return cycle;
  }
  return null;
}

test('a cycle would be found', () => {
  expect(
    findCycle(
      new Map([
        ['a', ['b']],
        ['b', ['c']],
        ['c', ['b']],
      ]),
    ),
  ).toBe('b > c > b');
});

test('every engine has a test', () => {
  const engines = files
    .flatMap((path) => /^engines\/([a-z0-9-]+)\.ts$/.exec(path)?.[1] ?? [])
    .filter((id) => !NOT_ENGINES.includes(id));
  expect(engines.length).toBeGreaterThan(0);
  expect(engines.filter((id) => !existsSync(join(ROOT, 'test', 'engines', `${id}.test.ts`)))).toEqual([]);
});

test(`no file is longer than ${FILE_LINES_MAX} lines`, () => {
  const long = files
    .filter((path) => !LONG_FILES.includes(path))
    .map((path) => ({ path, lines: (texts.get(path) ?? '').split('\n').length - 1 }));
  expect(long.filter(({ lines }) => lines > FILE_LINES_MAX)).toEqual([]);
});

describe('errors', () => {
  test('an operating error is an AppError: nobody throws a bare Error', () => {
    expect(files.filter((path) => /\bthrow new Error\(/.test(texts.get(path) ?? ''))).toEqual([]);
  });

  test('a broken invariant goes through assert', () => {
    expect(
      files.filter((path) => /\bthrow new TypeError\(/.test(texts.get(path) ?? '') && !TYPE_ERROR_FILES.test(path)),
    ).toEqual([]);
  });
});

test('file names are kebab-case, and there is no utils', () => {
  expect(
    files.filter((path) => !/^([a-z0-9-]+\/)*[a-z0-9-]+\.ts$/.test(path) || /(^|\/)utils?\.ts$/.test(path)),
  ).toEqual([]);
});
