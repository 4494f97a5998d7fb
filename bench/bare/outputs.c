/*
 * Preloaded into llama-server: its context may answer with as many rows of logits as llama-bench's, n_batch, and not with
 * one for each slot. Nothing else of the context is changed. PARAMS_BYTES and OUTPUTS_AT are of llama_context_params, as
 * the environment's own binding has it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <string.h>

struct llama_model;
struct llama_context;
struct params {
  uint64_t words[PARAMS_BYTES / sizeof(uint64_t)];
};

struct llama_context *llama_init_from_model(struct llama_model *model, struct params params) {
  static struct llama_context *(*real)(struct llama_model *, struct params);
  if (real == NULL) real = dlsym(RTLD_NEXT, "llama_init_from_model");
  const uint32_t as_many_as_a_batch = 0;
  memcpy((char *)&params + OUTPUTS_AT, &as_many_as_a_batch, sizeof as_many_as_a_batch);
  return real(model, params);
}
