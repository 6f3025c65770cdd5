/* SPDX-License-Identifier: Apache-2.0 */
/* A program that contains its network and gives it all its memory: one block, whose size the compiler knows. No file is opened
 * and, after the session is open, nothing is allocated. elek convert writes the header NETWORK_H; docs/edge.md shows how. */
#include NETWORK_H /* net.h, made by: elek convert --model net.safetensors --out net.h */
#include <stdio.h>

enum { IMAGE_BYTES = NET_CHANNELS * NET_HEIGHT * NET_WIDTH };

static unsigned char block[NET_BLOCK_BYTES]; /* weights, activations, workspace, pixels and logits */
static uint8_t pixels[IMAGE_BYTES];
static float logits[NET_CLASSES];

static int failed(const char* what, const elek_session* session) {
  fprintf(stderr, "embedded: %s: %s\n", what, elek_last_error(session));
  return 1;
}

/* A camera would fill the pixels. Here they come from standard input: height rows of width pixels of `channels` bytes. */
static int read_frame(void) { return fread(pixels, 1, IMAGE_BYTES, stdin) == IMAGE_BYTES; }

int main(void) {
  elek_options options = net_options();
  options.block = block;
  options.block_bytes = sizeof block;
  elek_session* session = NULL;
  if (elek_session_open_memory(net_file, NET_FILE_BYTES, &options, &session) != ELEK_OK) return failed("open", NULL);
  const elek_model* model = elek_session_model(session);

  int frames = 0;
  for (; read_frame(); ++frames) {
    if (elek_session_run_pixels(session, pixels, 1, logits) != ELEK_OK) return failed("run", session);
    int best = 0;
    for (int i = 1; i < NET_CLASSES; ++i) {
      if (logits[i] > logits[best]) best = i;
    }
    const char* label = elek_model_label(model, best);
    printf("%d: class %d, %s\n", frames, best, label != NULL ? label : "no name");
  }

  elek_memory memory = elek_empty_memory();
  if (elek_session_memory(session, &memory) != ELEK_OK) return failed("memory", session);
  printf("%d frames; block %zu bytes, held at most %zu\n", frames, sizeof block, memory.peak_bytes);
  elek_session_close(session);
  return 0;
}
