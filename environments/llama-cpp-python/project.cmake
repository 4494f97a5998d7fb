# Read by CMake right after llama.cpp's project(). Nothing of llama.cpp is changed, and no other flag.
#
# GCC before 14 (and releases before the fix of 11 to 13) tells its optimiser that _tile_loadconfig reads 8 bytes of the 64
# of a tile configuration, so that the stores of the other 56 are left out. llama.cpp then loads an invalid configuration on
# a processor with AMX, and its first prompt dies by SIGILL or SIGSEGV.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:SHELL:-include \"${CMAKE_CURRENT_LIST_DIR}/tile-config.h\">")
endif()
