/* SPDX-License-Identifier: Apache-2.0 */
/* The smallest C program that needs the installed header and library: it asks for the version and for a model that is not
 * there. Exit code 0 only if both answer as they must. */
#include <elek/c.h>
#include <stdio.h>
#include <string.h>

int main(void) {
  elek_model* model = NULL;
  if (elek_model_load("/nowhere/net.safetensors", &model) != ELEK_ERROR_INPUT) return 1;
  if (strstr(elek_last_error(NULL), "/nowhere/net.safetensors") == NULL) return 2;
  printf("consumer_c: elek %s, no model: %s\n", elek_version(), elek_last_error(NULL));
  return 0;
}
