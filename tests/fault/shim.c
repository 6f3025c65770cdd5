/* SPDX-License-Identifier: Apache-2.0
 * A library for LD_PRELOAD that lets one call of a program fail: scripts/campaign-faults compiles it, counts the calls of a
 * command, and then runs the command once for each call that is to fail. Only calls between the start and the end of main() are
 * counted, and only in that program, not in its children.
 *   FAULT_KIND   alloc, map (of files), open, read, write, fsync, rename, close
 *   FAULT_AT     the number of the call that fails, from 1; 0: none, only count
 *   FAULT_ERROR  the errno; 0 for read and write: half of what was asked for is done; for alloc it has no meaning
 *   FAULT_STAYS  1: all later calls of the kind fail too
 *   FAULT_LOG    a file that gets "calls N" at the end of main(), and "failed PATH" when a call fails;
 *                for an allocation the path is that of the program or library that asked
 * Reads and writes inside the C library (fread, fwrite) do not come here; elek's files are read and written with read(), write(),
 * mmap() and C++ streams, which do.
 * Tests: scripts/campaign-faults ends with an error where no call fails. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t count, size_t bytes);
void* __libc_realloc(void* block, size_t bytes);
void* __libc_memalign(size_t alignment, size_t bytes);

enum Kind { kNone, kAlloc, kMap, kOpen, kRead, kWrite, kFsync, kRename, kClose };
static const char* const kNames[] = {"none", "alloc", "map", "open", "read", "write", "fsync", "rename", "close"};

static _Atomic int armed; /* between the start and the end of main() */
static _Atomic long calls;
static enum Kind kind;
static long fail_at;
static int fail_error, stays;
static char log_path[512];

static void log_line(const char* word, const char* text) {
  char line[1200];
  const int saved = errno;
  const int length = snprintf(line, sizeof line, "%s %s\n", word, text);
  const long file = syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file >= 0) {
    (void)!syscall(SYS_write, file, line, (size_t)length);
    syscall(SYS_close, file);
  }
  errno = saved;
}

/* The file of the code that asked: the first caller outside this library, the C library and the C++ library. */
static const char* asker(void) {
  void* frames[24];
  const int count = backtrace(frames, 24);
  for (int i = 0; i < count; ++i) {
    Dl_info info;
    if (dladdr(frames[i], &info) == 0 || info.dli_fname == NULL) continue;
    if (strstr(info.dli_fname, "shim.so") == NULL && strstr(info.dli_fname, "libstdc++") == NULL &&
        strstr(info.dli_fname, "libc.so") == NULL) {
      return info.dli_fname;
    }
  }
  return "";
}

/* True if this call is to fail. `path` may be null; then `descriptor` says which file. */
static int fails(enum Kind of, const char* path, int descriptor) {
  static _Thread_local int inside; /* looking for the asker allocates */
  if (!armed || kind != of || inside) return 0;
  const long number = ++calls;
  if (fail_at == 0 || number < fail_at || (number > fail_at && !stays)) return 0;
  if (number == fail_at) {
    char name[1024] = "";
    if (path == NULL && descriptor >= 0) {
      char link[64];
      snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
      const long length = syscall(SYS_readlinkat, AT_FDCWD, link, name, sizeof name - 1);
      name[length > 0 ? length : 0] = '\0';
      path = name;
    }
    if (of == kAlloc) {
      inside = 1;
      path = asker();
      inside = 0;
    }
    log_line("failed", path != NULL ? path : "");
  }
  return 1;
}

void* malloc(size_t bytes) {
  if (fails(kAlloc, NULL, -1)) return errno = ENOMEM, NULL;
  return __libc_malloc(bytes);
}
void* calloc(size_t count, size_t bytes) {
  if (fails(kAlloc, NULL, -1)) return errno = ENOMEM, NULL;
  return __libc_calloc(count, bytes);
}
void* realloc(void* block, size_t bytes) {
  if (fails(kAlloc, NULL, -1)) return errno = ENOMEM, NULL;
  return __libc_realloc(block, bytes);
}
void* memalign(size_t alignment, size_t bytes) {
  if (fails(kAlloc, NULL, -1)) return errno = ENOMEM, NULL;
  return __libc_memalign(alignment, bytes);
}
void* aligned_alloc(size_t alignment, size_t bytes) { return memalign(alignment, bytes); }
int posix_memalign(void** block, size_t alignment, size_t bytes) {
  if (fails(kAlloc, NULL, -1)) return ENOMEM;
  *block = __libc_memalign(alignment, bytes);
  return *block != NULL ? 0 : ENOMEM;
}

void* mmap(void* at, size_t bytes, int protection, int flags, int file, off_t offset) {
  if (file >= 0 && fails(kMap, NULL, file)) return errno = fail_error, MAP_FAILED;
  return (void*)syscall(SYS_mmap, at, bytes, protection, flags, file, offset);
}
void* mmap64(void* at, size_t bytes, int protection, int flags, int file, off_t offset) {
  return mmap(at, bytes, protection, flags, file, offset);
}

static int open_here(int folder, const char* path, int flags, mode_t mode) {
  if (fails(kOpen, path, -1)) return errno = fail_error, -1;
  return (int)syscall(SYS_openat, folder, path, flags, mode);
}
#define MODE_OF(flags)                                     \
  mode_t mode = 0;                                         \
  if (((flags)&O_CREAT) != 0 || ((flags)&O_TMPFILE) == O_TMPFILE) { \
    va_list rest;                                          \
    va_start(rest, flags);                                 \
    mode = va_arg(rest, mode_t);                           \
    va_end(rest);                                          \
  }
int open(const char* path, int flags, ...) {
  MODE_OF(flags)
  return open_here(AT_FDCWD, path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  MODE_OF(flags)
  return open_here(AT_FDCWD, path, flags, mode);
}
int openat(int folder, const char* path, int flags, ...) {
  MODE_OF(flags)
  return open_here(folder, path, flags, mode);
}
FILE* fopen(const char* path, const char* mode) {
  static FILE* (*real)(const char*, const char*);
  if (real == NULL) real = (FILE * (*)(const char*, const char*)) dlsym(RTLD_NEXT, "fopen");
  if (fails(kOpen, path, -1)) return errno = fail_error, NULL;
  return real(path, mode);
}
FILE* fopen64(const char* path, const char* mode) { return fopen(path, mode); }

ssize_t read(int file, void* to, size_t bytes) {
  if (fails(kRead, NULL, file)) {
    if (fail_error != 0) return errno = fail_error, -1;
    bytes = (bytes + 1) / 2;
  }
  return syscall(SYS_read, file, to, bytes);
}
ssize_t write(int file, const void* from, size_t bytes) {
  if (fails(kWrite, NULL, file)) {
    if (fail_error != 0) return errno = fail_error, -1;
    bytes = (bytes + 1) / 2;
  }
  return syscall(SYS_write, file, from, bytes);
}
int fsync(int file) {
  if (fails(kFsync, NULL, file)) return errno = fail_error, -1;
  return (int)syscall(SYS_fsync, file);
}
int rename(const char* from, const char* to) {
  if (fails(kRename, to, -1)) return errno = fail_error, -1;
  return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}
/* The descriptor is closed even if close() fails, as on Linux. */
int close(int file) {
  const int failing = fails(kClose, NULL, file);
  const int result = (int)syscall(SYS_close, file);
  if (failing) return errno = fail_error, -1;
  return result;
}

static int (*real_main)(int, char**, char**);
static int main_here(int words, char** argument, char** environment) {
  armed = 1;
  const int result = real_main(words, argument, environment);
  armed = 0;
  char text[32];
  snprintf(text, sizeof text, "%ld", (long)calls);
  log_line("calls", text);
  return result;
}

static const char* variable(const char* name) {
  const char* const value = getenv(name);
  return value != NULL ? value : "";
}

int __libc_start_main(int (*main)(int, char**, char**), int words, char** argument, void (*init)(void), void (*fini)(void),
                      void (*linker_fini)(void), void* stack_end) {
  typedef int Start(int (*)(int, char**, char**), int, char**, void (*)(void), void (*)(void), void (*)(void), void*);
  Start* const start = (Start*)dlsym(RTLD_NEXT, "__libc_start_main");
  for (size_t i = 1; i < sizeof kNames / sizeof *kNames; ++i) {
    if (strcmp(kNames[i], variable("FAULT_KIND")) == 0) kind = (enum Kind)i;
  }
  fail_at = atol(variable("FAULT_AT"));
  fail_error = atoi(variable("FAULT_ERROR"));
  stays = atoi(variable("FAULT_STAYS"));
  snprintf(log_path, sizeof log_path, "%s", variable("FAULT_LOG"));
  unsetenv("LD_PRELOAD"); /* children run unharmed */
  real_main = main;
  return start(main_here, words, argument, init, fini, linker_fini, stack_end);
}
