// SPDX-License-Identifier: Apache-2.0
#include "data/match_classes.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "core/error.h"
#include "core/hint.h"
#include "core/runtime.h"
#include "data/view.h"

namespace elek {
namespace {

/// The samples of another data set, with other labels.
class Relabelled final : public DatasetView {
 public:
  Relabelled(std::shared_ptr<const Dataset> data, std::vector<int32_t> to, std::vector<std::string> names)
      : DatasetView(data), data_(std::move(data)), to_(std::move(to)), names_(std::move(names)) {}
  [[nodiscard]] int64_t classes() const override { return std::ssize(names_); }
  [[nodiscard]] const std::vector<std::string>& labels() const override { return names_; }
  [[nodiscard]] int32_t label(int64_t index) const override { return to_.at(static_cast<size_t>(data_->label(index))); }

 private:
  const std::shared_ptr<const Dataset> data_;
  const std::vector<int32_t> to_;  // [label of the data] class of the network
  const std::vector<std::string> names_;
};

bool are_numbers(const std::vector<std::string>& names) {
  return std::all_of(names.begin(), names.end(),
                     [](const std::string& name) { return name.find_first_not_of("0123456789") == std::string::npos; });
}

/// For each name the index of the same name among `classes`; -1 if there is none, or more than one.
std::vector<int32_t> indices_of(const std::vector<std::string>& names, const std::vector<std::string>& classes) {
  std::map<std::string, int32_t> index;
  for (size_t c = 0; c < classes.size(); ++c) {
    const auto [at, added] = index.emplace(detail::comparable(classes[c]), static_cast<int32_t>(c));
    if (!added) at->second = -1;
  }
  std::vector<int32_t> found;
  for (const std::string& name : names) {
    const auto at = index.find(detail::comparable(name));
    found.push_back(at == index.end() ? -1 : at->second);
  }
  return found;
}

std::string quoted(const std::string& name) { return "'" + name + "'"; }

void check_labels(const Dataset& data, int64_t classes, const std::string& where) {
  for (int64_t i = 0; i < data.size(); ++i) {
    const int32_t label = data.label(i);
    if (label >= 0 && label < classes) continue;
    throw InputError(where + ": " + data.name(i) + " has label " + std::to_string(label) + ", expected a label from 0 to " +
                     std::to_string(classes - 1) + ", because the network has " + std::to_string(classes) +
                     " classes; use data that are labelled for this network");
  }
}

/// Some names are the network's, others are not. By order they may still agree; if not, the order is certainly wrong.
void check_order(const std::vector<std::string>& names, const std::vector<std::string>& classes, const std::vector<int32_t>& to,
                 const std::string& where) {
  const auto unknown = static_cast<size_t>(std::find(to.begin(), to.end(), -1) - to.begin());
  for (size_t i = 0; i < to.size(); ++i) {
    if (to[i] < 0 || to[i] == static_cast<int32_t>(i)) continue;
    throw InputError(where + ": class " + quoted(names[i]) + " is number " + std::to_string(i) + " in the data and number " +
                     std::to_string(to[i]) + " in the network, and class " + quoted(names[unknown]) +
                     " has no counterpart in the network, so labels can be given neither by order nor by name; name the " +
                     "classes as the network does (its names: " + quoted(classes[0]) + " ...)");
  }
}

}  // namespace

namespace detail {

std::string comparable(const std::string& name) {
  std::string text;
  for (const char c : name) {
    if (c >= 'A' && c <= 'Z') {
      text.push_back(static_cast<char>(c - 'A' + 'a'));
    } else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (static_cast<unsigned char>(c) >= 0x80)) {
      text.push_back(c);
    }
  }
  return text;
}

void warn_of_few_classes(const Dataset& data, int64_t classes, const std::string& where) {
  std::set<int32_t> seen;
  for (int64_t i = 0; i < data.size(); ++i) {
    if (data.label(i) < 0) return;
    seen.insert(data.label(i));
  }
  const auto all = static_cast<double>(classes);
  const double by_chance = all * -std::expm1(static_cast<double>(data.size()) * std::log1p(-1 / std::max(all, 2.0)));
  if (static_cast<double>(seen.size()) >= by_chance / 2) return;
  warn(where + ": these " + std::to_string(data.size()) + " samples hold only " + std::to_string(seen.size()) + " of the " +
       std::to_string(classes) + " classes; the data are sorted by class, so a slice or a limit takes the first classes");
}

}  // namespace detail

std::shared_ptr<const Dataset> labelled_for(std::shared_ptr<const Dataset> data, int64_t classes,
                                            const std::vector<std::string>& class_names, const std::string& where) {
  if (data->classes() == 0) {
    throw Hinted<InputError>(Hint::kSingleImages, where +
                                                      ": these images have no labels, and labels are needed here; put the " +
                                                      "images of each class into their own folder");
  }
  const std::vector<std::string>& names = data->labels();
  const auto fewer = [&] {
    if (names.empty() || std::ssize(names) >= classes) return std::string();
    return "the data have " + std::to_string(names.size()) + " classes and the network " + std::to_string(classes);
  };
  if (names.empty() || class_names.empty() || are_numbers(names)) {
    check_labels(*data, classes, where);
    if (const std::string text = fewer(); !text.empty()) {
      warn(where + ": " + text + ": they are taken as its classes 0 to " + std::to_string(names.size() - 1) + ", " +
           quoted(names[0]) + " as class 0");
    }
    return data;
  }
  const std::vector<int32_t> to = indices_of(names, class_names);
  const auto found = to.size() - static_cast<size_t>(std::count(to.begin(), to.end(), -1));
  if (found < to.size()) {
    check_order(names, class_names, to, where);
    check_labels(*data, classes, where);
    const auto unknown = static_cast<size_t>(std::find(to.begin(), to.end(), -1) - to.begin());
    warn(where + ": the names of the classes differ, so labels are given by order: class " + std::to_string(unknown) + " is " +
         quoted(names[unknown]) + " in the data and " +
         (unknown < class_names.size() ? quoted(class_names[unknown]) : std::string("nothing")) + " in the network" +
         (fewer().empty() ? "" : "; " + fewer()));
    return data;
  }
  if (std::set<int32_t>(to.begin(), to.end()).size() < to.size()) {
    throw InputError(where + ": two class folders have the name of one class of the network; join them, or rename one");
  }
  if (std::is_sorted(to.begin(), to.end()) && to.back() == static_cast<int32_t>(to.size()) - 1) return data;
  return std::make_shared<Relabelled>(std::move(data), to, class_names);
}

}  // namespace elek
