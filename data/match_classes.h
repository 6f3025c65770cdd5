// SPDX-License-Identifier: Apache-2.0
// Labels of a data set as classes of a network. Folders are numbered in the order of their names, a network's classes in the
// order of its training data. Where both have names, the names decide; a contradiction is an error, never another accuracy.
// Must not know networks: it gets their class names and their number.
// Tests: tests/data/match_classes_test.cpp
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "elek/data.h"

namespace elek {

/// The same samples with labels that count the network's classes. If the data and the network both have names of classes, and
/// every name of the data is one of the network's, the names decide. If none is, the order decides, and a warning says so. A
/// warning also says if the data have fewer classes than the network. `where` names the data in errors.
/// Errors    InputError: the data have no labels; a label is outside of the network's classes; some names are the network's and
/// lie in another order, others are not
[[nodiscard]] std::shared_ptr<const Dataset> labelled_for(std::shared_ptr<const Dataset> data, int64_t classes,
                                                          const std::vector<std::string>& class_names,
                                                          const std::string& where);

namespace detail {

/// Two names are the same if they differ only in the case of ASCII letters and in ASCII characters that are no letter or digit.
[[nodiscard]] std::string comparable(const std::string& name);

/// Warns if the samples hold far fewer classes than as many samples drawn at random would: a slice of a data set that is sorted
/// by class. No warning for data without labels.
void warn_of_few_classes(const Dataset& data, int64_t classes, const std::string& where);

}  // namespace detail
}  // namespace elek
