/* The same instruction as GCC's own _tile_loadconfig, and all 64 bytes that it reads: see project.cmake. */
#if defined(__AMX_TILE__)
#include <immintrin.h>
#define _tile_loadconfig(config) __asm__ volatile("ldtilecfg\t%X0" : : "m"(*(const char (*)[64])(config)))
#endif
