# SPDX-License-Identifier: Apache-2.0
# Toolchain: builds for 64-bit ARM Linux (Jetson, Graviton, Raspberry Pi) on another kind of Debian or Ubuntu machine; tests run
# in qemu.
# ELEK_SYSROOT holds ARM's libraries, unpacked; scripts/test-arm64 makes it.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES ELEK_SYSROOT)

set(CMAKE_FIND_ROOT_PATH ${ELEK_SYSROOT} /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

set(elek_libraries ${ELEK_SYSROOT}/usr/lib/aarch64-linux-gnu)
add_link_options(-Wl,-rpath-link,${elek_libraries})
set(CMAKE_CROSSCOMPILING_EMULATOR
    "qemu-aarch64-static;-L;/usr/aarch64-linux-gnu;-E;LD_LIBRARY_PATH=${elek_libraries}")
