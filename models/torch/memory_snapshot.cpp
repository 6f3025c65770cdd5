// SPDX-License-Identifier: Apache-2.0
#include "models/torch/memory_snapshot.h"

#include <algorithm>
#include <optional>
#include <span>

#include "core/error.h"
#include "core/file.h"
#include "models/pickle.h"

namespace elek {
namespace {

using pickle::Document;
using pickle::Ref;

class Reader {
 public:
  Reader(const Document& document, const std::string& path) : document_(document), path_(path) {}

  [[nodiscard]] MemorySnapshot read() const {
    const std::optional<Ref> traces = document_.find(document_.root(), "device_traces");
    const std::optional<Ref> segments = document_.find(document_.root(), "segments");
    if (!traces && !segments) {
      fail("expected a dict with 'segments' and 'device_traces', found " + document_.describe(document_.root()) +
           "; is it a file of torch.cuda.memory._dump_snapshot?");
    }
    MemorySnapshot made;
    if (traces) {
      for (const Ref device : document_.elements(*traces)) {
        for (const Ref event : document_.elements(device)) add(event, made);
        if (!made.events.empty()) return made;
        ++made.device;
      }
    }
    made.device = 0;
    if (segments) {
      for (const Ref segment : document_.elements(*segments)) add_blocks(segment, made);
    }
    if (made.events.empty()) {
      fail("no event and no block in use; call torch.cuda.memory._record_memory_history() before the work to record");
    }
    return made;
  }

 private:
  [[noreturn]] void fail(const std::string& words) const { throw InputError(path_ + ": " + words); }

  [[nodiscard]] uint64_t number(Ref dict, const char* key, const std::string& where) const {
    const std::optional<Ref> found = document_.find(dict, key);
    if (!found) fail(where + " has no '" + key + "': " + document_.describe(dict));
    if (const std::optional<int64_t> value = document_.integer(*found); value && *value >= 0) {
      return static_cast<uint64_t>(*value);
    }
    // Addresses of 2^63 and more are long integers.
    const pickle::Value& value = document_[*found];
    if (value.kind == pickle::Kind::kBigInt && value.text.size() <= 9) {
      uint64_t made = 0;
      for (size_t i = 0; i < std::min<size_t>(8, value.text.size()); ++i) {
        made |= static_cast<uint64_t>(static_cast<unsigned char>(value.text[i])) << (8 * i);
      }
      return made;
    }
    fail(where + ": '" + key + "' is " + document_.describe(*found) + ", expected a number of 0 or more");
  }

  [[nodiscard]] std::string label(Ref dict, size_t index) const {
    if (const std::optional<Ref> frames = document_.find(dict, "frames")) {
      for (const Ref frame : document_.elements(*frames)) {
        const std::optional<Ref> name = document_.find(frame, "name"), file = document_.find(frame, "filename"),
                                 line = document_.find(frame, "line");
        if (!name || !file || !document_.text(*name) || !document_.text(*file)) continue;
        std::string path(*document_.text(*file));
        if (const size_t slash = path.rfind('/'); slash != std::string::npos) path = path.substr(slash + 1);
        if (!path.ends_with(".py") && path != "elek") continue;  // frames of C++ say nothing about the program
        const std::optional<int64_t> number = line ? document_.integer(*line) : std::nullopt;
        if (path == "elek") return std::string(*document_.text(*name));  // written by elek memory
        return std::string(*document_.text(*name)) + " (" + path + (number ? ":" + std::to_string(*number) : "") + ")";
      }
    }
    return "block " + std::to_string(index + 1);
  }

  void add(Ref event, MemorySnapshot& made) const {
    const std::string where = "event " + std::to_string(made.events.size() + 1);
    const std::optional<Ref> action = document_.find(event, "action");
    if (!action || !document_.text(*action)) fail(where + " has no 'action': " + document_.describe(event));
    const std::string_view what = *document_.text(*action);
    if (what == "oom") ++made.out_of_memory;
    // A block may be reused once its free is completed; a request to free it may still wait for other streams.
    if (what != "alloc" && what != "free_completed") return;
    made.events.push_back(
        {what == "alloc", number(event, "addr", where), number(event, "size", where), label(event, made.events.size())});
  }

  void add_blocks(Ref segment, MemorySnapshot& made) const {
    const std::optional<Ref> blocks = document_.find(segment, "blocks");
    if (!blocks) return;
    uint64_t address = document_.find(segment, "address") ? number(segment, "address", "a segment") : 0;
    for (const Ref block : document_.elements(*blocks)) {
      const std::string where = "block " + std::to_string(made.events.size() + 1);
      const uint64_t size = number(block, "size", where);
      const std::optional<Ref> state = document_.find(block, "state");
      if (state && document_.text(*state) == "active_allocated") {
        const bool requested = document_.find(block, "requested_size").has_value();
        made.events.push_back(
            {true, address, requested ? number(block, "requested_size", where) : size, label(block, made.events.size())});
      }
      address += size;
    }
  }

  const Document& document_;
  const std::string& path_;
};

}  // namespace

MemorySnapshot read_memory_snapshot(const std::string& path) {
  const std::vector<uint8_t> bytes = read_whole_file(path);
  const Document document = Document::read(std::as_bytes(std::span(bytes)), 0, path);
  return Reader(document, path).read();
}

}  // namespace elek
