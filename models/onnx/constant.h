// SPDX-License-Identifier: Apache-2.0
// Constants of a network: initialisers, and what can be computed from them. A constant is a strided view of bytes in the mapped
// file, or of bytes of its own. So a transposed weight costs nothing until its values are written into a parameter.
// Tests: tests/models/onnx_import_test.cpp, tests/fuzz/onnx_fuzz.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/mapped_file.h"
#include "models/onnx/file.h"

namespace elek::onnx {

struct Constant {
  std::string name;                // for messages, and for the names of layers
  std::string_view dtype = "F32";  // as models/stored_dtype.h names types
  std::vector<int64_t> shape;      // a dimension may be 0
  std::vector<int64_t> strides;    // in elements
  std::span<const std::byte> bytes;
  std::shared_ptr<const std::vector<std::byte>> own;  // what `bytes` points to, unless that is a file

  [[nodiscard]] int64_t elements() const;
  [[nodiscard]] bool is_floating() const;
  [[nodiscard]] bool is_contiguous() const;
};

/// Opens the tensors of one file. Keeps external data files mapped while it lives.
class Tensors {
 public:
  explicit Tensors(const FileProto& file) : file_(file) {}

  /// InputError naming the tensor if its type is unknown, its size does not fit its bytes, or its external file is not beside
  /// the network.
  [[nodiscard]] Constant open(const TensorProto& tensor);
  /// Writes the values, dense and row-major. InputError if they cannot be converted to f32.
  void read(const Constant& constant, std::span<float> to) const;
  [[nodiscard]] std::vector<float> read(const Constant& constant) const;
  /// The values of an integer type. InputError for another type.
  [[nodiscard]] std::vector<int64_t> read_integers(const Constant& constant) const;
  [[nodiscard]] size_t file_bytes() const;  // of the file and its external data, as far as it was opened
  [[nodiscard]] std::string describe(const Constant& constant) const;  // "net.onnx: tensor "conv1.weight""

 private:
  [[nodiscard]] std::span<const std::byte> external_bytes(const TensorProto& tensor, uint64_t expected);

  const FileProto& file_;
  std::map<std::string, MappedFile> external_;  // by location
};

/// A constant of floats in memory.
[[nodiscard]] Constant floats(std::string name, std::vector<int64_t> shape, const std::vector<float>& values);
/// The same bytes in another shape of as many elements; nothing if the constant is not contiguous.
[[nodiscard]] std::optional<Constant> reshaped(Constant constant, std::vector<int64_t> shape);
/// Contract: `axes` is a permutation of the constant's axes.
[[nodiscard]] Constant permuted(const Constant& constant, std::span<const int64_t> axes);
[[nodiscard]] std::vector<int64_t> row_major(std::span<const int64_t> shape);  // strides

}  // namespace elek::onnx
