/**
 * Installers get our whole environment (proxies, certificates, mirrors, the user's settings) but for what would send
 * packages elsewhere than into the folder that we name.
 */
const REDIRECTING = new Set([
  // Another Python's modules.
  'PYTHONHOME', 'PYTHONPATH', 'VIRTUAL_ENV', '__PYVENV_LAUNCHER__',
  // Another folder.
  'PIP_TARGET', 'PIP_PREFIX', 'PIP_ROOT', 'PIP_USER', 'NPM_CONFIG_GLOBAL', 'NPM_CONFIG_LOCAL_PREFIX', 'NPM_CONFIG_LOCATION',
  // Other packages than the lock file's.
  'PIP_REQUIREMENT', 'PIP_CONSTRAINT', 'NPM_CONFIG_OMIT', 'NPM_CONFIG_INCLUDE', 'NPM_CONFIG_WORKSPACE', 'NPM_CONFIG_WORKSPACES',
  'NPM_CONFIG_PACKAGE_LOCK', 'NPM_CONFIG_PACKAGE',
  // Another build than the one that we name. CC and CXX stay: a choice of compiler, and often the only one.
  'CMAKE_ARGS', 'CMAKE_GENERATOR', 'CMAKE_TOOLCHAIN_FILE', 'CMAKE_BUILD_TYPE', 'CFLAGS', 'CXXFLAGS', 'CPPFLAGS', 'LDFLAGS',
  // What starts our own npm run must not be taken for the environment's.
  'INIT_CWD', 'NODE_OPTIONS',
]);

/** Pure. */
export function installerEnvironment(source: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(source)) {
    const upper = name.toUpperCase();
    if (value === undefined || REDIRECTING.has(upper) || upper.startsWith('NPM_PACKAGE_') || upper.startsWith('NPM_LIFECYCLE_') || upper.startsWith('SKBUILD_')) continue;
    kept[name] = value;
  }
  return kept;
}
