// SPDX-License-Identifier: Apache-2.0
// Which kind of file it is, by its first bytes and not by its name. This is the only place that knows: every reader of model
// and weights files asks here. So the error for a file that cannot be read names its kind and says what to do.
// Tests: tests/models/sniff_test.cpp
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace elek {

enum class FileKind : uint8_t {
  kEmpty,
  kSafetensors,
  kZip,     // PyTorch since 1.6, TorchScript, NumPy's .npz, Keras' .keras
  kPickle,  // PyTorch before 1.6, any other pickle
  kTar,     // PyTorch before 0.2
  kOnnx,
  kHdf5,
  kNumpyArray,  // .npy
  kGzip,
  kTfLite,
  kLfsPointer,
  kHtml,
  kJson,
  kText,
  kUnknown,
};

[[nodiscard]] FileKind kind_of(std::span<const std::byte> bytes);
/// What it is and what to do with it, to follow "FILE: " in an error: "an HDF5 file, as Keras writes them; elek does not read
/// it: …".
[[nodiscard]] std::string description_of(FileKind kind);

}  // namespace elek
