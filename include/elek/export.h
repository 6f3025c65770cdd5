/* SPDX-License-Identifier: Apache-2.0
 * ELEK_API marks what a program outside elek may call. elek compiles with hidden symbols, so libelek.so exports only these. The
 * same text works for C and C++, for the shared and the static library.
 * Tests: tests/api/check_symbols.cmake
 */
#ifndef ELEK_EXPORT_H
#define ELEK_EXPORT_H

#if defined(__GNUC__)
#define ELEK_API __attribute__((visibility("default")))
#else
#define ELEK_API
#endif

#endif
