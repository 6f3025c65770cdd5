/* SPDX-License-Identifier: Apache-2.0 */
/* c.h alone, as a strict C99 and a strict C++ compiler see it. Never linked. */
#include <elek/c.h>

int main(void) {
  elek_options options = elek_default_options();
  elek_memory memory = elek_empty_memory();
  return options.struct_size == sizeof options && memory.struct_size == sizeof memory ? ELEK_OK : ELEK_ERROR_USAGE;
}
