// SPDX-License-Identifier: Apache-2.0
// IDX, the format of the MNIST family (Fashion-MNIST, EMNIST, KMNIST): a big-endian header, then unsigned bytes; often gzipped.
// Parsing is a pure function of bytes, so the fuzzer reaches all of it.
//   magic   00 00 TT RR   TT = element type (08, unsigned byte, is the only one read), RR = number of dimensions
//   dims    RR x 32 bits, then the product of dims bytes, then nothing
// Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits", section "the IDX file format".
// Tests: tests/data/idx_test.cpp, tests/fuzz/idx_fuzz.cpp
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "elek/data.h"

namespace elek {

struct IdxView {
  std::vector<int64_t> dims;        // 1 to 4, each > 0
  std::span<const uint8_t> values;  // product of dims
};

/// Reads an unpacked IDX file of unsigned bytes; the view points into `bytes`. InputError if a byte is missing or left over;
/// `where` names the file.
[[nodiscard]] IdxView parse_idx(std::span<const uint8_t> bytes, const std::string& where);

/// The bytes, unpacked if they are gzip. Stops at the first byte beyond the size in the unpacked header. So neither a false
/// header nor a gzip bomb uses much memory.
[[nodiscard]] std::vector<uint8_t> unpack_idx(std::vector<uint8_t> bytes, const std::string& where);

/// A file's name and bytes (gzip or plain).
struct IdxFile {
  std::string name;
  std::vector<uint8_t> bytes;
};
/// Images [N, H, W] (grey) or [N, H, W, C] with C = 1 or 3 (channels last), and labels [N]. `class_names` may be empty; the
/// number of classes is then the largest label + 1. InputError if something does not fit together.
[[nodiscard]] std::shared_ptr<const Dataset> make_idx_dataset(IdxFile images, IdxFile labels,
                                                              std::vector<std::string> class_names);

/// Reads DIR/{train|t10k}-{images-idx3|images-idx4|labels-idx1}-ubyte[.gz] (also `.idx3` for `-idx3`; the plain file before
/// .gz). Reads class names, one per line, from DIR/labels.txt if it exists. `split` is "train" or "test".
[[nodiscard]] std::shared_ptr<const Dataset> open_idx(const std::string& directory, const std::string& split);

}  // namespace elek
