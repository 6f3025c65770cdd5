// SPDX-License-Identifier: Apache-2.0
// Faulty: a host memory resource that fails the k-th allocation on demand, counts, and checks its users: it notices a block
// that is given back twice, with another size, or never. New and returned blocks are filled with bytes that read as NaN.
// Use: for (int64_t k = 0;; ++k) { Faulty memory; memory.fail_at(k); try { …; break; } catch (const OutOfMemory&) { … } }
// Tests: tests/self/faulty_test.cpp
#pragma once

#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "core/error.h"
#include "elek/memory.h"

namespace elek::test {

class Faulty final : public Policy {
 public:
  explicit Faulty(MemoryResource& upstream = host_resource()) : Policy(upstream) {}
  /// The allocation after `k` successful ones throws OutOfMemory, and so does every later one until heal().
  void fail_at(int64_t k) {
    const std::lock_guard lock(mutex_);
    left_ = k;
    failing_ = true;
  }
  void heal() {
    const std::lock_guard lock(mutex_);
    failing_ = false;
  }
  [[nodiscard]] size_t in_use_bytes() const {
    const std::lock_guard lock(mutex_);
    return in_use_bytes_;
  }
  /// Number of allocations requested, including failed ones.
  [[nodiscard]] int64_t allocations() const {
    const std::lock_guard lock(mutex_);
    return allocations_;
  }
  [[nodiscard]] int64_t failures() const {
    const std::lock_guard lock(mutex_);
    return failures_;
  }
  /// Errors of users: blocks given back twice or with another size. Should be empty.
  [[nodiscard]] std::vector<std::string> misuse() const {
    const std::lock_guard lock(mutex_);
    return misuse_;
  }
  /// Labels of the blocks in use, for messages about leaks.
  [[nodiscard]] std::string leaks() const {
    const std::lock_guard lock(mutex_);
    std::string text;
    for (const auto& [block, entry] : blocks_) {
      text += entry.label + " (" + std::to_string(entry.bytes) + " bytes) ";
    }
    return text;
  }

 private:
  struct Entry {
    size_t bytes = 0;
    std::string label;
  };
  void* do_allocate(size_t bytes, const BlockLabel& label, Stream stream) override {
    const std::lock_guard lock(mutex_);
    ++allocations_;
    if (failing_ && left_-- <= 0) {
      ++failures_;
      throw OutOfMemory("injected failure of '" + std::string(label.name) + "'",
                        {.requested_bytes = bytes, .in_use_bytes = in_use_bytes_});
    }
    void* block = upstream_.allocate(bytes, label, stream);
    std::memset(block, kNanByte, bytes);
    blocks_[block] = {bytes, std::string(label.name)};
    in_use_bytes_ += bytes;
    return block;
  }
  void do_deallocate(void* block, size_t bytes, Stream stream) noexcept override {
    const std::lock_guard lock(mutex_);
    const auto found = blocks_.find(block);
    if (found == blocks_.end()) {  // not passed on: the upstream resource would crash, but the test should fail instead
      misuse_.push_back("a block of " + std::to_string(bytes) + " bytes given back that is not in use");
      return;
    }
    if (found->second.bytes != bytes) {
      misuse_.push_back("'" + found->second.label + "' of " + std::to_string(found->second.bytes) + " bytes given back as " +
                        std::to_string(bytes));
    }
    in_use_bytes_ -= found->second.bytes;
    std::memset(block, kNanByte, found->second.bytes);
    upstream_.deallocate(block, found->second.bytes, stream);
    blocks_.erase(found);
  }

  static constexpr int kNanByte = 0xFF;
  mutable std::mutex mutex_;
  std::map<void*, Entry> blocks_;
  std::vector<std::string> misuse_;
  size_t in_use_bytes_ = 0;
  int64_t allocations_ = 0;
  int64_t failures_ = 0;
  int64_t left_ = 0;
  bool failing_ = false;
};

}  // namespace elek::test
