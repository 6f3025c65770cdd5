// SPDX-License-Identifier: Apache-2.0
#include "lab/snapshot_writer.h"

#include <algorithm>
#include <vector>

namespace elek {
namespace {

/// Values as opcodes of protocol 4; nothing is shared, so there is no memo.
class Pickle {
 public:
  Pickle() { text_ = "\x80\x04"; }
  void dict() { text_ += "}("; }  // EMPTY_DICT MARK … SETITEMS
  void end_dict() { text_ += 'u'; }
  void list() { text_ += "]("; }  // EMPTY_LIST MARK … APPENDS
  void end_list() { text_ += 'e'; }
  void value(const std::string& text) {
    text_ += 'X';
    little(text.size(), 4);
    text_ += text;
  }
  void value(uint64_t number) {  // LONG1 with a byte for the sign
    text_ += '\x8a';
    text_ += '\x09';
    little(number, 9);
  }
  void value(bool yes) { text_ += yes ? '\x88' : '\x89'; }
  template <typename T>
  void pair(const std::string& key, const T& of) {
    value(key);
    value(of);
  }
  void key(const std::string& name) { value(name); }
  [[nodiscard]] std::string done() { return text_ + '.'; }

 private:
  void little(uint64_t number, int bytes) {
    for (int i = 0; i < bytes; ++i) text_ += i < 8 ? static_cast<char>(number >> (8 * i)) : '\0';
  }
  std::string text_;
};

constexpr uint64_t kBase = uint64_t{0x7f} << 40U;

void frames(Pickle& pickle, const std::string& name, int32_t step) {
  pickle.key("frames");
  pickle.list();
  pickle.dict();
  pickle.pair("filename", std::string("elek"));
  pickle.pair("line", static_cast<uint64_t>(step) + 1);
  pickle.pair("name", name);
  pickle.end_dict();
  pickle.end_list();
}

void event(Pickle& pickle, const char* action, uint64_t address, size_t bytes, uint64_t time, const std::string& name,
           int32_t step) {
  pickle.dict();
  pickle.pair("action", std::string(action));
  pickle.pair("addr", address);
  pickle.pair("size", static_cast<uint64_t>(bytes));
  pickle.pair("stream", uint64_t{0});
  pickle.pair("time_us", time);
  frames(pickle, name, step);
  pickle.end_dict();
}

void block(Pickle& pickle, uint64_t address, size_t bytes, size_t requested, const char* state, const std::string& name,
           int32_t step) {
  pickle.dict();
  pickle.pair("address", address);
  pickle.pair("size", static_cast<uint64_t>(bytes));
  pickle.pair("requested_size", static_cast<uint64_t>(requested));
  pickle.pair("state", std::string(state));
  if (!name.empty()) frames(pickle, name, step);
  pickle.end_dict();
}

}  // namespace

std::string snapshot_pickle(const Trace& trace) {
  const Replay placed = replay(trace, Strategy::kFirstFit);
  std::vector<bool> alive(trace.blocks.size(), false);
  for (const Trace::Event& e : trace.events) alive[static_cast<size_t>(e.block)] = e.allocation;
  std::vector<size_t> last;  // the blocks that are alive at the end, by offset
  uint64_t active = 0, requested = 0;
  for (size_t i = 0; i < alive.size(); ++i) {
    if (!alive[i]) continue;
    last.push_back(i);
    active += placed.bytes[i];
    requested += trace.blocks[i].bytes;
  }
  std::sort(last.begin(), last.end(), [&](size_t a, size_t b) { return placed.offsets[a] < placed.offsets[b]; });
  const uint64_t total = placed.peak_reserved_bytes;
  Pickle pickle;
  pickle.dict();
  pickle.key("segments");
  pickle.list();
  pickle.dict();
  pickle.pair("device", uint64_t{0});
  pickle.pair("address", kBase);
  pickle.pair("total_size", total);
  pickle.pair("allocated_size", active);
  pickle.pair("active_size", active);
  pickle.pair("requested_size", requested);
  pickle.pair("stream", uint64_t{0});
  pickle.pair("segment_type", std::string("large"));
  pickle.pair("is_expandable", false);
  frames(pickle, "segment", 0);
  pickle.key("blocks");
  pickle.list();
  uint64_t end = 0;
  for (const size_t i : last) {
    if (placed.offsets[i] > end) block(pickle, kBase + end, placed.offsets[i] - end, 0, "inactive", "", 0);
    block(pickle, kBase + placed.offsets[i], placed.bytes[i], trace.blocks[i].bytes, "active_allocated", trace.blocks[i].label,
          trace.blocks[i].first_step);
    end = placed.offsets[i] + placed.bytes[i];
  }
  if (end < total) block(pickle, kBase + end, total - end, 0, "inactive", "", 0);
  pickle.end_list();
  pickle.end_dict();
  pickle.end_list();
  pickle.key("device_traces");
  pickle.list();
  pickle.list();
  uint64_t time = 0;
  event(pickle, "segment_alloc", kBase, total, time, "segment", 0);
  for (const Trace::Event& e : trace.events) {
    const auto i = static_cast<size_t>(e.block);
    const Trace::Block& b = trace.blocks[i];
    const uint64_t address = kBase + placed.offsets[i];
    ++time;
    if (e.allocation) {
      event(pickle, "alloc", address, b.bytes, time, b.label, b.first_step);
    } else {
      event(pickle, "free_requested", address, b.bytes, time, b.label, b.last_step);
      event(pickle, "free_completed", address, b.bytes, time, b.label, b.last_step);
    }
  }
  pickle.end_list();
  pickle.end_list();
  pickle.key("allocator_settings");
  pickle.dict();
  pickle.end_dict();
  pickle.end_dict();
  return pickle.done();
}

}  // namespace elek
