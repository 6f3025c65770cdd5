/* SPDX-License-Identifier: Apache-2.0 */
/* Counts the calls of the heap by a program that is linked with this file and with --wrap=elek_session_run_pixels. If a run of
 * the session asks the heap for anything, the program ends with code 9. At its end it prints what was held once the session was
 * open, and how many runs asked for nothing. For glibc, whose own functions do the work. */
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "elek/c.h"

void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t count, size_t bytes);
void* __libc_realloc(void* block, size_t bytes);
void* __libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void* block);
elek_status __real_elek_session_run_pixels(elek_session* session, const uint8_t* pixels, size_t samples, float* logits);
elek_status __wrap_elek_session_run_pixels(elek_session* session, const uint8_t* pixels, size_t samples, float* logits);

static long calls, runs;
static long live, most, live_when_open;

static void* counted(void* block) {
  ++calls;
  if (block != NULL) live += (long)malloc_usable_size(block);
  if (live > most) most = live;
  return block;
}

void* malloc(size_t bytes) { return counted(__libc_malloc(bytes)); }
void* calloc(size_t count, size_t bytes) { return counted(__libc_calloc(count, bytes)); }
void* memalign(size_t alignment, size_t bytes) { return counted(__libc_memalign(alignment, bytes)); }
void* aligned_alloc(size_t alignment, size_t bytes) { return counted(__libc_memalign(alignment, bytes)); }
int posix_memalign(void** block, size_t alignment, size_t bytes) {
  *block = counted(__libc_memalign(alignment, bytes));
  return *block == NULL ? ENOMEM : 0;
}
void* realloc(void* block, size_t bytes) {
  if (block != NULL) live -= (long)malloc_usable_size(block);
  return counted(__libc_realloc(block, bytes));
}
void free(void* block) {
  ++calls;
  if (block != NULL) live -= (long)malloc_usable_size(block);
  __libc_free(block);
}

elek_status __wrap_elek_session_run_pixels(elek_session* session, const uint8_t* pixels, size_t samples, float* logits) {
  if (runs == 0) live_when_open = live;
  const long before = calls;
  const elek_status status = __real_elek_session_run_pixels(session, pixels, samples, logits);
  if (calls != before) {
    fprintf(stderr, "run %ld called the heap %ld times\n", runs, calls - before);
    _exit(9);
  }
  ++runs;
  return status;
}

__attribute__((destructor)) static void report(void) {
  printf("heap: at most %ld bytes, %ld once open, 0 calls in %ld runs\n", most, live_when_open, runs);
}
