// SPDX-License-Identifier: Apache-2.0
#include "models/weight_names.h"

#include "core/error.h"
#include "models/text.h"

namespace elek::detail {

std::string canonical_name(std::string name) {
  if (name.starts_with("module.")) name.erase(0, 7);
  if (name.starts_with("linear.")) name.replace(0, 6, "fc");
  for (const std::string_view projection : {".shortcut.0.", ".shortcut.1."}) {
    if (const size_t at = name.find(projection); at != std::string::npos) name.replace(at, 9, ".downsample");
  }
  return name;
}

std::map<std::string, const WeightsFile::Entry*> entries_by_name(const WeightsFile& file) {
  std::map<std::string, const WeightsFile::Entry*> entries;
  for (const WeightsFile::Entry& entry : file.entries()) {
    const std::string& name = entry.name;
    if (name.ends_with("num_batches_tracked")) continue;
    const auto [at, fresh] = entries.try_emplace(canonical_name(name), &entry);
    if (!fresh) {
      throw InputError(file.where() + ": tensors " + in_quotes(at->second->name) + " and " + in_quotes(name) + " are both " +
                       in_quotes(at->first) + "; remove one of them");
    }
  }
  return entries;
}

}  // namespace elek::detail
