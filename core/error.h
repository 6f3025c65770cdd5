// SPDX-License-Identifier: Apache-2.0
// The errors that elek throws. Each type fixes the exit code of the command (docs/cli.md) and tells a caller of the library
// what kind of thing went wrong; the message names file, tensor, expected, found and what to do.
// Tests: tests/unit/base_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace elek {

/// Base of every error thrown by elek.
class Error : public std::runtime_error {
 public:
  Error(int exit_code, const std::string& message) : std::runtime_error(message), exit_code_(exit_code) {}
  /// Exit code of the command: 1 internal, 2 usage, 3 input or output, 4 memory, 5 device, 130 interrupted.
  [[nodiscard]] int exit_code() const noexcept { return exit_code_; }

 private:
  int exit_code_;
};

/// A caller broke a function's contract, or a self-check failed: a defect in the program, never in its input.
class ContractError : public Error {
 public:
  explicit ContractError(const std::string& message) : Error(1, message) {}
};

/// The command line asks for something that cannot be asked for (a target that removes nothing included).
class UsageError : public Error {
 public:
  explicit UsageError(const std::string& message) : Error(2, message) {}
};

/// A file, a data set or a disk is not what it should be.
class InputError : public Error {
 public:
  explicit InputError(const std::string& message) : Error(3, message) {}
};

/// The device, its driver or its library is missing or failed.
class DeviceError : public Error {
 public:
  explicit DeviceError(const std::string& message) : Error(5, message) {}
};

/// The user asked to stop (Ctrl-C).
class Interrupted : public Error {
 public:
  Interrupted() : Error(130, "interrupted") {}
};

/// Memory ran out, or a byte budget would be exceeded. Figures are those of the resource that refused.
class OutOfMemory : public Error {
 public:
  struct Figures {
    size_t requested_bytes = 0;
    size_t in_use_bytes = 0;
    size_t peak_bytes = 0;
    size_t limit_bytes = 0;  // 0 = the resource knows no limit
    size_t largest_free_bytes = 0;
  };
  OutOfMemory(const std::string& what, const Figures& figures);
  [[nodiscard]] const Figures& figures() const noexcept { return figures_; }
  /// The message without the figures, to be told again with more before it.
  [[nodiscard]] const std::string& reason() const noexcept { return reason_; }

 private:
  std::string reason_;
  Figures figures_;
};

namespace detail {
[[noreturn]] void throw_contract(const char* file, int line, const char* condition, const std::string& message);
}

}  // namespace elek

/// Checks a caller's contract; the same code in every build type. `message` is evaluated only on failure.
#define ELEK_CHECK(condition, message)                                                           \
  do {                                                                                           \
    if (!(condition)) ::elek::detail::throw_contract(__FILE__, __LINE__, #condition, (message)); \
  } while (false)
