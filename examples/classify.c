/* SPDX-License-Identifier: Apache-2.0 */
/* Names the three likeliest classes of a JPEG or PNG image, in C: classify_c MODEL IMAGE */
#include <elek/c.h>
#include <stdio.h>
#include <stdlib.h>

static void check(elek_status status) {
  if (status == ELEK_OK) return;
  fprintf(stderr, "classify_c: %s\n", elek_last_error(NULL));
  exit(status);
}

int main(int argc, char** argv) {
  if (argc != 3) return fputs("usage: classify_c MODEL IMAGE\n", stderr), ELEK_ERROR_USAGE;
  elek_session* session = NULL;
  check(elek_session_open_file(argv[1], NULL, &session));
  const elek_model* model = elek_session_model(session);
  elek_shape shape;
  check(elek_model_shape(model, &shape));
  const size_t pixels_bytes = (size_t)(shape.channels * shape.height * shape.width);
  uint8_t* pixels = malloc(pixels_bytes);
  float* logits = malloc((size_t)shape.classes * sizeof *logits);
  if (pixels == NULL || logits == NULL) return ELEK_ERROR_MEMORY;
  check(elek_model_read_image(model, argv[2], pixels, pixels_bytes));
  check(elek_session_run_pixels(session, pixels, 1, logits));
  elek_class top[3];
  check(elek_model_top_k(model, logits, 3, top));
  for (int i = 0; i < 3; ++i) printf("%5.1f %%  %s\n", 100 * top[i].probability, top[i].label ? top[i].label : "?");
  elek_session_close(session);
  return free(pixels), free(logits), 0;
}
