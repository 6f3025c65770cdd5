// SPDX-License-Identifier: Apache-2.0
// Which part of a PyTorch file has the weights. Training scripts save dictionaries with weights, optimizer and epoch, under
// names of their own. A part is a dictionary or module with tensors of two or more dimensions. If there is one, it is used. If
// there are several (a model and its moving average), only the user can know which is meant.
#include <algorithm>
#include <cctype>
#include <map>
#include <set>

#include "core/error.h"
#include "core/hint.h"
#include "models/text.h"
#include "models/weights_readers.h"

namespace elek::detail {

using pickle::Kind;

namespace {

constexpr int kMostLevels = 64;
constexpr size_t kMostSteps = 300'000;  // a shared part is walked each time it is met, so this ends what grows exponentially
constexpr const char* kWhole = ".";

/// A state dict or module, and the keys that lead to it, joined by dots. "" is the whole file.
struct Part {
  std::string path;
  Ref value = pickle::kNothing;
  std::string prefix;  // of the tensors to take
};

std::string joined(const std::string& path, const std::string& name) { return path.empty() ? name : path + "." + name; }

/// Optimizers and their helpers hold tensors as large as the weights.
bool is_of_training(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name.find("optim") != std::string::npos || name.find("scheduler") != std::string::npos || name == "opt" ||
         name == "scaler" || name == "amp";
}

class Walk {
 public:
  explicit Walk(TorchPickle& pickle) : pickle_(pickle) {}

  void find_parts(Ref ref, const std::string& path, int level) {
    step(path, level);
    if (!seen_.insert(ref).second) return;  // two names for one part, or a cycle
    if (pickle_.is_tensor(ref)) return;
    if (pickle_.module_members(ref)) return parts.push_back({path, ref, ""});
    const std::optional<std::vector<Member>> members = members_of(ref, path);
    if (!members) return;
    const auto is = [&](const char* name) { return [name](const Member& m) { return m.name == name; }; };
    if (std::any_of(members->begin(), members->end(), is("param_groups"))) return;  // an optimizer
    const size_t before = parts.size();
    for (const Member& member : *members)
      if (!is_of_training(member.name)) find_parts(member.value, joined(path, member.name), level + 1);
    const auto has = [&](auto what) { return std::count_if(members->begin(), members->end(), what); };
    if (has([&](const Member& m) { return pickle_.is_matrix(m.value); }) == 0) return;
    // A dictionary with tensors of its own is the part, unless one inside has more: then its own are helpers (a queue of
    // features).
    const auto own = static_cast<size_t>(has([&](const Member& m) { return pickle_.is_tensor(m.value); }));
    const bool inner = std::any_of(parts.begin() + static_cast<std::ptrdiff_t>(before), parts.end(), [&](const Part& part) {
      const auto inside = pickle_.members(part.value);
      return !inside || inside->size() > own;
    });
    if (inner) return;
    parts.resize(before);
    parts.push_back({path, ref, ""});
  }

  void add_tensors(Ref ref, const std::string& path, int level, WeightsFile::Content& content) {
    step(path, level);
    if (pickle_.is_tensor(ref)) {
      try {
        content.entries.push_back(pickle_.tensor(ref, path));
      } catch (const InputError& error) {  // a network may do without it; if not, it is said to be missing
        left_out.emplace_back(error.what());
      }
      return;
    }
    const std::optional<std::vector<Member>> members = members_of(ref, path);
    if (!members) return;
    for (const Member& member : *members) add_tensors(member.value, joined(path, member.name), level + 1, content);
  }

  /// The value under `path`; keys may contain dots themselves.
  std::optional<Ref> at(Ref ref, std::string_view path, int level) {
    step(std::string(path), level);
    const std::optional<std::vector<Member>> members = members_of(ref, std::string(path));
    for (const Member& member : members.value_or(std::vector<Member>{})) {
      if (path == member.name) return member.value;
      if (path.size() > member.name.size() && path.starts_with(member.name) && path[member.name.size()] == '.') {
        if (const auto found = at(member.value, path.substr(member.name.size() + 1), level + 1)) return found;
      }
    }
    return std::nullopt;
  }

  std::vector<Part> parts;
  std::vector<std::string> left_out;

 private:
  /// The members of a mapping, a list or a module, each of which counts as a step: a list may contain itself a million times.
  std::optional<std::vector<Member>> members_of(Ref ref, const std::string& path) {
    if (is_plain_list(ref)) return std::nullopt;
    std::optional<std::vector<Member>> members = pickle_.module_members(ref);
    if (!members) members = pickle_.members(ref);
    if (members) count(members->size(), path);
    return members;
  }

  /// A list of numbers or texts, such as the losses of a training: it may be long, and nothing in it is of interest.
  bool is_plain_list(Ref ref) {
    const pickle::Document& document = pickle_.document();
    if (document[ref].kind != Kind::kList && document[ref].kind != Kind::kTuple) return false;
    const auto [known, fresh] = plain_lists_.try_emplace(ref, false);
    if (fresh) {
      const std::span<const Ref> all = document.elements(ref);
      known->second = std::all_of(all.begin(), all.end(), [&](Ref element) { return document[element].kind <= Kind::kText; });
    }
    return known->second;
  }

  void count(size_t steps, const std::string& path) {
    steps_ += steps;
    if (steps_ <= kMostSteps) return;
    throw InputError(pickle_.where() + ": more than " + std::to_string(kMostSteps) + " values up to " + in_quotes(path) +
                     "; this is no file of weights");
  }

  void step(const std::string& path, int level) {
    if (level > kMostLevels) {
      throw InputError(pickle_.where() + ": " + in_quotes(path) + " lies deeper than " + std::to_string(kMostLevels) +
                       " levels; the file contains itself (a cycle) or is damaged");
    }
    count(1, path);
  }

  TorchPickle& pickle_;
  std::set<Ref> seen_;
  std::map<Ref, bool> plain_lists_;
  size_t steps_ = 0;
};

std::string list_of(const std::vector<Part>& parts, const TorchPickle& pickle) {
  std::vector<std::string> names;
  for (const Part& part : parts) {
    const auto members = pickle.members(part.value);
    names.push_back(in_quotes(part.path) + (members ? " (" + std::to_string(members->size()) + " entries)" : " (a module)"));
  }
  return listed(names);
}

/// What a file without weights contains.
std::string contents_of(const TorchPickle& pickle) {
  const Ref root = pickle.document().root();
  const auto members = pickle.members(root);
  std::vector<std::string> names;
  for (const Member& member : members.value_or(std::vector<Member>{})) names.push_back(in_quotes(member.name));
  return pickle.document().describe(root) + (names.empty() ? "" : " with " + listed(names));
}

Part chosen_part(TorchPickle& pickle, const std::string& key) {
  const Ref root = pickle.document().root();
  if (key == kWhole) return {"", root, ""};
  Walk walk(pickle);
  if (!key.empty()) {
    // The key is a path, or a path and a prefix of names, or a prefix of names.
    for (size_t end = key.size(); end != std::string::npos && end > 0; end = key.rfind('.', end - 1)) {
      const std::optional<Ref> found = walk.at(root, std::string_view(key).substr(0, end), 0);
      if (found) return {key.substr(0, end), *found, end == key.size() ? "" : key.substr(end + 1)};
    }
  }
  walk.find_parts(root, "", 0);
  if (walk.parts.empty()) throw InputError(pickle.where() + ": no weights in this pickle; it contains " + contents_of(pickle));
  if (!key.empty()) {
    if (walk.parts.size() == 1) return {walk.parts[0].path, walk.parts[0].value, key};
    throw InputError(pickle.where() + ": nothing is named " + in_quotes(key) + "; parts with weights are " +
                     list_of(walk.parts, pickle));
  }
  if (walk.parts.size() > 1) {
    throw Hinted<InputError>(Hint::kPartOfFile, pickle.where() + ": " + std::to_string(walk.parts.size()) +
                                                    " parts of the file contain weights: " + list_of(walk.parts, pickle));
  }
  return walk.parts[0];
}

}  // namespace

void take_weights(TorchPickle& pickle, const std::string& key, WeightsFile::Content& content) {
  const Part part = chosen_part(pickle, key);
  Walk walk(pickle);
  walk.add_tensors(part.value, "", 0, content);
  if (content.entries.empty()) {
    throw InputError(content.where + ": no tensor that elek can read" +
                     (part.path.empty() ? "" : " in " + in_quotes(part.path)) +
                     (walk.left_out.empty() ? "" : "; " + walk.left_out.front()));
  }
  if (!part.path.empty()) {
    std::vector<std::string> others;
    const auto members = pickle.members(pickle.document().root());
    for (const Member& member : members.value_or(std::vector<Member>{}))
      if (member.name != part.path) others.push_back(in_quotes(member.name));
    content.notes.push_back("weights taken from " + in_quotes(part.path) +
                            (others.empty() ? "" : "; not used: " + listed(others)));
  }
  take_prefix(content, part.prefix);
  if (!walk.left_out.empty()) {
    content.notes.push_back(std::to_string(walk.left_out.size()) + " tensors left out: " + listed(walk.left_out));
  }
}

}  // namespace elek::detail
