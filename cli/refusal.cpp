// SPDX-License-Identifier: Apache-2.0
#include "cli/refusal.h"

#include <algorithm>
#include <mutex>

#include "cli/output.h"

namespace elek::cli {
namespace {

struct Refusal {
  std::string sum;
  size_t requested_bytes = 0;
  size_t in_use_bytes = 0;
};

std::mutex mutex;
Refusal last;
int64_t largest_batch = 1;

std::string sum_of(const UseBytes& uses, const Pool::Figures& pool, const OutOfMemory::Figures& figures,
                   const std::string& request) {
  Table table({"what needs memory", "MB", "bytes"});
  const auto row = [&](const std::string& what, size_t bytes) {
    table.add({what, decimal(static_cast<double>(bytes) / 1e6, 3), with_commas(static_cast<int64_t>(bytes))});
  };
  for (size_t use = 0; use < kUses; ++use) {
    if (uses[use] > 0) row(std::string(name_of(static_cast<Use>(use))), uses[use]);
  }
  const size_t used = total(uses), reserved = std::max(pool.reserved_bytes, used);
  if (reserved > used) row("free in the pool, in pieces that are too small", reserved - used);
  const size_t asked = (figures.requested_bytes + kAlignment - 1) / kAlignment * kAlignment;
  row("requested now: " + request, asked);
  table.add_rule();
  row("together", reserved + asked);
  if (figures.limit_bytes > 0) {
    row("limit", figures.limit_bytes);
    if (reserved + asked > figures.limit_bytes) row("too much", reserved + asked - figures.limit_bytes);
  }
  return table.text();
}

}  // namespace

void* ExplainRefusals::do_allocate(size_t bytes, const BlockLabel& label, Stream stream) {
  try {
    return upstream_.allocate(bytes, label, stream);
  } catch (const OutOfMemory& error) {
    const OutOfMemory::Figures& figures = error.figures();
    try {
      const Refusal made{sum_of(ledger_.live(), pool_.figures(), figures, std::string(label.name)), figures.requested_bytes,
                         figures.in_use_bytes};
      const std::lock_guard lock(mutex);
      last = made;
    } catch (const std::bad_alloc&) {  // no memory for the explanation: the error goes on without it
    }
    throw;
  }
}

void ExplainRefusals::do_deallocate(void* block, size_t bytes, Stream stream) noexcept {
  upstream_.deallocate(block, bytes, stream);
}

void remember_batch(int64_t batch) {
  const std::lock_guard lock(mutex);
  largest_batch = std::max(largest_batch, batch);
}

std::string refusal_text(const OutOfMemory& error) {
  const std::lock_guard lock(mutex);
  const OutOfMemory::Figures& figures = error.figures();
  std::string text;
  if (!last.sum.empty() && last.requested_bytes == figures.requested_bytes && last.in_use_bytes == figures.in_use_bytes) {
    text = "\n" + last.sum;
    text.pop_back();  // its line's end
  }
  text += "\nelek: what helps: ";
  text += figures.limit_bytes > 0 ? "a larger --memory-limit" : "a machine or container with more memory";
  if (largest_batch > 1) text += ", a smaller --batch";
  return text + ", or a smaller network";
}

}  // namespace elek::cli
