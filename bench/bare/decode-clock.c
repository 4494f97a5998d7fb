/*
 * Preloaded into llama-server: when each call that decodes and each choice of a token begins and ends, by the monotonic
 * clock. A record of three 64-bit numbers each (kind, start and end in ns), appended to the file that
 * RUNOFF_DECODE_CLOCK names. Two clock readings and a write of 24 bytes for each call, microseconds.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { DECODE = 0, SAMPLE = 1 };

struct llama_context;
struct llama_batch_ext;
struct common_sampler;

static __thread bool is_sampling;

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void note(uint64_t kind, uint64_t start_ns) {
  static int file = -2;
  const uint64_t record[3] = {kind, start_ns, now_ns()};
  if (file == -2) {
    const char *path = getenv("RUNOFF_DECODE_CLOCK");
    file = path == NULL ? -1 : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  }
  if (file >= 0 && write(file, record, sizeof record) != sizeof record) file = -1;
}

int32_t llama_process(struct llama_context *context, int type, struct llama_batch_ext *batch) {
  static int32_t (*real)(struct llama_context *, int, struct llama_batch_ext *);
  if (real == NULL) real = dlsym(RTLD_NEXT, "llama_process");
  const uint64_t start_ns = now_ns();
  const int32_t code = real(context, type, batch);
  note(DECODE, start_ns);
  return code;
}

/* The sampler calls it, too: that time is the sampler's. */
void llama_synchronize(struct llama_context *context) {
  static void (*real)(struct llama_context *);
  if (real == NULL) real = dlsym(RTLD_NEXT, "llama_synchronize");
  const uint64_t start_ns = now_ns();
  real(context);
  if (!is_sampling) note(DECODE, start_ns);
}

#define SAMPLE_NAME "_Z21common_sampler_sampleP14common_samplerP13llama_contextib"
int32_t sample(struct common_sampler *, struct llama_context *, int, bool) __asm__(SAMPLE_NAME);
int32_t sample(struct common_sampler *sampler, struct llama_context *context, int index, bool grammar_first) {
  static int32_t (*real)(struct common_sampler *, struct llama_context *, int, bool);
  if (real == NULL) real = dlsym(RTLD_NEXT, SAMPLE_NAME);
  const uint64_t start_ns = now_ns();
  is_sampling = true;
  const int32_t token = real(sampler, context, index, grammar_first);
  is_sampling = false;
  note(SAMPLE, start_ns);
  return token;
}
