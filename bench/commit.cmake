# SPDX-License-Identifier: Apache-2.0
# cmake -DSOURCE=DIR -DOUT=FILE -P commit.cmake: a header that says which commit is being built. Run at every build; written only
# where it changed, so that nothing is compiled for it that need not be.
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --exclude=* --abbrev=12 OUTPUT_VARIABLE commit
                OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT commit)
  set(commit unknown)  # no git, or no repository
endif()
file(CONFIGURE OUTPUT ${OUT} CONTENT "// Made by bench/commit.cmake\n#pragma once\n#define ELEK_COMMIT \"${commit}\"\n" @ONLY)
