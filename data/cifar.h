// SPDX-License-Identifier: Apache-2.0
// CIFAR-10's binary version: records of one label byte and 3x32x32 pixel bytes, planes red, green, blue.
// Source: A. Krizhevsky, https://www.cs.toronto.edu/~kriz/cifar.html, section "Binary version".
// Tests: tests/data/cifar_test.cpp
#pragma once

#include <memory>
#include <string>

#include "elek/data.h"

namespace elek {

/// Reads DIR/data_batch_1.bin … data_batch_5.bin (`split` "train") or DIR/test_batch.bin ("test"), and the class names from
/// DIR/batches.meta.txt if it exists. InputError if a file is missing, is not a whole number of records, or holds a label above
/// 9.
[[nodiscard]] std::shared_ptr<const Dataset> open_cifar10(const std::string& directory, const std::string& split);

}  // namespace elek
