/* SPDX-License-Identifier: Apache-2.0
 * elek's C interface: load a model file, open a session, run it on pixels or floats. C99 and C++; no other header is needed.
 * Other languages (Rust, Go, Python's ctypes) call the same functions. docs/library.md explains it with examples.
 *
 * Rules for every function:
 *   Errors     A function that can fail returns an elek_status. ELEK_OK is 0. On any other value nothing was changed, and
 *              elek_last_error() gives the text. No C++ exception ever reaches the caller.
 *   Ownership  The caller owns what elek_model_load*() and elek_session_open*() return, and gives it back with
 *              elek_model_free() and elek_session_close(). All other pointers that elek returns belong to the handle they came
 *              from. elek keeps no pointer to the caller's data after a call returns, except to the session's own memory
 *              (elek_options: block, allocate).
 *   Threads    Different threads may use different sessions at the same time, but never the same session. A loaded model never
 *              changes: any number of threads may use it.
 *   Growth     A struct that may grow begins with struct_size. Set it to sizeof the struct, and all the rest to zero: a zero
 *              always means the default. A program built with an older header then works with a newer library.
 * Tests: tests/api
 */
#ifndef ELEK_C_H
#define ELEK_C_H

/* C names and headers, as C programs write them. */
/* NOLINTBEGIN(readability-identifier-naming,modernize-*) */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "elek/export.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The library's version, "0.2.0". The string lives as long as the process. */
ELEK_API const char* elek_version(void);

/* ---- Errors ---------------------------------------------------------------------------------------------------------- */

/* The codes are those that the elek command exits with. */
typedef int32_t elek_status;
enum {
  ELEK_OK = 0,
  ELEK_ERROR_INTERNAL = 1, /* a defect in elek */
  ELEK_ERROR_USAGE = 2,    /* an argument or an option is not valid */
  ELEK_ERROR_INPUT = 3,    /* a file or its content cannot be used */
  ELEK_ERROR_MEMORY = 4,   /* memory ran out, or a limit would be exceeded */
  ELEK_ERROR_DEVICE = 5    /* the device is missing or failed */
};

typedef struct elek_model elek_model;
typedef struct elek_session elek_session;

/* Text of the last call that failed. With a session: the last failed call with that session. With NULL: the last failed call of
 * any kind on this thread. UTF-8, at most 1023 bytes, "" if nothing has failed. The text is valid until the next call that
 * fails. Languages that move tasks between threads (Go) should pass the session. */
ELEK_API const char* elek_last_error(const elek_session* session);

/* ---- Models ---------------------------------------------------------------------------------------------------------- */

/* Loads a model file that `elek prepare` or a cut wrote.
 * Memory     4 bytes per parameter, on the host, until elek_model_free()
 * Errors     INPUT (missing, damaged, or not a model file), MEMORY */
ELEK_API elek_status elek_model_load(const char* path, elek_model** model);

/* The same for a file in memory, `size` bytes. They are copied, so the caller may free them afterwards. */
ELEK_API elek_status elek_model_load_memory(const void* bytes, size_t size, elek_model** model);

/* NULL is ignored. Sessions opened from the model keep working: they own what they need. */
ELEK_API void elek_model_free(elek_model* model);

/* The shape of one input image, and the number of outputs. */
typedef struct elek_shape {
  int64_t channels;
  int64_t height;
  int64_t width;
  int64_t classes;
} elek_shape;

/* Errors     USAGE (a null pointer) */
ELEK_API elek_status elek_model_shape(const elek_model* model, elek_shape* shape);

/* The name of class `index`, 0 <= index < classes; NULL if the model has no names or no such class. The string lives as long as
 * the model (or as the session, if elek_session_model() returned the model). */
ELEK_API const char* elek_model_label(const elek_model* model, int64_t index);

/* Reads a JPEG or PNG file and converts it to the network's input: uint8 [height, width, channels]. An image of another size is
 * resized so that its shorter side is the network's / 0.875, and its centre is cut out. Grey and colour are converted to what
 * the network has.
 * pixels     room for pixels_bytes = height * width * channels bytes
 * Errors     INPUT (missing, damaged, not JPEG or PNG), USAGE (pixels_bytes is wrong), MEMORY */
ELEK_API elek_status elek_model_read_image(const elek_model* model, const char* path, uint8_t* pixels, size_t pixels_bytes);

/* The same for a JPEG or PNG file in memory, `size` bytes. */
ELEK_API elek_status elek_model_decode_image(const elek_model* model, const void* file, size_t size, uint8_t* pixels,
                                             size_t pixels_bytes);

/* A class and the softmax of its logit. label is NULL if the model has no names; it lives as long as the model. */
typedef struct elek_class {
  int64_t index;
  double probability;
  const char* label;
} elek_class;

/* The k classes with the largest logits, best first. Equal logits are ordered by index; NaN comes last.
 * logits     [classes], of one image
 * top        room for k, 1 <= k <= classes
 * Errors     USAGE */
ELEK_API elek_status elek_model_top_k(const elek_model* model, const float* logits, size_t k, elek_class* top);

/* ---- Sessions -------------------------------------------------------------------------------------------------------- */

enum { ELEK_DEVICE_CPU = 0, ELEK_DEVICE_CUDA = 1 }; /* device */
enum {
  ELEK_PRECISION_F32 = 0,
  ELEK_PRECISION_TF32 = 1,
  ELEK_PRECISION_BF16 = 2,
  ELEK_PRECISION_F16 = 3,
  ELEK_PRECISION_INT8 = 4
}; /* precision */

/* Whether sessions can be opened on a device: ELEK_OK, or DEVICE with the reason in elek_last_error(NULL). */
ELEK_API elek_status elek_device_available(int32_t device, int32_t device_index);

/* The caller's allocator. Returns a block of `bytes` bytes at this alignment, or NULL if there is no memory; the session may
 * then ask for less. `label` says what the block is for ("weights", "arena", "statistics", "staging") and is valid during the
 * call. Called by the thread that opens or closes the session, never while it runs. It must not call elek. */
typedef void* (*elek_allocate)(void* context, size_t bytes, size_t alignment, const char* label);
/* Frees a block; `bytes` is the size that was asked for. */
typedef void (*elek_deallocate)(void* context, void* block, size_t bytes);

typedef struct elek_options {
  size_t struct_size;   /* sizeof(elek_options) */
  int32_t device;       /* ELEK_DEVICE_ */
  int32_t device_index; /* which GPU */
  int32_t precision; /* ELEK_PRECISION_ : how the session computes. The CPU has F32, BF16 if it can multiply that, and INT8 for
                        quantised models */
  int32_t threads;   /* CPU threads; 0 = all */
  int64_t batch;     /* images computed together; 0 = 1. More are faster and need more memory */
  int32_t watch;     /* not 0: takes sums of every channel, for elek_session_statistics() */
  int32_t deterministic;     /* not 0: no Winograd, and sums in a fixed order; slower */
  size_t memory_limit_bytes; /* the session refuses to hold more than this; 0 = no limit */
  /* The session's memory. CPU only; USAGE on other devices. There are two ways; with neither, elek asks the system.
   * First way: one block of block_bytes, which must live until the session is closed. elek_model_memory() gives the size. */
  void* block;
  size_t block_bytes;
  /* Second way: two functions, both or neither. `memory_context` is passed to them. */
  elek_allocate allocate;
  elek_deallocate deallocate;
  void* memory_context;
} elek_options;

/* Options with every default. */
static inline elek_options elek_default_options(void) {
  elek_options options;
  memset(&options, 0, sizeof options);
  options.struct_size = sizeof options;
  return options;
}

/* The memory of a session, in bytes. The loaded model is not included. */
typedef struct elek_memory {
  size_t struct_size; /* sizeof(elek_memory) */
  size_t weights_bytes;
  size_t arena_bytes; /* activations, and workspace of kernels */
  size_t statistics_bytes;
  size_t staging_bytes; /* two batches of pixels, and the logits */
  size_t needed_bytes;  /* block_bytes that is enough, at any address */
  int64_t micro_batch;  /* images per micro-batch: the batch, or fewer if that needs less memory */
  size_t held_bytes;    /* held now; 0 before a session is open */
  size_t peak_bytes;    /* most bytes held so far, opening included; 0 before a session is open */
} elek_memory;

static inline elek_memory elek_empty_memory(void) {
  elek_memory memory;
  memset(&memory, 0, sizeof memory);
  memory.struct_size = sizeof memory;
  return memory;
}

/* What a session with these options would hold, without opening it. It runs nothing and does not allocate that memory.
 * options    NULL = every default. block, allocate and memory_limit_bytes are ignored
 * Errors     USAGE, DEVICE, as elek_session_open() */
ELEK_API elek_status elek_model_memory(const elek_model* model, const elek_options* options, elek_memory* memory);

/* Opens a session: chooses kernels, plans the memory, allocates it, and packs the weights into it. A run allocates nothing. If
 * there is not enough memory, it tries again with smaller micro-batches, down to single images, and then with slower kernels of
 * less workspace.
 * options    NULL = every default
 * Errors     USAGE (an invalid option), MEMORY (not enough even for single images), DEVICE. Nothing stays allocated after an
 *            error. */
ELEK_API elek_status elek_session_open(const elek_model* model, const elek_options* options, elek_session** session);

/* elek_model_load() and elek_session_open() in one call. Each layer's weights are freed as soon as they are packed, so the
 * network is not in memory twice. */
ELEK_API elek_status elek_session_open_file(const char* path, const elek_options* options, elek_session** session);

/* The same for a file in memory, `size` bytes, of which nothing is copied: f32 weights are packed from where they lie. The
 * bytes are needed only during the call. For programs that contain their network: elek convert --c-array, docs/edge.md. */
ELEK_API elek_status elek_session_open_memory(const void* bytes, size_t size, const elek_options* options,
                                              elek_session** session);

/* Frees all memory of the session. NULL is ignored. */
ELEK_API void elek_session_close(elek_session* session);

/* The session's model, for its shape, labels and images. It belongs to the session and holds no weights, so no session can be
 * opened from it. Returns NULL only for NULL. */
ELEK_API const elek_model* elek_session_model(const elek_session* session);

/* Runs any number of images of uint8 pixels. They are computed `batch` at a time.
 * pixels     [samples, height, width, channels], as elek_model_read_image() makes them
 * logits     room for [samples, classes]
 * Errors     USAGE (a null pointer), DEVICE. After an error `logits` may be partly written. */
ELEK_API elek_status elek_session_run_pixels(elek_session* session, const uint8_t* pixels, size_t samples, float* logits);

/* The same for floats, for callers with their own preprocessing: the values go into the first layer unchanged.
 * values     [samples, channels, height, width]
 * Errors     as above, and USAGE on a device that starts from pixels only (CUDA) */
ELEK_API elek_status elek_session_run_values(elek_session* session, const float* values, size_t samples, float* logits);

/* memory     the caller sets struct_size; see elek_empty_memory() */
ELEK_API elek_status elek_session_memory(const elek_session* session, elek_memory* memory);

/* ---- What channels do (options.watch) --------------------------------------------------------------------------------- */

/* The name of watched value `index` (0, 1, ...), the output of a ReLU. NULL after the last one, or if nothing is watched. The
 * string lives as long as the session. */
ELEK_API const char* elek_session_watched(const elek_session* session, size_t index);

/* One channel of a value: over all positions of all images run since the session was opened or its statistics were reset. */
typedef struct elek_channel {
  double active; /* share of values greater than 0 */
  double mean;
  double rms; /* root of the mean square; NaN and infinity show in mean and rms */
} elek_channel;

/* The channels of a watched value.
 * channels   room for `capacity` of them; may be NULL if capacity is 0
 * count      number of channels of the value: call with capacity 0 first to get it. Before the first run all numbers are 0
 * Errors     USAGE (nothing is watched, no such value, or 0 < capacity < count) */
ELEK_API elek_status elek_session_statistics(const elek_session* session, const char* value, elek_channel* channels,
                                             size_t capacity, size_t* count);

/* Sets all sums back to those of no images. Errors: USAGE (a null pointer) */
ELEK_API elek_status elek_session_reset_statistics(elek_session* session);

#ifdef __cplusplus
}
#endif
/* NOLINTEND(readability-identifier-naming,modernize-*) */
#endif
